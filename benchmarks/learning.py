"""Effect of settings on learning: trainings on the demo with all combinations, one row each, as Markdown.

`python -m benchmarks.learning FOLDER` makes the demo data in FOLDER once (40,000 jets of each kind, main and control)
and trains there with and without adversary; `--num_splits 10 50 230`, `--encoders lstm deep_sets transformer` or
`--engines numba torch` compares those, and `--engines torch --precisions tf32 bf16` rounds the factors of all matrix
products as a graphics card may. The table has the figures of merit of the last epoch on the test part.
"""

import argparse
import itertools
import logging
import multiprocessing
import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from benchmarks.rounded_products import MANTISSA_BITS, rounded_products
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.simulation.demo_data import DemoFiles, make_demo_files
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.train import train


def cases(folder: Path, files: DemoFiles, arguments: argparse.Namespace, precision: str) -> list[TrainSettings]:
    """Every encoder and engine with every number of splits, every weight of the adversary, and every seed."""
    varied = itertools.product(
        arguments.encoders, arguments.engines, arguments.num_splits, arguments.adversary_weights, arguments.seeds
    )
    return [
        TrainSettings.make(
            model_name=f"seed{seed}_adversary{weight:g}_splits{splits}_{encoder}_{engine}_{precision}",
            main_training_file=str(files.main),
            cr_training_file=str(files.control),
            output_path=folder / "runs",
            sample_fraction=1.0,
            epochs=arguments.epochs,
            num_splits=splits,
            adversary_weight=weight,
            seed=seed,
            encoder=encoder,
            engine=engine,
            threads=1,
            epoch_plots=False,
        )
        for encoder, engine, splits, weight, seed in varied
    ]


def train_case(precision: str, settings: TrainSettings) -> dict[str, float]:
    """Trains one case, with products rounded to a precision; returns its figures of merit on the test part."""
    logging.disable(logging.WARNING)
    with rounded_products(precision):
        summary = train(Start(settings), say=lambda _: None, details=lambda _: "")
    return summary.figures.numbers()


def table_row(precision: str, settings: TrainSettings, figures: dict[str, float]) -> str:
    """One row of the Markdown table."""
    ks = " | ".join(
        f"{figures[f'ks_{name}_hist']:.3f} ({figures[f'ks_{name}_excess']:+.1f})" for name in ("qcd", "sig", "bib")
    )
    weight = settings.adversary_weight
    return (
        f"| {settings.encoder} | {settings.engine} | {precision} | {settings.num_splits} "
        f"| {f'{weight:g}' if weight else 'none'} | {settings.seed} "
        f"| {figures['auc']:.4f} | {figures['rejection_90']:.1f} | {ks} "
        f"| {figures['c2st_auc']:.3f} ({figures['c2st_excess']:+.1f}) |"
    )


def heading(figures: dict[str, float]) -> str:
    """Head of the table, with the values of identical distributions."""
    expected = f"{figures['ks_qcd_expected']:.3f} ± {figures['ks_qcd_spread']:.3f}"
    return (
        f"K-S sums over three pt ranges; identical distributions would give {expected}; in brackets the excess in "
        f"units of that spread. C2ST: AUC of a classifier that tells control data from MC; identical distributions "
        f"would give {figures['c2st_expected']:.3f} ± {figures['c2st_spread']:.3f}.\n\n"
        "| encoder | engine | products | `num_splits` | `adversary_weight` | seed | test AUC | rejection at 90 % "
        "| K-S QCD | K-S signal | K-S BIB | C2ST |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jets", type=int, default=40_000, help="jets of each kind, main and control")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--num_splits", type=int, nargs="+", default=[50])
    parser.add_argument("--encoders", nargs="+", default=["lstm"])
    parser.add_argument("--engines", nargs="+", default=["auto"])
    parser.add_argument("--precisions", nargs="+", default=["ieee"], choices=["ieee", *MANTISSA_BITS])
    parser.add_argument(
        "--adversary_weights", type=float, nargs="+", default=[0.0, 1.0, 10.0], help="0 is no adversary"
    )
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, of one thread each")
    arguments = parser.parse_args()
    if set(arguments.precisions) != {"ieee"} and set(arguments.engines) - {"torch", "reference"}:
        parser.error("--precisions other than ieee need --engines torch: compiled loops cannot be told how to round")
    data = arguments.folder / "data"
    files = DemoFiles(data / "main.parquet", data / "control.parquet")
    if not data.is_dir():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        make_demo_files(data, arguments.jets, arguments.jets, arguments.workers)
    jobs = [(each, case) for each in arguments.precisions for case in cases(arguments.folder, files, arguments, each)]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        results = pool.starmap(train_case, jobs, chunksize=1)
    print(heading(results[0]))
    for job, figures in zip(jobs, results, strict=True):
        print(table_row(*job, figures))


if __name__ == "__main__":
    main()

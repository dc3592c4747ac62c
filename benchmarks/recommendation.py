"""Recommended epochs of several runs, judged on jets that no run has used.

`python -m benchmarks.recommendation FOLDER` trains ten short runs on the demo in FOLDER (`adversary_weight` 1 and 10,
seeds 1 to 5; runs that are there are kept), and scores 10,000 main and 10,000 control jets that `sample_fraction` left
out with the network of every epoch. The table has, for each run, the epoch recommended on its validation part, and the
numbers of epochs that are better than it by two errors of the paired difference (bootstrap by event): in both AUC and
K-S sum, in one of them without being worse in the other, and in one of them alone.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.evaluation.bootstrap import Resampled, Resampling, resampled_aucs, resampled_ks
from cal_ratio_trainer.evaluation.roc import QCD_AND_TENTH_OF_BIB
from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.runs.recommendation import recommended_epoch
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.test_sample import RunSample, TestJets
from cal_ratio_trainer.scoring.parts import parts_by_split
from cal_ratio_trainer.simulation.demo_data import make_demo_files
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train

CLEAR = 2.0
"""Errors of the paired difference by which an epoch is clearly better."""

Epoch = tuple[Resampled, Resampled]
"""AUC and K-S sum of an epoch on the independent jets."""


def trained(folder: Path, files: DemoFiles, weight: float, seed: int, epochs: int) -> Run:
    """A run with a weight of the adversary and a seed; it keeps the networks of all epochs."""
    settings = TrainSettings.make(
        model_name=f"w{weight:g}_s{seed}",
        main_training_file=str(files.main),
        cr_training_file=str(files.control),
        output_path=folder / "runs",
        sample_fraction=0.25,
        train_fraction=0.8,
        epochs=epochs,
        adversary_weight=weight,
        seed=seed,
        threads=1,
        epoch_plots=False,
        keep_weights="all",
    )
    run = Run(folder / "runs" / settings.model_name / "00000")
    if not run.path.is_dir():
        train(Start(settings), lambda _: None, lambda _: "")
    return run


def unused_jets(jets: TestJets, settings: TrainSettings, most: int) -> TestJets:
    """Jets that a run has used in no part, at most so many."""
    unused = parts_by_split(settings, jets.jets) == Part.UNUSED
    return replace(jets, jets=jets.jets.where(unused & (np.cumsum(unused) <= most)))


def judged(run: Run, files: DemoFiles, most: int, resampling: Resampling) -> list[Epoch]:
    """All epochs of a run on jets that it has not used."""
    settings = TrainSettings.make(**run.read_settings())
    sample = RunSample.of_files(files.main, files.control, settings)
    sample = replace(
        sample,
        main=unused_jets(sample.main, settings, most),
        control=unused_jets(sample.control, settings, most),
    )
    epochs = []
    for number in range(len(run.read_history())):
        main, control = sample.scored_by(run.networks_at(str(number)).load())
        (auc,) = resampled_aucs(main, sample.main.events, resampling, (QCD_AND_TENTH_OF_BIB,))
        epochs.append((auc, resampled_ks(control, sample.control.events, resampling, sample.pt_ranges)))
    return epochs


def gains(epoch: Epoch, chosen: Epoch) -> tuple[float, float]:
    """AUC and K-S sum by which an epoch is better than the chosen one, in errors of the difference."""
    differences = [one.value - other.value for one, other in zip(epoch, chosen, strict=True)]
    errors = [float(np.std(one.replicas - other.replicas)) for one, other in zip(epoch, chosen, strict=True)]
    auc, ks = (each / error if error else 0.0 for each, error in zip(differences, errors, strict=True))
    return auc, -ks


def table_row(run: Run, epochs: list[Epoch]) -> str:
    """One row of the Markdown table."""
    history = run.read_history()
    chosen = recommended_epoch(history)
    assert chosen is not None
    better = [gains(epoch, epochs[chosen]) for epoch in epochs]
    counts = (
        sum(min(pair) >= CLEAR for pair in better),
        sum(max(pair) >= CLEAR and min(pair) >= 0 for pair in better),
        sum(auc >= CLEAR for auc, _ in better),
        sum(ks >= CLEAR for _, ks in better),
    )
    auc, ks = epochs[chosen]
    return (
        f"| {run.path.parent.name} | {chosen} | {auc.value:.4f} ± {np.std(auc.replicas):.4f} "
        f"| {ks.value:.2f} ± {np.std(ks.replicas):.2f} | {' | '.join(map(str, counts))} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--adversary_weights", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument(
        "--jets", type=int, default=20_000, help="main jets of each kind in the demo, and twice its control jets"
    )
    parser.add_argument("--judged", type=int, default=10_000, help="jets of either file that epochs are judged on")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    data = arguments.folder / "data"
    files = DemoFiles(data)
    if not data.is_dir():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        make_demo_files(data, arguments.jets, arguments.jets // 2, 2)
    print(
        f"Better by {CLEAR:g} errors of the paired difference:\n\n"
        "| run | recommended | its AUC | its K-S sum | in both | in one, not worse in the other | in AUC | in K-S |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for weight in arguments.adversary_weights:
        for seed in arguments.seeds:
            run = trained(arguments.folder, files, weight, seed, arguments.epochs)
            print(table_row(run, judged(run, files, arguments.judged, Resampling(100, seed))), flush=True)


if __name__ == "__main__":
    main()

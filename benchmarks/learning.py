"""Effect of settings on learning: trainings on the demo with all combinations, one row each, as Markdown.

`python -m benchmarks.learning FOLDER` makes in FOLDER once two demo data sets of different seeds (20,000 jets of each
kind, main and control), trains on the first with each way to make data and simulation agree, and judges the last epoch
on the second. A case is PROFILE/AGREEMENT/STRENGTH, such as best/distance/6; several strengths show a method's front.
`--num_splits 10 50 230`, `--epochs 15 20 60`, `--encoders lstm deep_sets transformer` or `--engines numba torch`
compare those, `--set learning_rate=0.001` changes any other setting, and `--engines torch --precisions tf32 bf16`
rounds the factors of all matrix products as a graphics card may.

FOLDER/results.json keeps the figures of each training; what it has is not trained again. `--front FILE` adds them to a
JSON file by training and seed, docs/front.json for one; `python -m docs.figures front` draws it.
"""

import argparse
import hashlib
import itertools
import json
import logging
import math
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from benchmarks.rounded_products import MANTISSA_BITS, rounded_products
from cal_ratio_trainer.config.loading import read_packaged
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.runs.folder import NEWEST
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.simulation.demo_data import make_demo_files
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("best/none", "manual/adversary/10", "best/adversary/3", "best/distance/6", "best/reversal/3")
FIGURES = {
    "AUC": ("auc", ".4f"),
    "rejection at 80 %": ("rejection_80", ".1f"),
    "at 90 %": ("rejection_90", ".1f"),
    **{
        f"K-S {output}{what}": (f"ks_{output.lower()}_{name}", form)
        for output in ("QCD", "sig", "BIB")
        for what, name, form in (("", "hist", ".3f"), (" [σ]", "excess", "+.1f"))
    },
    "C2ST": ("c2st_auc", ".4f"),
    "C2ST [σ]": ("c2st_excess", "+.1f"),
}
"""Columns of the table: name and form of a figure of merit."""

TRAINING_SEED, TEST_SEED = 1, 2

Front = dict[str, dict[str, dict[str, float]]]
"""Figures of merit by training (case, number of steps and all else that differs) and seed."""

FRONT_FIGURES = (
    *("rejection_90", "c2st_auc", "c2st_expected", "c2st_spread"),
    *("ks_qcd_excess", "ks_sig_excess", "ks_bib_excess"),
)
FRONT_COLOURS = ("black", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
"""Of methods; after Okabe and Ito, who chose them for all kinds of colour vision."""


def settings_of(case: str, files: DemoFiles, arguments: argparse.Namespace, **more: object) -> TrainSettings:
    """Settings of a case PROFILE/AGREEMENT/STRENGTH."""
    profile, agreement, *strength = case.split("/")
    return TrainSettings.make(
        **{
            **read_packaged(profile, "profiles"),
            "profile": profile,
            "agreement": agreement,
            "agreement_strength": strength[0] if strength else None,
            "main_training_file": files.main,
            "cr_training_file": files.control,
            "output_path": arguments.folder / "runs",
            "sample_fraction": 1.0,
            "threads": 1,
            "epoch_plots": False,
            "plot_processes": 0,
            **dict(each.split("=", 1) for each in arguments.set),
            **more,
        }
    )


@cache
def test_jets(file: Path) -> Jets:
    """The jets of a file as a network reads them."""
    return clean_for_training(read_jets(file))[0]


def figures_of(run: Run, files: DemoFiles) -> dict[str, float]:
    """Figures of merit of a run's last epoch on other jets than it was trained on."""
    network, main, control = run.network_at(NEWEST).load(), test_jets(files.main), test_jets(files.control)
    of_main, of_control = (
        scores_of(network, JetTensors.from_jets([jets], torch.device("cpu"))).astype(np.float64)
        for jets in (main, control)
    )
    weights, is_data = control["mcEventWeight"].astype(np.float64), control["label"] == CONTROL_DATA
    matched = np.where(is_data, weights / weights[is_data].sum(), weights / weights[~is_data].sum())
    judged = evaluate_test_sample(
        ScoredJets(of_main, main["label"].astype(np.int64), main["mcEventWeight"].astype(np.float64)),
        ScoredJets.control(of_control, is_data, matched, control["jet_pt"].astype(np.float64)),
        c2st_seed=1,
    )
    return judged.numbers()


def train_job(job: tuple[str, TrainSettings, DemoFiles]) -> dict[str, float]:
    """Trains one case.

    Args:
        job: precision that products are rounded to, settings, and the test sample.

    Returns:
        Figures of merit on the test sample.
    """
    precision, settings, files = job
    logging.disable(logging.WARNING)
    with rounded_products(precision):
        summary = train(Start(settings), say=lambda _: None, details=lambda _: "")
    return figures_of(Run(summary.run.path), files)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its error; the error is 0 for one value."""
    return mean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def add_to_front(file: Path, names: Sequence[str], results: Sequence[dict[str, float]]) -> None:
    """Writes the figures of trainings into a file that may have others.

    Args:
        file: JSON: CASE, STEPS and all else that differs -> seed -> figures of merit.
        names: of the trainings, with the seed behind ' | '.
        results: their figures.
    """
    front = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name, figures in zip(names, results, strict=True):
        training, seed = name.rsplit(" | ", 1)
        front.setdefault(training, {})[seed] = {key: round(figures[key], 5) for key in FRONT_FIGURES}
    lines = (f"{json.dumps(training)}: {json.dumps(front[training])}" for training in front)
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def front_figure(front: Front) -> "Figure":
    """Rejection at 90 % against C2ST and against the mean K-S excess, with a line for each method and number of steps.

    Each strength is a point: the mean over its seeds, with the error of the mean where there are several.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    lines: dict[tuple[str, str], list[tuple[str, list[dict[str, float]]]]] = {}
    for name, seeds in front.items():
        case, length = name.split(", ", 1)
        profile, agreement, *strengths = case.split("/")
        line = (agreement if profile == "best" else f"{agreement} (profile {profile})", length)
        lines.setdefault(line, []).append(("".join(strengths), list(seeds.values())))
    methods, lengths = (list(dict.fromkeys(line[i] for line in lines)) for i in (0, 1))
    titles = (
        "C2ST of control data and MC",
        "K-S excess over identical distributions, mean of three outputs [$\\sigma$]",
    )
    for axes, measure, title in zip(panels, (_c2st, _ks_excess), titles, strict=True):
        for (method, length), points in lines.items():
            place, dashes = methods.index(method), ("-", "--", ":")[lengths.index(length) % 3]
            colour = FRONT_COLOURS[place % len(FRONT_COLOURS)]
            x, x_errors = zip(*(mean_and_error([measure(each) for each in seeds]) for _, seeds in points), strict=True)
            y, y_errors = zip(
                *(mean_and_error([each["rejection_90"] for each in seeds]) for _, seeds in points), strict=True
            )
            label = method if len(lengths) == 1 else f"{method}, {length}"
            filled = colour if lengths.index(length) == 0 else "white"
            marker = {"marker": "osD^vP"[place % 6], "markerfacecolor": filled, "linestyle": dashes}
            bars = (np.array(each) if any(each) else None for each in (y_errors, x_errors))
            axes.errorbar(x, y, *bars, color=colour, capsize=2, label=label, **marker)
            for (strength, _), at_x, at_y in zip(points, x, y, strict=True):
                axes.annotate(
                    strength, (at_x, at_y), xytext=(6, 4), textcoords="offset points", fontsize=9, color=colour
                )
        axes.set_xlabel(title)
    every = [figures for seeds in front.values() for figures in seeds.values()]
    expected, spread = (mean(figures[key] for figures in every) for key in ("c2st_expected", "c2st_spread"))
    panels[0].axvspan(expected - spread, expected + spread, color="lightgrey", label="identical distributions ± 1σ")
    panels[1].axvspan(-1, 1, color="lightgrey")
    # Without agreement the excess is ten times as large as with it.
    panels[1].set_xscale("symlog", linthresh=2, linscale=0.5)
    panels[1].xaxis.set_major_formatter("{x:g}")
    panels[1].set_xlim(-2, 1.5 * max(map(_ks_excess, every)))
    panels[0].set_xlim(panels[0].get_xlim())
    panels[0].set_ylim(panels[0].get_ylim())
    panels[0].set_ylabel("Rejection of QCD + 0.1 BIB at 90 % signal efficiency")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=6, fontsize=9, columnspacing=1.5, frameon=False)
    return figure


def _c2st(figures: Mapping[str, float]) -> float:
    return figures["c2st_auc"]


def _ks_excess(figures: Mapping[str, float]) -> float:
    return mean(figures[f"ks_{output}_excess"] for output in ("qcd", "sig", "bib"))


def table(names: Sequence[str], results: Sequence[dict[str, float]], seeds: int) -> str:
    """Markdown: a row for each training, and the mean with its error behind the seeds of a case."""
    first = results[0]
    lines = [
        f"Identical distributions would give K-S {first['ks_qcd_expected']:.3f} ± {first['ks_qcd_spread']:.3f} and "
        f"C2ST {first['c2st_expected']:.3f} ± {first['c2st_spread']:.3f}; [σ] is the excess in these spreads.\n",
        f"| case | seed | {' | '.join(FIGURES)} |",
        f"|---|---|{'---|' * len(FIGURES)}",
    ]
    for start in range(0, len(names), seeds):
        of_case = results[start : start + seeds]
        for name, figures in zip(names[start : start + seeds], of_case, strict=True):
            cells = [format(figures[key], form) for key, form in FIGURES.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        if seeds > 1:
            cells = []
            for key, form in FIGURES.values():
                value, error = mean_and_error([figures[key] for figures in of_case])
                cells.append(f"{format(value, form)} ± {format(error, form.removeprefix('+'))}")
            lines.append(f"| {names[start].rsplit(' | ', 1)[0]} | mean | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jets", type=int, default=20_000, help="jets of each kind, main and control")
    parser.add_argument("--cases", nargs="+", default=METHODS, help=f"default: {' '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, nargs="+", default=[15])
    parser.add_argument("--num_splits", type=int, nargs="+", default=[50])
    parser.add_argument("--engines", nargs="+", default=["auto"])
    parser.add_argument("--encoders", nargs="+", default=["lstm"], help="architectures over the constituents")
    parser.add_argument("--precisions", nargs="+", default=["ieee"], choices=["ieee", *MANTISSA_BITS])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any other settings")
    parser.add_argument("--mismodelling", type=float, default=1.0, help="of the two data sets, see cr_trainer demo")
    parser.add_argument("--front", type=Path, help="JSON file that the trainings are added to, see docs.figures")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, of one thread each")
    arguments = parser.parse_args()
    if set(arguments.precisions) != {"ieee"} and set(arguments.engines) - {"torch", "reference"}:
        parser.error("--precisions other than ieee need --engines torch: compiled loops cannot be told how to round")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for seed in (TRAINING_SEED, TEST_SEED):
        data = arguments.folder / f"data{seed}"
        files[seed] = DemoFiles(data, seed)
        if not data.is_dir():
            make_demo_files(
                data, arguments.jets, arguments.jets, arguments.workers, mismodelling=arguments.mismodelling, seed=seed
            )
    jobs, names = [], []
    varied = (arguments.encoders, arguments.engines, arguments.precisions, arguments.num_splits, arguments.epochs)
    for case, *each, seed in itertools.product(arguments.cases, *varied, arguments.seeds):
        encoder, engine, precision, splits, epochs = each
        steps = f"{splits * epochs} steps"
        more = [
            value for values, value in ((arguments.encoders, encoder), (arguments.engines, engine)) if len(values) > 1
        ]
        more += [precision] if len(arguments.precisions) > 1 else []
        name = ", ".join([case, steps, *more])
        settings = settings_of(
            case,
            files[TRAINING_SEED],
            arguments,
            model_name=f"{name}_{seed}".replace("/", "_").replace(", ", "_").replace(" ", ""),
            encoder=encoder,
            engine=engine,
            num_splits=splits,
            epochs=epochs,
            seed=seed,
        )
        names.append(f"{name} | {seed}")
        jobs.append((precision, settings, files[TEST_SEED]))
    stored = arguments.folder / "results.json"
    known: dict[str, dict[str, float]] = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    # By all settings, so that other ones, or other defaults of this program, are trained anew.
    digests = (hashlib.sha256(f"{precision} {settings.model_dump_json()}".encode()) for precision, settings, _ in jobs)
    keys = [f"{name} | {digest.hexdigest()[:16]}" for name, digest in zip(names, digests, strict=True)]
    to_train = [position for position, key in enumerate(keys) if key not in known]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        judged = pool.imap(train_job, [jobs[position] for position in to_train])
        for position, figures in zip(to_train, judged, strict=True):
            known[keys[position]] = figures
            stored.write_text(json.dumps(known, indent=1), "utf-8")
    results = [known[key] for key in keys]
    print(table(names, results, len(arguments.seeds)))
    if arguments.front:
        add_to_front(arguments.front, names, results)


if __name__ == "__main__":
    main()

"""How long figures of merit and plots take: python -m benchmarks.evaluate [JETS...]."""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cal_ratio_trainer.evaluation import ScoredControlJets, ScoredJets
from cal_ratio_trainer.evaluation.histograms import control_histograms, main_histograms
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc, roc_curve
from cal_ratio_trainer.evaluation.significance import significance_scan
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.plotting import DEMO, write_all
from cal_ratio_trainer.plotting.histories import history_drawings
from cal_ratio_trainer.plotting.scores import control_score_drawings, final_score_drawings

_REPEATS = 5
_MASSES = (125.0, 200.0, 400.0, 600.0, 1000.0)


def samples(jets: int) -> tuple[ScoredJets, ScoredControlJets]:
    """Main and control jets, as many of each, with scores as of a trained network."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, jets)
    shapes = np.full((jets, 3), 0.3)
    shapes[np.arange(jets), labels] = 2.0
    gammas = random.standard_gamma(shapes)
    scores = (gammas / gammas.sum(axis=1, keepdims=True)).astype(np.float32)
    weights = np.where(labels == 0, random.lognormal(0, 1, jets), 1.0)
    masses = random.choice(_MASSES, jets)
    control = random.dirichlet((2.0, 0.3, 0.3), jets).astype(np.float32)
    is_data = random.random(jets) < 0.5
    return (
        ScoredJets(scores, labels, weights, masses, masses / 10),
        ScoredControlJets(control, is_data, np.where(is_data, 1.0, weights), random.random(jets)),
    )


def report(name: str, work: Callable[[], object]) -> None:
    """Print the shortest of a few runs: by the clock, and of the processor, which other users do not lengthen."""
    best, best_busy = math.inf, math.inf
    for _ in range(_REPEATS):
        start, start_busy = time.perf_counter(), time.process_time()
        work()
        best = min(best, time.perf_counter() - start)
        best_busy = min(best_busy, time.process_time() - start_busy)
    print(f"  {name:40s} {1e3 * best:8.1f} ms  (processor {1e3 * best_busy:.1f} ms)")


def evaluate(jets: int) -> None:
    """Time every figure of merit on `jets` main and as many control jets."""
    main_jets, control = samples(jets)
    print(f"{jets} main and {jets} control jets")
    report("K-S, 3 outputs in 3 pt ranges", lambda: ks_of_control_jets(control))
    report("AUC", lambda: roc_auc(main_jets))
    report("ROC curve with rejections", lambda: roc_curve(main_jets))
    report("S/sqrt(B) scan", lambda: significance_scan(main_jets))
    report("main histograms, 3 outputs, 2 binnings", lambda: main_histograms(main_jets))
    report("control histograms", lambda: control_histograms(control))
    report("everything at the end of a training", lambda: evaluate_test_sample(main_jets, control))


def draw(jets: int) -> None:
    """Time the plots; the first of all also pays for importing matplotlib."""
    main_jets, control = samples(jets)
    main_counts, control_counts, ks = (
        main_histograms(main_jets),
        control_histograms(control),
        ks_of_control_jets(control),
    )
    epochs = np.arange(100)
    falling = list(0.6 + 0.4 * np.exp(-epochs / 20))
    keys = ("original_lossf", "val_original_lossf", "adv_loss", "val_adv_loss", "adv_acc", "val_adv_acc", "val_auc")
    history = dict.fromkeys((*keys, "ks_bib_hist", "ks_bib_expected", "ks_sig_hist"), falling)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        works: tuple[tuple[str, Callable[[], list[Path]]], ...] = (
            ("score plots, the first time", lambda: write_all(final_score_drawings(main_counts), folder, DEMO)),
            ("score plots", lambda: write_all(final_score_drawings(main_counts), folder, DEMO)),
            ("control plots", lambda: write_all(control_score_drawings(control_counts, ks), folder, DEMO)),
            ("history plots, 100 epochs", lambda: write_all(history_drawings(history), folder, DEMO)),
        )
        for title, work in works:
            start = time.perf_counter()
            plots = len(work())
            print(f"  {title:34s} {(time.perf_counter() - start) / plots:8.3f} s a plot ({plots} plots)")


if __name__ == "__main__":
    for count in [int(argument) for argument in sys.argv[1:]] or [50_000, 200_000]:
        evaluate(count)
    draw(50_000)

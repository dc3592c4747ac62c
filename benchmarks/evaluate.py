"""Seconds of the evaluation and of every final plot: `python -m benchmarks.evaluate`."""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.catalogue import final_drawings

MASSES = [60.0, 125.0, 200.0, 400.0, 600.0, 1000.0]


def random_scores(own: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Random outputs, of which that of the jet's class is usually the largest, in single precision."""
    shapes = np.full((len(own), 3), 0.3)
    shapes[np.arange(len(own)), own] = 3.0
    gammas = random.standard_gamma(shapes)
    scores: np.ndarray = (gammas / gammas.sum(axis=1, keepdims=True)).astype(np.float32)
    return scores


def random_jets(jets: int, random: np.random.Generator) -> ScoredJets:
    """Main jets of random numbers: a third each of signal, QCD and BIB, six mH, with all columns."""
    labels = random.integers(0, 3, jets)
    signs = random.choice([-1, 1], jets)
    return ScoredJets(
        random_scores(labels, random),
        labels,
        random.lognormal(0, 1, jets),
        {
            "mH": random.choice(MASSES, jets),
            "mS": random.choice([5.0, 16.0, 55.0], jets),
            "pt": 40 + random.exponential(60, jets),
            "eta": random.uniform(-2.5, 2.5, jets),
            "phi": random.uniform(-np.pi, np.pi, jets),
            "llp_eta": random.uniform(-2.5, 2.5, jets),
            "llp_lxy": random.uniform(1200, 4000, jets),
            "llp_lz": signs * random.uniform(3500, 6000, jets),
        },
    )


def random_control_jets(jets: int, random: np.random.Generator) -> ScoredJets:
    """Control-region jets of random numbers, half of them data."""
    is_data = random.random(jets) < 0.5
    weights = np.where(is_data, 1.0, random.lognormal(0, 0.5, jets))
    return ScoredJets.control(random_scores(np.zeros(jets, dtype=int), random), is_data, weights, random.random(jets))


def median_seconds(function: Callable[[], object], times: int) -> float:
    """Median time of a call after one warm-up. [s]"""
    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return float(np.median(found[1:]))


def main() -> None:
    """Prints seconds of the evaluation, size and seconds of its JSON, seconds per plot by kind and in total."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=100_000, help="test jets, control jets and jets trained on, each")
    parser.add_argument("--times", type=int, default=3, help="how often each is timed")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    test, train = random_jets(arguments.jets, random), random_jets(arguments.jets, random)
    control = random_control_jets(arguments.jets, random)
    alone = median_seconds(lambda: evaluate_test_sample(test), arguments.times)
    whole = median_seconds(lambda: evaluate_test_sample(test, control, train), arguments.times)
    print(
        f"evaluation of {arguments.jets:,} test jets: {alone:.2f} s; with as many of control and train: {whole:.2f} s"
    )
    figures = evaluate_test_sample(test, control, train)
    text = json.dumps(figures.to_dict())
    written = median_seconds(lambda: json.dumps(figures.to_dict()), arguments.times)
    read = median_seconds(lambda: TestFigures.from_dict(json.loads(text)), arguments.times)
    print(f"as JSON: {len(text) / 1e3:.0f} kB, written in {1e3 * written:.0f} ms, read in {1e3 * read:.0f} ms")
    draw(figures, arguments.times)


def draw(figures: TestFigures, times: int) -> None:
    """Measures every final plot; plots of the same function are one kind."""
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for drawing in final_drawings(figures):
            by_kind[drawing.draw.__name__].append(_seconds(drawing, Path(folder), times))
    print("| plots drawn by | plots | s a plot |\n|---|---|---|")
    for kind, seconds in by_kind.items():
        print(f"| {kind} | {len(seconds)} | {np.mean(seconds):.3f} |")
    every = np.concatenate(list(by_kind.values()))
    print(f"| all | {len(every)} | {every.mean():.3f} |\n{every.sum():.1f} s for all final plots, one after the other")


def _seconds(drawing: Drawing, folder: Path, times: int) -> float:
    return median_seconds(lambda: drawing.write(folder, DEMO), times)


if __name__ == "__main__":
    main()

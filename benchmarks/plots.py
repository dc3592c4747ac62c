"""Time of plots by kind, and waiting time of an epoch for its plots: `python -m benchmarks.plots`."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.evaluate import random_control_jets, random_jets
from cal_ratio_trainer.evaluation.histograms import control_histograms, main_histograms
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.plotting import DEMO, Drawing, write_all
from cal_ratio_trainer.plotting.catalogue import epoch_drawings, final_drawings
from cal_ratio_trainer.plotting.histories import history_drawings
from cal_ratio_trainer.plotting.pool import DrawingPool
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.workers.executor import available_cores

_REPEATS = 3


def some_plots() -> list[Drawing]:
    """All plots of a training of 100 epochs on random scores, including those of one epoch."""
    random = np.random.default_rng(1)
    main, control = random_jets(20_000, random), random_control_jets(20_000, random)
    ks = ks_of_control_jets(control, ranges_of([0.25, 0.5]))
    histograms = {"main": main_histograms(main), "val_adversary": control_histograms(control)}
    for name, low, high in (("low", 0, 0.25), ("mid", 0.25, 0.5), ("high", 0.5, 9)):
        inside = (control.scaled_pt >= low) & (control.scaled_pt < high)
        histograms[f"val_adversary_{name}Pt"] = control_histograms(control, inside)
    falling = list(0.6 + 0.4 * np.exp(-np.arange(100) / 20))
    names = ("original_lossf", "val_original_lossf", "original_acc", "adv_loss", "val_adv_loss", "val_auc")
    keys = (*names, "ks_qcd_hist", "ks_sig_hist", "ks_bib_hist")
    drawings = epoch_drawings(7, histograms, ks) + history_drawings(dict.fromkeys(keys, falling))
    return drawings + final_drawings(evaluate_test_sample(main, control, main))


def by_kind(drawings: Sequence[Drawing]) -> dict[str, list[Drawing]]:
    """Drawings by the function that draws them, with those of epochs separate."""
    kinds: dict[str, list[Drawing]] = {}
    for drawing in drawings:
        kind = "of an epoch" if drawing.name[:3].isdecimal() else drawing.draw.__name__.removeprefix("_draw_")
        kinds.setdefault(kind, []).append(drawing)
    return kinds


def processor_seconds(drawings: Sequence[Drawing], folder: Path) -> float:
    """Processor time per plot, the shortest of a few rounds, on which other programs have little effect. [s]"""
    rounds = []
    for _ in range(_REPEATS):
        begin = time.process_time()
        write_all(drawings, folder, DEMO)
        rounds.append(time.process_time() - begin)
    return min(rounds) / len(drawings)


def waiting(drawings: Sequence[Drawing], folder: Path, epochs: int = 20) -> tuple[float, float, float]:
    """Seconds that an epoch waits (mean, longest), and seconds after the last epoch, with half of the cores."""
    waits = []
    with DrawingPool(max(1, available_cores() // 2)) as pool:
        for epoch in range(epochs):
            begin = time.perf_counter()
            pool.submit(drawings, folder / f"{epoch}", DEMO, order=epoch)
            waits.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        pool.finish()
        return sum(waits) / epochs, max(waits), time.perf_counter() - begin


def main() -> None:
    """Prints processor seconds per plot by kind, and the waiting time of an epoch for its plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run whose plots are drawn; random ones if none")
    run = parser.parse_args().run
    chosen = some_plots() if run is None else Run(run).drawings
    with tempfile.TemporaryDirectory() as name:
        kinds = by_kind(chosen)
        write_all(chosen[:1], Path(name), DEMO)
        for kind, of_kind in sorted(kinds.items()):
            seconds = processor_seconds(of_kind, Path(name))
            print(f"{kind:24s} {1e3 * seconds:6.1f} ms of the processor a plot ({len(of_kind)} plots)")
        mean, longest, left = waiting(kinds["of an epoch"][:18], Path(name))
        print(
            f"20 epochs of 18 plots without a pause: an epoch waits {1e3 * mean:.2f} ms (longest {1e3 * longest:.2f}), "
            f"and {left:.1f} s are left behind the last"
        )


if __name__ == "__main__":
    main()

"""Wall time of an epoch without plots, by stage, and peak memory, through the product's own loop."""

import argparse
import math
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from benchmarks.train import random_jets
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training import train as training
from cal_ratio_trainer.training.loop import Observer
from cal_ratio_trainer.training.start import Start


def write_files(folder: Path, main_jets: int, control_jets: int) -> tuple[Path, Path]:
    """Writes random jets with as many constituents as real ones to a main and a control-region training file."""
    rng = np.random.default_rng(1)
    paths = folder / "main.parquet", folder / "control.parquet"
    for path, kind, jets in zip(paths, ("main", "control"), (main_jets, control_jets), strict=True):
        table = random_jets(jets, kind, rng)
        labels = table.label if kind == "main" else np.where(table.label == 0, 0, 2)
        columns = {
            "label": labels,
            "mcEventWeight": np.ones(jets),
            "eventNumber": np.arange(jets),
            "runNumber": np.ones(jets),
        }
        write_jets(
            path, table.with_columns(columns), JetMetadata(stage="built", kind="main" if kind == "main" else "control")
        )
    return paths


def settings_of(files: tuple[Path, Path], **given: Any) -> TrainSettings:
    """Settings of a training on all jets of a main and a control-region file, with its results beside them."""
    main_file, control_file = map(str, files)
    place = files[0].parent
    return TrainSettings.make(
        main_training_file=main_file, cr_training_file=control_file, output_path=place, sample_fraction=1.0, **given
    )


class _ProcessorTime(Observer):
    """Processor time of all epochs but the last, on which other programs have less effect than on the wall time."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    @contextmanager
    def following(self, *given: Any) -> Iterator[None]:
        """Reads the clock before the first epoch."""
        self._marks.append(time.process_time())
        yield

    def see(self, history: Sequence[HistoryRow]) -> None:
        """Reads the clock after an epoch."""
        self._marks.append(time.process_time())

    @property
    def seconds_an_epoch(self) -> float:
        """Mean of the epochs; NaN where there was one only. [s]"""
        return (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1) if len(self._marks) > 1 else math.nan


def main() -> None:
    """Prints seconds per stage, seconds and processor time per epoch, and main jets per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--main_jets", type=int, default=60_000)
    parser.add_argument("--control_jets", type=int, default=20_000)
    parser.add_argument("--num_splits", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        # In a separate process, so that the peak does not include the writing.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            files = pool.submit(write_files, Path(name), arguments.main_jets, arguments.control_jets)
        given = {name: getattr(arguments, name) for name in ("num_splits", "epochs", "threads")}
        settings, watch = settings_of(files.result(), **given), _ProcessorTime()
        record = training.train(Start(settings), say=lambda _: None, details=lambda _: "", observer=watch).record
    timings = record["timings"]
    for stage in ("data_s", "steps_s", "validation_s", "files_s", "seconds_an_epoch", "main_jets_per_second"):
        print(f"{stage:<22}{timings[stage]:.2f}")
    print(f"{'processor_s_an_epoch':<22}{watch.seconds_an_epoch:.2f}")
    print(f"{'peak_memory_gib':<22}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}")


if __name__ == "__main__":
    main()

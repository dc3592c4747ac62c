"""Time of the host for an epoch without the network, for which a fast graphics card would wait; measured without one.

A training of the full size runs in the program's own loop, in which steps and scoring return random numbers at once.
The rest is drawing mini-batches, figures of merit, files, checkpoints, and the final plots. A recorded step on a card
also needs the keys of all dropout masks from the host; their time is measured separately.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import Tensor

from benchmarks.epoch import settings_of, write_files
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.base import StepSums
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.training import train as training
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import StepJets, TrainingStep

_random = torch.Generator().manual_seed(1)


def _no_step(self: TrainingStep, data: JetTensors, jets: StepJets, epoch: int, step: int, sums: StepSums) -> None:
    sums.sums += 1


def _random_logits(self: TrainingStep, data: JetTensors, positions: IndexArray) -> Tensor:
    return torch.randn(len(positions), 3, generator=_random)


def _seconds_of_keys(settings: TrainSettings) -> float:
    """Seconds in which a recorded step draws the keys of an epoch."""
    classifier = Classifier(DEFAULT_SHAPE, 1)
    step = StaticStep(classifier, None, settings)
    begin = time.perf_counter()
    step.keys(settings.num_splits or 1, epoch=0)
    return time.perf_counter() - begin


def main() -> None:
    """Prints seconds per epoch by stage, and those of the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main_jets", type=int, default=2_000_000)
    parser.add_argument("--num_splits", type=int, default=230)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch_plots", action="store_true", help="draw them too, in other processes")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(TrainingStep, "__call__", _no_step),
        mock.patch.object(TrainingStep, "logits", _random_logits),
    ):
        files = write_files(Path(name), arguments.main_jets, arguments.main_jets // 2)
        given = {name: getattr(arguments, name) for name in ("num_splits", "epochs", "epoch_plots")}
        settings = settings_of(files, **given)
        timings = training.train(Start(settings), say=lambda _: None, details=lambda _: "").record["timings"]
    for stage in ("steps_s", "validation_s", "files_s"):
        print(f"{stage.removesuffix('_s'):<12}{1000 * timings[stage] / arguments.epochs:7.1f} ms an epoch")
    print(f"{'keys':<12}{1000 * _seconds_of_keys(settings):7.1f} ms an epoch")
    print(f"{'end':<12}{timings['end_s']:7.1f} s")


if __name__ == "__main__":
    main()

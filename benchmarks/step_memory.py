"""Measured and predicted memory of steps on a CPU, with constituents in memory and on disk.

Each row is a separate process. The measured value is its largest anonymous memory (`RssAnon`) minus that
before the first of the measured steps.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu import print_table
from benchmarks.memory import AnonymousPeak, anonymous_bytes
from benchmarks.train import random_jets
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.placement import DistantJets
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.network.batch import InputFilling, JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.training.memory_plan import memory_plan
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import TrainingStep

_STEPS = 4
_CPU = torch.device("cpu")
_PLACES = ("device", "disk")


def measure(place: str, main_jets: int, splits: int) -> None:
    """Prints the predicted bytes, the gathered part of them, and the measured bytes."""
    rng = np.random.default_rng(1)
    control_jets = main_jets // 2
    parts = [random_jets(main_jets, "main", rng), random_jets(control_jets, "control", rng)]
    jets = np.arange(main_jets + control_jets)
    sampler = Sampler(jets[:main_jets], jets[main_jets:], splits, 1, True)
    few = Sampler(jets[:40], jets[main_jets : main_jets + 20], 2, 1, True)
    with tempfile.TemporaryDirectory() as folder:
        tensors = _on_disk(parts, Path(folder)) if place == "disk" else JetTensors.from_jets(parts, _CPU)
        target = torch.from_numpy(rng.integers(0, 2, len(jets)))
        data = tensors.for_training(target, torch.ones(len(jets)))
        del parts
        classifier, adversary = Classifier(DEFAULT_SHAPE, 1), Adversary(DomainSettings(1.0, 2))
        step = TrainingStep(classifier, adversary, TrainSettings.make(seed=1))
        # Loops are compiled and threads are started before the measurement.
        _do(step, data, few)
        plan = memory_plan(DEFAULT_SHAPE, Engine.NUMBA, data, sampler, 1)
        before = anonymous_bytes()
        with AnonymousPeak() as own:
            _do(step, data, sampler)
        print(plan.step, plan.gathered, own.bytes - before)


def _on_disk(parts: list[Jets], folder: Path) -> DistantJets:
    filling = InputFilling(sum(map(len, parts)), {kind.name: 0 for kind in CONSTITUENTS}, folder)
    for jets in parts:
        filling.append(jets.constituents)
    return DistantJets.of_filling(filling, parts, _CPU)


def _do(step: TrainingStep, data: JetTensors, sampler: Sampler) -> None:
    sums = step.new_sums(_CPU)
    drawn = sampler.epoch(0)[:_STEPS]
    data.expect([step.read_jets(jets) for jets in drawn])
    for number, jets in enumerate(drawn):
        step(data, jets, 0, number, sums)
    data.expect(())


def main() -> None:
    """Prints a table of predictions and measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("main_jets", type=int, nargs="?", default=200_000)
    parser.add_argument("num_splits", type=int, nargs="*", default=[4, 10, 50])
    arguments = parser.parse_args()
    main_jets, rows = arguments.main_jets, []
    for number in arguments.num_splits:
        for place in _PLACES:
            code = f"from benchmarks.step_memory import measure; measure({place!r}, {main_jets}, {number})"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            told, gathered, found = (int(word) / 2**20 for word in done.stdout.split())
            rows.append((place, str(number), f"{told:.0f}", f"{gathered:.0f}", f"{found:.0f}", f"{told / found:.2f}"))
    print_table(
        ("data_place", "num_splits", "MiB predicted", "of it gathered", "MiB measured", "predicted / measured"), rows
    )


if __name__ == "__main__":
    main()

"""Training throughput against padded eager PyTorch, in turn in the same command: `python -m benchmarks.train`."""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# As `cr_trainer train` has it, before PyTorch's threads start.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

from benchmarks.padded_eager import PaddedStep
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.training.setup import keep_freed_memory
from cal_ratio_trainer.training.step import StepJets, TrainingStep

OCCUPANCY = {"main": (11, 5, 4), "control": (15, 11, 2)}
"""Mean numbers of clusters, tracks and muon segments of real jets."""


def random_jets(jets: int, sample: str, rng: np.random.Generator) -> Jets:
    """Jets of random numbers, with Poisson numbers of constituents around those of real jets."""
    lists = {}
    for kind, mean in zip(CONSTITUENTS, OCCUPANCY[sample], strict=True):
        lengths = np.minimum(rng.poisson(mean, jets), kind.limit)
        values = rng.normal(size=(int(lengths.sum()), len(kind.features))).astype(np.float32)
        lists[kind.name] = Ragged.from_lengths(values, lengths)
    columns = {name: rng.random(jets) for name in ("jet_pt", "jet_eta", "jet_phi")}
    return Jets.from_columns({"label": rng.integers(0, 3, jets), **columns}, lists)


def padded_inputs(jets: Jets) -> list[torch.Tensor]:
    """Padded inputs of the network."""
    padded = [
        torch.from_numpy(np.ascontiguousarray(jets.constituents[kind.name].padded(kind.limit)[:, :, list(kind.inputs)]))
        for kind in CONSTITUENTS
    ]
    own = np.stack([jets[name] for name in ("jet_pt", "jet_eta", "jet_phi")], axis=1)
    return [*padded, torch.from_numpy(own)]


def seconds_a_step(step: Callable[[int], None], steps: int) -> float:
    """Median time of a step after one warm-up."""
    times = []
    for number in range(steps + 1):
        start = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


@dataclass(frozen=True)
class Comparison:
    """Seconds per step of both methods, on the same jets."""

    eager: float
    ours: float


def measure(batch: int, steps: int) -> Comparison:
    """Measures both in turn, three rounds each; returns medians."""
    rng = np.random.default_rng(1)
    main_jets, control = random_jets(batch, "main", rng), random_jets(batch, "control", rng)
    half = batch // 2
    tensors = JetTensors.from_jets([main_jets, control], torch.device("cpu"))
    target = torch.from_numpy(np.concatenate([main_jets.label, control.label > 0]).astype(np.int64))
    data = tensors.for_training(target, torch.ones(2 * batch))
    classifier, adversary = Classifier(DEFAULT_SHAPE), Adversary(DomainSettings(10.0))
    ours = TrainingStep(classifier, adversary, TrainSettings.make(seed=1))
    chosen = StepJets(np.arange(batch), np.arange(batch, 2 * batch), np.arange(batch, batch + half))
    sums = ours.new_sums(torch.device("cpu"))
    eager = PaddedStep()
    main_inputs, control_inputs = padded_inputs(main_jets), padded_inputs(control)
    adversary_inputs = padded_inputs(control.slice(0, half))
    targets = [target[:batch], target[batch:], target[batch : batch + half]]
    times_ours, times_eager = [], []
    for _ in range(3):
        times_ours.append(seconds_a_step(lambda number: ours(data, chosen, 0, number, sums), steps))
        times_eager.append(
            seconds_a_step(lambda _: eager(main_inputs, control_inputs, adversary_inputs, targets), max(2, steps // 3))
        )
    return Comparison(eager=float(np.median(times_eager)), ours=float(np.median(times_ours)))


def main() -> None:
    """Prints milliseconds per step and main jets per second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 4096], help="main jets a step")
    parser.add_argument("--steps", type=int, default=7, help="steps timed in each of three rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--plain_allocator", action="store_true", help="leave the C library's memory settings alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.plain_allocator:
        keep_freed_memory()
    for batch in arguments.batch:
        times = measure(batch, arguments.steps)
        print(
            f"batch {batch}: padded eager {1e3 * times.eager:.0f} ms/step ({batch / times.eager:.0f} main jets/s), "
            f"ours {1e3 * times.ours:.1f} ms/step ({batch / times.ours:.0f} main jets/s), "
            f"ratio {times.eager / times.ours:.2f}"
        )


if __name__ == "__main__":
    main()

"""Speed of the built-in encoders: steps of training, and ONNX files in onnxruntime, on one thread each.

`python -m benchmarks.encoders` prints a Markdown table. A step has `--batch` main and as many control jets, with the
adversary. The encoders take turns; times are medians of processor time. The ONNX files are those of untrained networks;
'padded' hands over all slots, 'filled' each jet alone with its own constituents.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnxruntime
import torch

from benchmarks.train import random_jets
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.probe_jets import padded_inputs
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.setup import keep_freed_memory
from cal_ratio_trainer.training.step import StepJets, TrainingStep

_LARGE = 512
_US = 1e6


def seconds(work: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median processor time of each piece of work, in turn, after one warm-up."""
    times: list[list[float]] = [[] for _ in work]
    for number in range(rounds + 1):
        for each, taken in zip(work, times, strict=True):
            start = time.process_time()
            each()
            if number:
                taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in times]


def step_of(shape: NetworkShape, data: JetTensors, batch: int) -> Callable[[], None]:
    """A function that does a step on the first `batch` main jets and as many control jets behind them."""
    classifier, adversary = Classifier(shape, 1), Adversary(DomainSettings(10.0, 2))
    step = TrainingStep(classifier, adversary, TrainSettings.make(seed=1))
    jets = StepJets(np.arange(batch), np.arange(batch, 2 * batch), np.arange(batch, 2 * batch))
    return lambda: step(data, jets, 0, 0, step.new_sums(torch.device("cpu")))


def onnx_work(shape: NetworkShape, jets: Jets) -> list[Callable[[], object]]:
    """Functions that score jets by an ONNX file: each alone with all slots, each with its own, and all together."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = onnx_bytes(shape, Classifier(shape, 1).weights(), {})
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names, arrays = [each.name for each in session.get_inputs()], padded_inputs(jets, shape).arrays
    lengths = [jets.constituents[branch.name].lengths for branch in shape.branches]

    def alone(trimmed: bool) -> Callable[[], object]:
        rows = [slice(jet, jet + 1) for jet in range(64)]
        inputs = [
            {
                name: array[row, : lengths[i][row.start]] if trimmed and i < len(lengths) else array[row]
                for i, (name, array) in enumerate(zip(names, arrays, strict=True))
            }
            for row in rows
        ]
        return lambda: [session.run(None, each) for each in inputs]

    together = dict(zip(names, arrays, strict=True))
    return [alone(False), alone(encoder_named(shape.encoder).any_length), lambda: session.run(None, together)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["lstm", "deep_sets", "transformer"])
    parser.add_argument("--batch", type=int, default=1024, help="main jets of a step")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rng, batch = np.random.default_rng(1), arguments.batch
    shapes = [
        replace(
            DEFAULT_SHAPE,
            encoder=name,
            branches=tuple(
                replace(each, options=encoder_named(name).checked_options([])) for each in DEFAULT_SHAPE.branches
            ),
        )
        for name in arguments.encoders
    ]
    jets = JetTensors.from_jets(
        [random_jets(batch, "main", rng), random_jets(batch, "control", rng)], torch.device("cpu")
    )
    data = jets.for_training(torch.from_numpy(rng.integers(0, 2, 2 * batch)), torch.ones(2 * batch))
    steps = seconds([step_of(shape, data, batch) for shape in shapes], arguments.rounds)
    scored = random_jets(_LARGE, "main", rng)
    work = [onnx_work(shape, scored) for shape in shapes]
    inference = seconds([each for works in work for each in works], arguments.rounds)
    print(f"{batch} main and {batch} control jets a step; processor time of one thread.\n")
    print(
        "| encoder | parameters | training [main jets/s] | ONNX, 1 jet, padded [us] | 1 jet, filled [us] "
        "| 512 jets [us/jet] |"
    )
    print("|---|---|---|---|---|---|")
    for number, (shape, step) in enumerate(zip(shapes, steps, strict=True)):
        padded, filled, large = inference[3 * number : 3 * number + 3]
        parameters = sum(int(np.prod(each)) for each in shape.weight_shapes().values())
        filled_text = f"{filled / 64 * _US:.0f}" if encoder_named(shape.encoder).any_length else "-"
        print(
            f"| {shape.encoder} | {parameters:,} | {batch / step:,.0f} | {padded / 64 * _US:.0f} | {filled_text} "
            f"| {large / _LARGE * _US:.0f} |"
        )


if __name__ == "__main__":
    main()

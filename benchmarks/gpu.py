"""All measurements on a graphics card in one command: `python -m benchmarks.gpu`, Markdown on standard output.

Needs no internet: only this checkout, PyTorch with CUDA, Triton and the packages of pyproject.toml.

1. The Triton engine against the formulas in double precision, IEEE and TF32: recurrence, and chains of dense layers.
2. Main jets per second in the step at several sizes, one row per optimisation; memory, predicted and measured.
3. Time of a step by kernel.
4. The full training, with validation, K-S, checkpoints and all plots, by stage.

Each runs in a separate process, and a row that fails contains the error, so that the others still run.
`--only` selects some of them; with `--tiny` everything is small and also runs on a CPU.
"""

import argparse
import copy
import itertools
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch

from benchmarks.epoch import settings_of, write_files
from benchmarks.train import random_jets
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.engine import Engine, chosen_device, engine_for, set_matmul_precision, unserved_card
from cal_ratio_trainer.network.layers import Activation, Dense
from cal_ratio_trainer.network.recurrence import hidden_states, reference_hidden_states
from cal_ratio_trainer.network.sequences import Sequences
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.training import train as training
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.memory_plan import memory_plan
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep

_STEPS = 20


def correctness(device: torch.device, engine: str) -> None:
    """Largest relative error of states and gradients against the formulas in double precision."""

    def of_recurrence(units: int, precision: str) -> tuple[str, ...]:
        set_matmul_precision(device, precision)
        return tuple(map("{:.1e}".format, _errors(device, engine, units)))

    def of_layers(branch: BranchShape, precision: str) -> tuple[str, ...]:
        set_matmul_precision(device, precision)
        errors = _chain_errors(device, engine, (branch.inputs, *branch.dense, 4 * branch.lstm_units))
        return f"{errors[0]:.1e}", f"{max(errors[1:]):.1e}"

    recurrences = itertools.product((5, 10, 32, 64), ("ieee", "tf32"))
    rows = (_row((str(units), precision), partial(of_recurrence, units, precision)) for units, precision in recurrences)
    print_table(("units", "matrix products", "states", "gradient of inputs", "of recurrent weights"), rows)
    layers = itertools.product(DEFAULT_SHAPE.branches, ("ieee", "tf32"))
    rows = (_row((branch.name, precision), partial(of_layers, branch, precision)) for branch, precision in layers)
    print_table(("dense layers of", "matrix products", "outputs", "largest of all weights' gradients"), rows)
    set_matmul_precision(device, "ieee")


def _chain_errors(device: torch.device, engine: str, widths: tuple[int, ...]) -> list[float]:
    """Errors of the outputs and of the gradient of every weight, without dropout."""
    exact = [Dense(*sizes, torch.Generator().manual_seed(2)).double() for sizes in itertools.pairwise(widths)]
    x = torch.randn(3000, widths[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layers = [copy.deepcopy(layer).to(device, torch.float32) for layer in exact]
    chosen = engine_for(device, torch.float32, engine)
    found = dense_chain(x.to(device, torch.float32), layers, _plain(len(layers), chosen))
    expected = dense_chain(x, exact, _plain(len(exact), Engine.TORCH))
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.autograd.backward([expected, found], [gradient, gradient.to(device, torch.float32)])
    return _relative([found, *_gradients(layers)], [expected, *_gradients(exact)])


def _plain(layers: int, engine: Engine) -> ChainPlan:
    return ChainPlan((Activation(0.0, None, False, engine),) * (layers - 1), transposed=True)


def _gradients(layers: Sequence[Dense]) -> list[torch.Tensor | None]:
    return [weight.grad for layer in layers for weight in (layer.kernel, layer.bias)]


def _relative(found: Sequence[torch.Tensor | None], expected: Sequence[torch.Tensor | None]) -> list[float]:
    """Largest error of each, relative to its largest value."""
    errors = []
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        errors.append(float((ours.detach().cpu().double() - theirs.detach()).abs().max() / theirs.detach().abs().max()))
    return errors


def _errors(device: torch.device, engine: str, units: int) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    jets, slots = 3000, 20
    filled = [max(0, jets - 150 * slot) for slot in range(slots)]
    exact = [
        torch.randn(shape, generator=generator, dtype=torch.float64) * size
        for shape, size in (((4 * units, sum(filled) + 1), 1.0), ((units, 4 * units), units**-0.5))
    ]
    gradient = torch.randn(slots, units, jets, generator=generator, dtype=torch.float64)
    exact = [tensor.requires_grad_() for tensor in exact]
    single = [tensor.detach().to(device, torch.float32).requires_grad_() for tensor in exact]
    expected = reference_hidden_states(Sequences(exact[0], tuple(filled), jets, slots), exact[1], True)
    chosen = engine_for(device, torch.float32, engine)
    found = hidden_states(Sequences(single[0], tuple(filled), jets, slots), single[1], every_slot=True, engine=chosen)
    torch.autograd.backward([expected, found], [gradient, gradient.to(device, torch.float32)])
    return _relative([found, *(tensor.grad for tensor in single)], [expected, *(tensor.grad for tensor in exact)])


def throughput(device: torch.device, sizes: list[int]) -> None:
    """Time of a step in milliseconds and main jets per second, by method and size."""

    def measured(jets: int, data: JetTensors, sampler: Sampler, way: _Method) -> tuple[str, ...]:
        set_matmul_precision(device, way.precision)
        with way.layers_apart():
            seconds, peak = _seconds_a_step(device, data, sampler, way)
            engine, recorded = engine_for(device, torch.float32, way.engine), way.kind.records_graphs
            plan = memory_plan(DEFAULT_SHAPE, engine, data, sampler, 1, recorded=recorded)
        speed = f"{jets / seconds / 1e6:.3f} M"
        return f"{1000 * seconds:.2f}", speed, f"{plan.step / 2**30:.2f}", f"{peak / 2**30:.2f}" if peak else "-"

    def rows() -> Iterator[tuple[str, ...]]:
        for jets in sizes:
            data, sampler = _sample(device, jets)
            for way in _methods(device):
                yield _row((str(jets), *way.words(device)), partial(measured, jets, data, sampler, way))

    columns = ("main jets a step", "engine", "dense layers", "products", "recorded", "ms", "main jets/s")
    print_table((*columns, "GiB predicted", "GiB at most"), rows())
    set_matmul_precision(device, "ieee")


@dataclass(frozen=True)
class _Method:
    """Method to compute a step."""

    engine: str
    precision: str = "ieee"
    kind: type[TrainingStep] = TrainingStep
    together: bool = True

    def words(self, device: torch.device) -> tuple[str, ...]:
        recorded = ("graph" if device.type == "cuda" else "fixed shapes") if self.kind is StaticStep else "-"
        return self.engine, "one kernel" if self.together else "one by one", self.precision, recorded

    @contextmanager
    def layers_apart(self) -> Iterator[None]:
        """Context in which Triton computes dense layers one by one, unless `together` is set."""
        if self.together:
            yield
            return
        places = ("network.dense_chain", "datasets.memory")
        with ExitStack() as patched:
            for place in places:
                patched.enter_context(mock.patch(f"cal_ratio_trainer.{place}.chain_fits", return_value=False))
            yield


def _methods(device: torch.device) -> list[_Method]:
    """One method for each optimisation."""
    slowest = _Method("torch", together=False)
    if engine_for(device, torch.float32) is not Engine.TRITON:
        return [slowest, _Method("auto"), _Method("auto", kind=StaticStep)]
    ways = [slowest, *(_Method("triton", together=together) for together in (False, True))]
    return ways + [
        _Method("triton", precision, StaticStep, together)
        for precision in ("ieee", "tf32")
        for together in (False, True)
    ]


def profile(device: torch.device, jets: int) -> None:
    """Time of a step by kernel: the twenty slowest."""
    data, sampler = _sample(device, jets)
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, *([activity.CUDA] if device.type == "cuda" else [])]
    way = _Method("auto", "ieee", StaticStep)
    with torch.profiler.profile(activities=activities) as profiler:
        _seconds_a_step(device, data, sampler, way)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(f"{jets} main jets a step; all steps of three epochs, those that compile and record among them.\n\n```")
    print(profiler.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=60), "```\n", sep="")


def _sample(device: torch.device, jets: int) -> tuple[JetTensors, Sampler]:
    """Jets for `_STEPS` steps of a size, half as many control jets."""
    rng = np.random.default_rng(1)
    main, control = jets * _STEPS, jets * _STEPS // 2
    tensors = JetTensors.from_jets([random_jets(main, "main", rng), random_jets(control, "control", rng)], device)
    target = np.concatenate([rng.integers(0, 3, main), rng.integers(0, 2, control)])
    data = tensors.for_training(torch.from_numpy(target).to(device), torch.ones(main + control, device=device))
    return data, Sampler(np.arange(main), np.arange(main, main + control), _STEPS, 1, True)


def _seconds_a_step(device: torch.device, data: JetTensors, sampler: Sampler, way: _Method) -> tuple[float, int]:
    """Seconds per step of the third epoch; the first ones compile and record."""
    classifier = Classifier(DEFAULT_SHAPE, 1, way.engine).to(device)
    adversary = Adversary(DomainSettings(10.0, 2)).to(device)
    step = way.kind(classifier, adversary, TrainSettings.make(seed=5))
    sums = step.new_sums(device)
    before, seconds = 0, 0.0
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        torch.cuda.reset_peak_memory_stats()
    for epoch in range(3):
        steps = sampler.epoch(epoch)
        _wait(device)
        begin = time.perf_counter()
        step.prepare(data, steps, epoch)
        for number, jets in enumerate(steps):
            step(data, jets, epoch, number, sums)
        _wait(device)
        seconds = (time.perf_counter() - begin) / len(steps)
    if device.type != "cuda":
        return seconds, 0
    return seconds, torch.cuda.max_memory_reserved() - before


def full_run(main_jets: int, control_jets: int, epochs: int, splits: list[int]) -> None:
    """Trainings as by `cr_trainer train`, seconds by stage."""
    print(f"{epochs} epochs of {main_jets} main and {control_jets} control jets, nine tenths of them trained on:\n")
    names = ("num_splits", "products", "computed by", "data", "steps", "validation", "files", "end")
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), main_jets, control_jets)
        runs = itertools.product(splits, ("ieee", "tf32"))
        rows = (
            _row((str(count), products), partial(_trained, files, epochs, count, products)) for count, products in runs
        )
        print_table((*names, "epoch 0 to last file", "main jets/s in steps"), rows)


def _trained(files: tuple[Path, Path], epochs: int, splits: int, precision: str) -> tuple[str, ...]:
    settings = settings_of(files, num_splits=splits, epochs=epochs, matmul_precision=precision)
    record = training.train(Start(settings), say=lambda _: None, details=lambda _: "").record
    timings, ran = record["timings"], record["computed_by"]
    stages = [f"{timings[each]:.1f}" for each in ("data_s", "steps_s", "validation_s", "files_s", "end_s")]
    after_data = sum(timings[each] for each in ("steps_s", "validation_s", "files_s", "end_s"))
    way = f"{ran['engine']} {ran['matmul_precision']}{' graph' if ran['cuda_graph'] else ''}"
    return way, *stages, f"{after_data:.1f}", f"{timings['main_jets_per_second'] / 1e6:.3f} M"


def _row(words: tuple[str, ...], measure: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Row with a heading; contains the error if the measurement fails, so that the other rows still follow."""
    try:
        return *words, *measure()
    except Exception as error:
        traceback.print_exc()
        return *words, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def print_table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Prints a Markdown table, each row as soon as it is measured."""
    for cells in itertools.chain((names, ("---",) * len(names)), rows):
        print("| " + " | ".join(cells) + " |", flush=True)
    print(flush=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("correctness", "throughput", "profile", "full")
    parser.add_argument("--only", choices=names, nargs="*")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()
    tiny, chosen = arguments.tiny, [name for name in names if not arguments.only or name in arguments.only]
    if not tiny and not torch.cuda.is_available():
        parser.error("no GPU here; --tiny tries the commands on a CPU")
    if len(chosen) > 1:
        # After some errors a process cannot use its card any more. This process leaves the card to its children.
        options = ["--epochs", str(arguments.epochs), *(["--tiny"] if tiny else [])]
        commands = [[sys.executable, "-m", "benchmarks.gpu", *options, "--only", name] for name in chosen]
        sys.exit(max(subprocess.run(command, check=False).returncode != 0 for command in commands))
    device = chosen_device("auto")
    if device.type == "cpu" and not tiny:
        parser.error(f"{unserved_card()}; --tiny tries the commands on a CPU")
    engine = engine_for(device, torch.float32).value
    sizes = [256] if tiny else [4096, 16384, 65536]
    full = (3000, 1500, 2, [4]) if tiny else (2_000_000, 1_000_000, arguments.epochs, [50, 230])
    parts: dict[str, tuple[str, Callable[[], None]]] = {
        "correctness": ("Largest error relative to the largest value", lambda: correctness(device, engine)),
        "throughput": ("The step", lambda: throughput(device, sizes)),
        "profile": ("Where the time goes", lambda: profile(device, sizes[len(sizes) // 2])),
        "full": ("A whole training, seconds", lambda: full_run(*full)),
    }
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    title, part = parts[chosen[0]]
    print(f"## {title} ({card}, PyTorch {torch.__version__}, engine {engine})\n", flush=True)
    part()


if __name__ == "__main__":
    main()

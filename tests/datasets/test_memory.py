"""Predicted and measured memory of a step, and the number of mini-batches that fit."""

import itertools
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from cal_ratio_trainer.datasets import memory
from cal_ratio_trainer.datasets.memory import StepSize, fitting_parts, gathered_bytes, step_bytes
from cal_ratio_trainer.datasets.placement import DistantJets, GatheredJets
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.launching import ProcessRank
from cal_ratio_trainer.network.batch import InputFilling, JetTensors
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training import ranks as ranks_module
from cal_ratio_trainer.training.ranks import ALONE, SeveralRanks
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import StepJets
from tests.factories.jets import synthetic_jets
from tests.training.steps import new_step

CPU = torch.device("cpu")
MAIN, CONTROL = 3000, 1000


def tensors() -> JetTensors:
    rng = np.random.default_rng(1)
    main, control = synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)
    target = np.concatenate([main.label, control.label > 0]).astype(np.int64)
    return JetTensors.from_jets([main, control], CPU).for_training(torch.from_numpy(target), torch.ones(MAIN + CONTROL))


def size_of(data: JetTensors) -> StepSize:
    constituents = {}
    for name, offsets in data.offsets.items():
        counted = int(offsets[MAIN]), int(offsets[-1] - offsets[MAIN])
        constituents[name] = (counted[0] / MAIN, counted[1] / CONTROL)
    return StepSize(MAIN, MAIN, CONTROL, constituents)


def measured_peak(shape: NetworkShape, data: JetTensors, engine: str, pieces: int) -> int:
    """Largest sum of bytes of all simultaneous tensors of a step."""
    step = new_step(shape=shape, engine=engine, pieces=pieces)
    drawn = np.random.default_rng(1).integers(MAIN, MAIN + CONTROL, MAIN)
    jets = StepJets(np.arange(MAIN), drawn, np.arange(MAIN, MAIN + CONTROL))
    step(data, jets, 0, 0, step.new_sums(CPU))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(data, jets, 0, 1, step.new_sums(CPU))
    held = peak = 0
    events = profiler.profiler.kineto_results.events()
    for event in sorted((each for each in events if each.name() == "[memory]"), key=lambda each: each.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("lstm_layers", [1, 2])
@pytest.mark.parametrize("engine", [Engine.NUMBA, Engine.TORCH])
def test_a_step_takes_what_is_predicted_within_a_quarter(engine: Engine, lstm_layers: int, pieces: int) -> None:
    shape, data = NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=lstm_layers), tensors()
    predicted = step_bytes(shape, size_of(data), engine, pieces)
    measured = measured_peak(shape, data, engine.value, pieces)
    assert predicted == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize(
    ("encoder", "options"), [("deep_sets", ()), ("transformer", (("width", 16), ("layers", 1), ("hidden", 32)))]
)
def test_a_step_of_another_encoder_takes_what_is_predicted_within_a_quarter(
    encoder: str, options: tuple[tuple[str, int], ...]
) -> None:
    branches = tuple(replace(branch, options=options) for branch in DEFAULT_SHAPE.branches)
    shape, data = replace(DEFAULT_SHAPE, encoder=encoder, branches=branches), tensors()
    predicted = step_bytes(shape, size_of(data), Engine.TORCH)
    assert predicted == pytest.approx(measured_peak(shape, data, "auto", 1), rel=0.25)


@pytest.mark.parametrize(("main_jets", "control_jets"), [(MAIN, CONTROL), (900, 2000), (MAIN, 0)])
@pytest.mark.parametrize("splits", [2, 10])
@pytest.mark.parametrize("processes", [1, 2, 5])
def test_what_is_gathered_for_a_step_and_the_next_takes_what_is_predicted(
    main_jets: int, control_jets: int, splits: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [synthetic_jets(np.arange(main_jets) % 3, 1), synthetic_jets(2 * (np.arange(control_jets) % 2), 2)]
    far, constituents = on_disk(parts, tmp_path)
    held = held_by(monkeypatch)
    monkeypatch.setattr(ranks_module, "store", HashStore)
    ranks = SeveralRanks(ProcessRank(0, processes, 0, processes, 1)) if processes > 1 else ALONE
    jets = np.arange(main_jets + control_jets)
    sampler = Sampler(jets[:main_jets], jets[main_jets:], splits, 1, True)
    step = new_step(ranks=ranks)
    read = [step.read_jets(each) for each in sampler.epoch(0)]
    far.expect(read)
    most = 0
    for number, positions in enumerate(read):
        far.batch(positions)
        wait_for(held, min(2, splits - number))
        most = max(most, sum(held.values()))
    far.expect(())
    epoch = StepSize(main_jets, main_jets if control_jets else 0, control_jets, constituents)
    assert gathered_bytes(DEFAULT_SHAPE, epoch, splits, processes) == pytest.approx(most, rel=0.05)


def on_disk(parts: list[Jets], folder: Path) -> tuple[DistantJets, dict[str, tuple[float, float]]]:
    """Jets on disk, and the mean number of constituents in each part."""
    filling = InputFilling(sum(map(len, parts)), {kind.name: 0 for kind in CONSTITUENTS}, folder)
    means: dict[str, list[float]] = {kind.name: [] for kind in CONSTITUENTS}
    for jets in parts:
        filling.append(jets.constituents)
        for kind in CONSTITUENTS:
            lengths = np.minimum(np.diff(jets.constituents[kind.name].offsets), kind.limit)
            means[kind.name].append(float(lengths.mean()) if len(jets) else 0.0)
    return DistantJets.of_filling(filling, parts, CPU), {name: (a, b) for name, (a, b) in means.items()}


def held_by(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Bytes of all gathered arrays that are still referenced."""
    held: dict[int, int] = {}
    gather, numbers = DistantJets._gather, itertools.count()

    def note(self: DistantJets, jets: IndexArray) -> GatheredJets:
        found, number = gather(self, jets), next(numbers)
        indices = [found.jets, *found.offsets.values()]
        held[number] = sum(each.nbytes for each in found.values.values()) + sum(each.nbytes for each in indices)
        weakref.finalize(found, held.pop, number)
        return found

    monkeypatch.setattr(DistantJets, "_gather", note)
    return held


def wait_for(held: dict[int, int], count: int) -> None:
    end = time.monotonic() + 60
    while len(held) != count:
        assert time.monotonic() < end
        time.sleep(0.001)


SIZE = StepSize(1e6, 1e6, 5e5, {"clusters": (11.0, 15.0), "tracks": (5.0, 11.0), "muon_segments": (4.0, 2.0)})


def triton_step(splits: int) -> int:
    return step_bytes(DEFAULT_SHAPE, SIZE.of(splits), Engine.TRITON)


@pytest.mark.parametrize("free", [10**8, 10**9, 10**10])
def test_the_fewest_mini_batches_that_fit_fit_and_one_less_does_not(free: int) -> None:
    splits = fitting_parts(triton_step, free)
    assert splits is not None
    assert step_bytes(DEFAULT_SHAPE, SIZE.of(splits), Engine.TRITON) <= free
    assert splits == 1 or step_bytes(DEFAULT_SHAPE, SIZE.of(splits - 1), Engine.TRITON) > free


def test_where_the_weights_alone_do_not_fit_no_number_of_mini_batches_does() -> None:
    assert fitting_parts(triton_step, 100_000) is None


def test_in_pieces_a_step_takes_no_more_than_the_mini_batches_of_that_size() -> None:
    whole, pieces = step_bytes(DEFAULT_SHAPE, SIZE, Engine.NUMBA), step_bytes(DEFAULT_SHAPE, SIZE, Engine.NUMBA, 10)
    assert pieces == step_bytes(DEFAULT_SHAPE, SIZE.of(10), Engine.NUMBA)
    assert pieces < 0.11 * whole


def test_a_group_with_a_limit_leaves_what_it_has_not_used(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 50\n")
    assert memory._free_of_the_group(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_of_the_group(tmp_path) is None
    assert memory._free_of_the_group(tmp_path / "none") is None

"""Predicted memory of a step against what it takes, and how many mini-batches fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from cal_ratio_trainer.network.adversary import Adversary
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training import memory
from cal_ratio_trainer.training.memory import StepSize, fitting_splits, step_bytes
from cal_ratio_trainer.training.step import AdversarialStep, LossSettings, StepJets, TrainingTensors
from cal_ratio_trainer.training.tally import Tally
from tests.training.synthetic import synthetic_jets

CPU = torch.device("cpu")
MAIN, CONTROL = 3000, 1000


def tensors() -> TrainingTensors:
    rng = np.random.default_rng(1)
    main, control = synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)
    target = np.concatenate([main.label, control.label > 0]).astype(np.int64)
    return TrainingTensors(
        JetTensors.from_jets([main, control], CPU), torch.from_numpy(target), torch.ones(MAIN + CONTROL)
    )


def size_of(data: TrainingTensors) -> StepSize:
    constituents = {}
    for name, offsets in data.jets.offsets.items():
        counted = int(offsets[MAIN]), int(offsets[-1] - offsets[MAIN])
        constituents[name] = (counted[0] / MAIN, counted[1] / CONTROL)
    return StepSize(MAIN, MAIN, CONTROL, constituents)


def measured_peak(shape: NetworkShape, data: TrainingTensors, engine: str, pieces: int) -> int:
    """Most bytes of all tensors that a step makes and that live at the same time."""
    losses = LossSettings(10.0, 1e-11, 0.2)
    step = AdversarialStep(Classifier(shape, 1, engine), Adversary(2), 8e-4, losses, seed=5, pieces=pieces)
    drawn = np.random.default_rng(1).integers(MAIN, MAIN + CONTROL, MAIN)
    jets = StepJets(np.arange(MAIN), drawn, np.arange(MAIN, MAIN + CONTROL))
    step(data, jets, 0, 0, Tally(CPU))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(data, jets, 0, 1, Tally(CPU))
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


SIZE = StepSize(1e6, 1e6, 5e5, {"clusters": (11.0, 15.0), "tracks": (5.0, 11.0), "muon_segments": (4.0, 2.0)})


@pytest.mark.parametrize("free", [10**8, 10**9, 10**10])
def test_the_fewest_mini_batches_that_fit_fit_and_one_less_does_not(free: int) -> None:
    splits = fitting_splits(DEFAULT_SHAPE, SIZE, Engine.TRITON, free)
    assert splits is not None
    assert step_bytes(DEFAULT_SHAPE, SIZE.of(splits), Engine.TRITON) <= free
    assert splits == 1 or step_bytes(DEFAULT_SHAPE, SIZE.of(splits - 1), Engine.TRITON) > free


def test_where_the_weights_alone_do_not_fit_no_number_of_mini_batches_does() -> None:
    assert fitting_splits(DEFAULT_SHAPE, SIZE, Engine.TRITON, 100_000) is None


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

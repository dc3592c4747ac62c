"""Messages of a training about its memory, also if memory is exhausted."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from cal_ratio_trainer.datasets.memory import StepSize, gathered_bytes, step_bytes
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.training.memory_plan import MemoryPlan, OutOfMemory
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep
from cal_ratio_trainer.training.train import train
from tests.training.test_engine_choice import settings_in

EPOCH = StepSize(1e6, 1e6, 5e5, {"clusters": (11.0, 15.0), "tracks": (5.0, 11.0), "muon_segments": (4.0, 2.0)})
PLAN = MemoryPlan(DEFAULT_SHAPE, Engine.NUMBA, EPOCH, splits=10, pieces=1, data=2**30, free=2**30, device="cpu")


def test_a_step_that_does_not_fit_is_told_with_settings_that_do() -> None:
    assert PLAN.step > PLAN.free if PLAN.free else False
    said = PLAN.sentence()
    assert said.startswith("warning: the jets take 1.00 GiB of memory")
    splits, pieces = (int(said.partition(f"{name} ")[2].split()[0]) for name in ("num_splits", "accumulate"))
    assert step_bytes(DEFAULT_SHAPE, EPOCH.of(splits), Engine.NUMBA) <= 2**30
    assert step_bytes(DEFAULT_SHAPE, EPOCH.of(10), Engine.NUMBA, pieces) <= 2**30
    assert step_bytes(DEFAULT_SHAPE, EPOCH.of(splits // 2), Engine.NUMBA) > 2**30


def test_a_step_that_fits_is_told_without_warning() -> None:
    said = dataclasses.replace(PLAN, splits=1000).sentence()
    assert said.startswith("the jets take 1.00 GiB of memory, a step about ")
    assert said.endswith("; 1.00 GiB are free")


def test_recorded_steps_take_twice_as_much_and_are_not_recorded_where_there_is_room_for_one_only() -> None:
    recorded = dataclasses.replace(PLAN, recorded=True, device="cuda")
    one = PLAN.step
    assert recorded.step == 2 * one
    assert dataclasses.replace(recorded, pieces=2).step == dataclasses.replace(PLAN, pieces=2).step
    assert dataclasses.replace(recorded, free=2 * one).as_it_fits().recorded
    between = dataclasses.replace(recorded, free=3 * one // 2)
    assert between.as_it_fits() == dataclasses.replace(between, recorded=False)
    assert not between.as_it_fits().sentence().startswith("warning")
    splits = int(between.unrecorded_notice().partition("num_splits ")[2].split()[0])
    assert dataclasses.replace(between, splits=splits).as_it_fits().recorded
    # If not even that fits, the advice is for recorded steps.
    small = dataclasses.replace(recorded, free=one // 2)
    assert small.as_it_fits() == small
    splits = int(small.advice().removeprefix("num_splits ").split(",")[0].split()[0])
    assert dataclasses.replace(small, splits=splits).step <= one // 2


def test_what_is_gathered_ahead_is_part_of_a_step_and_of_what_would_fit() -> None:
    far = dataclasses.replace(PLAN, gathers=True, data=2**20, splits=20, free=2**29)
    gathered = gathered_bytes(DEFAULT_SHAPE, EPOCH, 20)
    assert far.gathered == gathered > 2**27
    assert far.step == dataclasses.replace(far, gathers=False).step + gathered
    assert far.described()["gathered_bytes"] == gathered
    said = far.sentence()
    assert f"{gathered / 2**30:.2f} GiB of it for constituents that are gathered for this step and the next" in said
    splits, pieces = (int(said.partition(f"{name} ")[2].split()[0]) for name in ("num_splits", "accumulate"))
    assert dataclasses.replace(far, splits=splits).step <= 2**29
    assert dataclasses.replace(far, pieces=pieces).step <= 2**29


def test_where_what_is_gathered_does_not_fit_by_itself_only_more_mini_batches_help() -> None:
    far = dataclasses.replace(PLAN, gathers=True, free=2**28)
    said = far.advice()
    splits = int(said.removeprefix("num_splits ").split()[0])
    assert dataclasses.replace(far, splits=splits).step <= 2**28
    assert "accumulate would not help" in said


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_where_memory_runs_out_though_it_should_not_twice_as_many_mini_batches_are_named(error: Exception) -> None:
    plenty = dataclasses.replace(PLAN, free=2**50)
    with (
        pytest.raises(
            OutOfMemory, match=r"100000 main jets found no memory .* num_splits 20 would fit, or accumulate 2"
        ),
        plenty.explained_errors(),
    ):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="something else"), PLAN.explained_errors():
        raise RuntimeError("something else")


@pytest.mark.usefixtures("without_figures")
def test_a_training_says_its_memory_before_the_first_step_and_records_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    settings = settings_in(tmp_path)
    record = train(Start(settings), say=said.append, details=lambda figures: "").record
    assert any(re.match(r"the jets take \d+\.\d MiB of memory, a step about \d+\.\d MiB more; ", line) for line in said)
    assert 0 < record["memory"]["predicted_step_bytes"] < 2**30

    def hungry(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(TrainingStep, "__call__", hungry)
    with pytest.raises(OutOfMemory, match="num_splits 4 would fit"):
        train(Start(settings), say=said.append, details=lambda figures: "")

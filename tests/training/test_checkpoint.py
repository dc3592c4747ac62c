"""Checkpoints: exact, complete, and of the right network."""

import errno
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape
from cal_ratio_trainer.training.checkpoint import TrainingState, checkpoint_progress, load_checkpoint, save_checkpoint
from cal_ratio_trainer.training.step import TrainingStep
from tests.training.steps import adversary_of, new_step

PROGRESS = TrainingState(epoch=3, step=2, sums={"main_loss": 0.1}, history=[{"val_auc": float("nan")}], threads=2)
RUN = "ab" * 16


def a_step(shape: NetworkShape = DEFAULT_SHAPE, seed: int = 1) -> TrainingStep:
    step = new_step(shape=shape, seed=seed)
    for _, module, optimizer in step.trained_modules():
        for weight in module.parameters():
            weight.grad = torch.ones_like(weight)
        assert optimizer is not None
        optimizer.step()
    return step


def test_networks_optimisers_and_progress_come_back_exactly(tmp_path: Path) -> None:
    file, saved, loaded = tmp_path / "c.safetensors", a_step(seed=1), a_step(seed=2)
    save_checkpoint(file, saved, PROGRESS, RUN)
    progress = load_checkpoint(file, loaded, RUN)
    assert (progress.epoch, progress.step, progress.sums, progress.threads) == (3, 2, {"main_loss": 0.1}, 2)
    assert (checkpoint_progress(file, RUN).threads, len(checkpoint_progress(file, RUN).history)) == (2, 1)
    for (_, before, optimizer), (_, after, other) in zip(
        saved.trained_modules(), loaded.trained_modules(), strict=True
    ):
        first, second = before.state_dict(), after.state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        states = [each.state_dict()["state"] for each in (optimizer, other) if each is not None]
        for index in states[0]:
            for key, value in states[0][index].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][index][key]))


def test_the_optimisers_scalars_do_not_follow_device_and_type_of_the_weights(tmp_path: Path) -> None:
    """A product of momenta on the GPU would synchronise at every weight; without a GPU the type shows it."""
    file, step = tmp_path / "c.safetensors", a_step()
    save_checkpoint(file, step, PROGRESS, RUN)
    before = {name: value.dtype for name, value in _first_state(step).items()}
    adversary_of(step).double()
    load_checkpoint(file, step, RUN)
    after = {name: value.dtype for name, value in _first_state(step).items()}
    assert after["exp_avg"] == torch.float64
    assert {name: after[name] for name in ("step", "mu_product")} == {
        name: before[name] for name in ("step", "mu_product")
    }


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS, RUN)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        save_checkpoint(file, a_step(), PROGRESS, RUN)
    assert error.value.filename == str(file)
    assert file.read_bytes() == before


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS, RUN)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputFileError, match="not a complete checkpoint"):
        load_checkpoint(file, a_step(), RUN)


def test_a_checkpoint_of_another_network_is_refused_by_the_name_of_a_weight(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS, RUN)
    other = NetworkShape(branches=(branch_shape("clusters", (8,), 3), *DEFAULT_SHAPE.branches[1:]))
    with pytest.raises(InputFileError, match=r"does not fit the network of this run at classifier\.clusters"):
        load_checkpoint(file, a_step(other), RUN)


def test_no_flipped_bit_is_read_as_another_checkpoint(tmp_path: Path) -> None:
    file, step, random = tmp_path / "c.safetensors", a_step(), np.random.default_rng(5)
    save_checkpoint(file, step, PROGRESS, RUN)
    good = file.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    for place in (*random.integers(header, size=100), *random.integers(header, len(good), size=60)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(InputFileError):
            load_checkpoint(file, step, RUN)


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS, "cd" * 16)
    for run_id in (RUN, None):
        with pytest.raises(InputFileError, match="is the checkpoint of another run"):
            load_checkpoint(file, a_step(), run_id)


def test_a_checkpoint_without_a_digest_is_taken_in_runs_of_earlier_versions_only(tmp_path: Path) -> None:
    file, step = tmp_path / "c.safetensors", a_step()
    save_checkpoint(file, step, PROGRESS, None)
    state = {"format_version": 1, **asdict(PROGRESS)}
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    file.write_bytes(save(tensors, metadata={"training_state": json.dumps(state)}))
    assert load_checkpoint(file, step, None).epoch == PROGRESS.epoch
    with pytest.raises(InputFileError, match="is damaged"):
        load_checkpoint(file, step, RUN)
    for wrong in ({"epoch": "x"}, {"history": 3}, {"sums": [1]}, {"format_version": None}):
        file.write_bytes(save(tensors, metadata={"training_state": json.dumps(state | wrong)}))
        with pytest.raises(InputFileError, match="not a complete checkpoint"):
            load_checkpoint(file, step, None)


def test_a_header_of_odd_length_or_content_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    for content in (
        b"",
        b"\xff" * 8,
        b"\x02" + bytes(7) + b"[]",
        b"\x02" + bytes(7) + b"{}",
        (1 << 40).to_bytes(8, "little"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputFileError, match="not a complete checkpoint"):
            load_checkpoint(file, a_step(), RUN)


def test_a_missing_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "c.safetensors", a_step(), RUN)


def _first_state(step: TrainingStep) -> dict[str, torch.Tensor]:
    optimizer = adversary_of(step).optimizer
    assert optimizer is not None
    state: dict[str, torch.Tensor] = next(iter(optimizer.state.values()))
    return state


def test_an_adversary_that_an_earlier_version_stored_without_training_it_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, new_step(), PROGRESS, RUN)
    before, without = new_step().classifier.state_dict(), new_step(0.0, seed=2)
    assert load_checkpoint(file, without, RUN).epoch == PROGRESS.epoch
    assert all(torch.equal(value, before[name]) for name, value in without.classifier.state_dict().items())

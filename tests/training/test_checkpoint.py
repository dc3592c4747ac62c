"""Checkpoints: exact, whole, and of the right network."""

import errno
from pathlib import Path

import pytest
import torch

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.network.adversary import Adversary
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape
from cal_ratio_trainer.training.checkpoint import (
    Progress,
    checkpoint_epochs,
    checkpoint_threads,
    load_checkpoint,
    save_checkpoint,
)
from cal_ratio_trainer.training.step import AdversarialStep, LossSettings

PROGRESS = Progress(epoch=3, step=2, sums={"main_loss": 0.1}, history=[{"val_auc": float("nan")}], threads=2)


def a_step(shape: NetworkShape = DEFAULT_SHAPE, seed: int = 1) -> AdversarialStep:
    step = AdversarialStep(Classifier(shape, seed), Adversary(seed), 1e-3, LossSettings(10, 0, 0.2), seed)
    for module, optimizer in (
        (step.classifier, step.classifier_optimizer),
        (step.adversary, step.adversary_optimizer),
    ):
        for weight in module.parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    return step


def test_networks_optimisers_and_progress_come_back_exactly(tmp_path: Path) -> None:
    file, saved, loaded = tmp_path / "c.safetensors", a_step(seed=1), a_step(seed=2)
    save_checkpoint(file, saved, PROGRESS)
    progress = load_checkpoint(file, loaded)
    assert (progress.epoch, progress.step, progress.sums, progress.threads) == (3, 2, {"main_loss": 0.1}, 2)
    assert (checkpoint_threads(file), checkpoint_epochs(file)) == (2, 1)
    for module in ("classifier", "adversary"):
        first, second = getattr(saved, module).state_dict(), getattr(loaded, module).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        states = [getattr(step, f"{module}_optimizer").state_dict()["state"] for step in (saved, loaded)]
        for index in states[0]:
            for key, value in states[0][index].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][index][key]))


def test_the_optimisers_scalars_do_not_follow_device_and_type_of_the_weights(tmp_path: Path) -> None:
    """A product of momenta on the GPU would be waited for at every weight; without a GPU the type shows the same."""
    file, step = tmp_path / "c.safetensors", a_step()
    save_checkpoint(file, step, PROGRESS)
    before = {name: value.dtype for name, value in _first_state(step).items()}
    step.adversary.double()
    load_checkpoint(file, step)
    after = {name: value.dtype for name, value in _first_state(step).items()}
    assert after["exp_avg"] == torch.float64
    assert {name: after[name] for name in ("step", "mu_product")} == {
        name: before[name] for name in ("step", "mu_product")
    }


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        save_checkpoint(file, a_step(), PROGRESS)
    assert error.value.filename == str(file)
    assert file.read_bytes() == before


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputFileError, match="not a complete checkpoint"):
        load_checkpoint(file, a_step())
    assert (checkpoint_threads(file), checkpoint_epochs(file)) == (None, 0)


def test_a_checkpoint_of_another_network_is_refused_by_the_name_of_a_weight(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, a_step(), PROGRESS)
    other = NetworkShape(branches=(branch_shape("clusters", (8,), 3), *DEFAULT_SHAPE.branches[1:]))
    with pytest.raises(InputFileError, match=r"does not fit the network of this run at classifier\.clusters"):
        load_checkpoint(file, a_step(other))


def test_a_missing_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "c.safetensors", a_step())


def _first_state(step: AdversarialStep) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = next(iter(step.adversary_optimizer.state.values()))
    return state

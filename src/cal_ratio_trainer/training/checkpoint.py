"""Everything that is needed to go on exactly, in one safetensors file.

Random numbers need no state: what an epoch or a step draws depends only on the seed and its number.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.training.step import AdversarialStep

FORMAT_VERSION = 1
_STATE_KEY = "training_state"

HistoryRow = dict[str, float]


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: number of the epoch to go on with.
        step: number of its step to go on with.
        sums: the tally of that epoch so far; None at its start.
        history: a row for each finished epoch.
        threads: CPU threads it ran with; the same number gives the same rounding.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] | None = None
    history: list[HistoryRow] = field(default_factory=list)
    threads: int = 1


def save_checkpoint(path: Path, step: AdversarialStep, progress: Progress) -> None:
    """Write networks, optimisers and progress, complete or not at all."""
    state = json.dumps({"format_version": FORMAT_VERSION, **asdict(progress)})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(step).items()}
    # Not by its own writer, whose errors are none of the system's: a full disk would end in a traceback.
    write_bytes(path, save(tensors, metadata={_STATE_KEY: state}))


def state_bytes(step: AdversarialStep) -> bytes:
    """Networks and optimisers, for another process to take over."""
    content: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(step).items()})
    return content


def take_state(step: AdversarialStep, content: bytes) -> None:
    """Put networks and optimisers into the state that `state_bytes` gave."""
    _restore(Path("the state of the first process"), step, load(content))


def load_checkpoint(path: Path, step: AdversarialStep) -> Progress:
    """Put networks and optimisers into the state of a checkpoint.

    Raises:
        InputFileError: no such file, truncated, or of another network.
    """
    if not path.is_file():
        raise InputFileError(path, "no such checkpoint; the run was stopped before its first epoch ended")
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})[_STATE_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputFileError(path, f"is not a complete checkpoint ({error})") from error
    version = state.pop("format_version")
    if version > FORMAT_VERSION:
        raise InputFileError(path, f"has format version {version}; this program reads up to {FORMAT_VERSION}")
    _restore(path, step, tensors)
    return Progress(**state)


def _tensors(step: AdversarialStep) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, module, optimizer in _parts(step):
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}_optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def _restore(path: Path, step: AdversarialStep, tensors: dict[str, Tensor]) -> None:
    for name, module, optimizer in _parts(step):
        expected = module.state_dict()
        weights = {key: tensors.pop(f"{name}.{key}", torch.empty(0)) for key in expected}
        wrong = [key for key, value in expected.items() if weights[key].shape != value.shape]
        if wrong:
            raise InputFileError(path, f"does not fit the network of this run at {name}.{wrong[0]}")
        module.load_state_dict(weights)
        states: dict[int, dict[str, Any]] = {}
        for key in [key for key in tensors if key.startswith(f"{name}_optimizer.")]:
            _, index, what = key.split(".", 2)
            states.setdefault(int(index), {})[what] = tensors.pop(key)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        _leave_scalars_alone(optimizer, states)
    if tensors:
        raise InputFileError(path, f"holds {next(iter(tensors))}, which the network of this run does not have")


def _leave_scalars_alone(optimizer: torch.optim.Optimizer, states: dict[int, dict[str, Any]]) -> None:
    # PyTorch takes all but the step count to the weights' device and type on loading. A fresh Nadam has its product of
    # momenta on the host: on a GPU a continued run would wait for the device at every weight of every step.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in states.items():
        optimizer.state[parameters[index]]["mu_product"] = state["mu_product"]


def _parts(step: AdversarialStep) -> tuple[tuple[str, torch.nn.Module, torch.optim.Optimizer], ...]:
    return (
        ("classifier", step.classifier, step.classifier_optimizer),
        ("adversary", step.adversary, step.adversary_optimizer),
    )


def checkpoint_threads(path: Path) -> int | None:
    """How many CPU threads a checkpoint was made with; None where there is none that can be read."""
    state = _state_of(path)
    return int(state["threads"]) if "threads" in state else None


def checkpoint_epochs(path: Path) -> int:
    """How many epochs are finished in a checkpoint; 0 where there is none that can be read."""
    return len(_state_of(path).get("history", ()))


def _state_of(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {})[_STATE_KEY])
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}
    return state

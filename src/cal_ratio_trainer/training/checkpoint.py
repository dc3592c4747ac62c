"""Checkpoint: the complete state of a training, from which it goes on exactly, in one safetensors file.

Random numbers need no state: those of an epoch or a step depend only on the seed and its number.

A checkpoint holds the id of its run and a digest of its whole content, so that a damaged one or that of another run is
refused. Checkpoints of format version 1 have neither.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training.step import TrainingStep

FORMAT_VERSION = 2
_STATE_KEY, _DIGEST_KEY = "training_state", "sha256"


@dataclass(frozen=True)
class TrainingState:
    """State of a training between two steps.

    Attributes:
        epoch: number of the epoch to go on with.
        step: number of its step to go on with.
        sums: of that epoch so far; None at its start.
        history: a row for each finished epoch.
        threads: number of its CPU threads; the same number gives the same rounding.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] | None = None
    history: list[HistoryRow] = field(default_factory=list)
    threads: int = 1


_PROGRESS = TypeAdapter(TrainingState)


def save_checkpoint(path: Path, step: TrainingStep, progress: TrainingState, run_id: str | None) -> None:
    """Writes networks, optimisers and progress of a run atomically."""
    state = json.dumps({"format_version": FORMAT_VERSION, "run": run_id, **asdict(progress)})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(step).items()}
    metadata = {_STATE_KEY: state, _DIGEST_KEY: _digest(state, tensors)}
    # safetensors' own writer raises no OSError: a full disk would end in a traceback.
    write_bytes(path, save(tensors, metadata=metadata))


def state_bytes(step: TrainingStep) -> bytes:
    """Networks and optimisers as bytes, for another process."""
    content: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(step).items()})
    return content


def take_state(step: TrainingStep, content: bytes) -> None:
    """Restores networks and optimisers from the bytes of `state_bytes`."""
    _restore(Path("the state of the first process"), step, load(content))


def load_checkpoint(path: Path, step: TrainingStep, run_id: str | None) -> TrainingState:
    """Restores networks and optimisers from a checkpoint.

    Raises:
        InputFileError: no such file, damaged, or of another run or network.
    """
    if not path.is_file():
        raise InputFileError(path, "no such checkpoint; the run was stopped before its first epoch ended")
    progress, tensors = _read(path, run_id)
    try:
        _restore(path, step, tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputFileError(path, f"is not a complete checkpoint ({error})") from error
    return progress


def checkpoint_progress(path: Path, run_id: str | None) -> TrainingState:
    """State in a checkpoint; that of a new run if there is none yet. Raises InputFileError for a damaged one."""
    return _read(path, run_id)[0] if path.is_file() else TrainingState()


def _read(path: Path, run_id: str | None) -> tuple[TrainingState, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata[_STATE_KEY]
        state = json.loads(text)
        version, run = int(state.pop("format_version")), state.pop("run", None)
        if version > FORMAT_VERSION:
            raise InputFileError(path, f"has format version {version}; this program reads up to {FORMAT_VERSION}")
        progress = _PROGRESS.validate_python(state)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputFileError(path, f"is not a complete checkpoint ({error})") from error
    has_digest = version > 1 or _DIGEST_KEY in metadata or run_id is not None
    if has_digest and metadata.get(_DIGEST_KEY) != _digest(text, tensors):
        raise InputFileError(path, "is damaged: its content does not have the digest that stands in it")
    if run != run_id:
        raise InputFileError(path, "is the checkpoint of another run: its run id is not that in run.json")
    return progress, tensors


def _digest(state: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(state.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _tensors(step: TrainingStep) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, module, optimizer in step.trained_modules():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        states = optimizer.state_dict()["state"] if optimizer is not None else {}
        for index, state in states.items():
            tensors |= {f"{name}_optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def _restore(path: Path, step: TrainingStep, tensors: dict[str, Tensor]) -> None:
    for name, module, optimizer in step.trained_modules():
        expected = module.state_dict()
        weights = {key: tensors.pop(f"{name}.{key}", torch.empty(0)) for key in expected}
        wrong = [key for key, value in expected.items() if weights[key].shape != value.shape]
        if wrong:
            raise InputFileError(path, f"does not fit the network of this run at {name}.{wrong[0]}")
        module.load_state_dict(weights)
        if optimizer is None:
            continue
        states: dict[int, dict[str, Any]] = {}
        for key in [key for key in tensors if key.startswith(f"{name}_optimizer.")]:
            _, index, what = key.split(".", 2)
            states.setdefault(int(index), {})[what] = tensors.pop(key)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        _keep_scalars_on_host(optimizer, states)
    if step.domain is None:
        # Earlier versions stored an adversary, never updated, with adversary_weight 0 too.
        tensors = {name: value for name, value in tensors.items() if not name.startswith("adversary.")}
    if tensors:
        raise InputFileError(path, f"holds {next(iter(tensors))}, which the network of this run does not have")


def _keep_scalars_on_host(optimizer: torch.optim.Optimizer, states: dict[int, dict[str, Any]]) -> None:
    # On loading, PyTorch moves all but the step count to the weights' device and dtype. A fresh Nadam has its product
    # of momenta on the host: on a GPU a continued run would wait for the device at every weight of every step.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in states.items():
        if "mu_product" in state:
            optimizer.state[parameters[index]]["mu_product"] = state["mu_product"]

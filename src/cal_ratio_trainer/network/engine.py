"""Device of a network and engine that computes its own loops: which there are, and their choice."""

import itertools
import os
import re
from collections.abc import Sequence
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.errors import ConfigError, UserError

MIN_CAPABILITY = (8, 0)
"""Of the cards that Triton compiles for."""

_MAX_LAYERS, _MAX_UNITS, _MAX_WEIGHTS = 6, 64, 8192
"""Of a chain of dense layers in the registers of a program: layers, width of one, weights of all, filled up."""

_MIN_TRITON = (3, 5)
"""Older ones do not compile kernels of any number of layers."""


def chosen_device(wanted: str) -> torch.device:
    """Returns the device to run on.

    Args:
        wanted: 'auto', 'cpu' or 'cuda'; auto takes a GPU where there is one that can be used.

    Raises:
        ConfigError: a GPU is asked for and there is none, or the installed PyTorch has no code for it.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device is cuda, but PyTorch sees no GPU; take auto or cpu"])
    unserved = unserved_card() if wanted != "cpu" else None
    if wanted == "cuda" and unserved:
        raise ConfigError([f"device is cuda, but {unserved}; or take auto or cpu"])
    use_gpu = wanted != "cpu" and torch.cuda.is_available() and not unserved
    return torch.device("cuda" if use_gpu else "cpu")


def on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device, without waiting for it; on the host they share memory."""
    tensor = torch.from_numpy(values)
    # A copy from memory that can be paged out waits for the device.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def unserved_card() -> str | None:
    """Reason why the GPU cannot be used, and advice, if PyTorch was built without code for it; otherwise None."""
    if not torch.cuda.is_available():
        return None
    capability, built_for = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    if not built_for or any(_serves(arch, capability) for arch in built_for):
        return None
    major, minor = capability
    return (
        f"PyTorch {torch.__version__} has no code for {torch.cuda.get_device_name()} (compute capability "
        f"{major}.{minor}; it was built for {' '.join(built_for)}): {_what_to_install(capability, built_for)}"
    )


def _serves(arch: str, capability: tuple[int, int]) -> bool:
    """Code 'sm_75' runs on cards of the same major number; 'compute_75' is compiled for any newer card when loaded."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
    if match is None:
        return False
    kind, built = match[1], (int(match[2]), int(match[3]))
    if match[4]:
        return built == capability
    return built <= capability and (kind == "compute" or built[0] == capability[0])


def _what_to_install(capability: tuple[int, int], built_for: list[str]) -> str:
    known = [(int(digits[1]), int(digits[2])) for arch in built_for if (digits := re.search(r"_(\d+)(\d)", arch))]
    if known and capability < min(known):
        return (
            "install one built for an older CUDA, which still has it, "
            "e.g. pip install 'torch>=2.6,<2.8' --index-url https://download.pytorch.org/whl/cu126"
        )
    return "install a newer one, pip install --upgrade torch"


class Engine(Enum):
    """See the module."""

    REFERENCE = "reference"
    TORCH = "torch"
    NUMBA = "numba"
    TRITON = "triton"


class EngineUnusable(UserError):
    """The engine that is asked for cannot compute on this device."""


def engine_for(device: torch.device, dtype: torch.dtype, wanted: str = "auto") -> Engine:
    """The fastest engine for tensors of a kind, or the one asked for.

    Args:
        device: their place.
        dtype: their precision.
        wanted: 'auto' or the name of an engine.

    Raises:
        EngineUnusable: the engine asked for does not work there; says why.
    """
    if wanted != "auto":
        engine = Engine(wanted)
        reason = _reason_against(engine, device, dtype)
        if reason:
            raise EngineUnusable(f"engine {wanted} cannot be used: {reason}")
        return engine
    fastest = Engine.NUMBA if device.type == "cpu" else Engine.TRITON
    return Engine.TORCH if _reason_against(fastest, device, dtype) else fastest


def fallback_notice(device: torch.device) -> str | None:
    """Reason why 'auto' takes a slower engine on a GPU, and advice; None if it does not."""
    reason = _reason_against(Engine.TRITON, device, torch.float32) if device.type == "cuda" else ""
    return f"the network's loops run in PyTorch's operations, slower than in Triton: {reason}" if reason else None


def triton_precision() -> str:
    """Rounding of Triton's matrix products, the same as PyTorch's (see `set_matmul_precision`)."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def set_matmul_precision(device: torch.device, precision: str) -> None:
    """Sets the rounding of single-precision matrix products on a GPU; a CPU always follows IEEE 754.

    Args:
        device: device of the network.
        precision: 'ieee', or 'tf32' for factors with 10 bits of mantissa.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def _reason_against(engine: Engine, device: torch.device, dtype: torch.dtype) -> str:
    if engine in (Engine.REFERENCE, Engine.TORCH):
        return ""
    if dtype != torch.float32:
        return f"it computes in single precision, not in {dtype}"
    if engine is Engine.TRITON:
        return _reason_against_triton(device)
    if device.type != "cpu":
        return f"it computes on the CPU, not on {device.type}"
    return "" if _has("numba") else "numba is not installed; pip install numba"


def _reason_against_triton(device: torch.device) -> str:
    if not _has("triton"):
        return "triton is not installed; pip install triton (Linux)"
    if device.type == "cpu":
        return (
            "" if os.environ.get("TRITON_INTERPRET") == "1" else "it computes on a GPU, and the network is on the CPU"
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        name, (major, minor) = torch.cuda.get_device_name(device), capability
        return (
            f"Triton needs a card of compute capability {MIN_CAPABILITY[0]}.{MIN_CAPABILITY[1]} or more, and "
            f"{name} has {major}.{minor}; nothing that could be installed changes that"
        )
    return ""


@cache
def _has(module: str) -> bool:
    return find_spec(module) is not None


def filled_up(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths as the matrix unit takes them: powers of two, at least 16."""
    return tuple(max(16, 1 << (width - 1).bit_length()) for width in widths)


def chain_fits(widths: Sequence[int]) -> bool:
    """True where one kernel takes a chain of dense layers, by the widths of its input and of each layer's output.

    An H100's registers were looked at; a Triton older than 3.5 takes none.
    """
    weights = sum(inputs * units for inputs, units in itertools.pairwise(filled_up(widths)))
    small = len(widths) - 1 <= _MAX_LAYERS and max(widths) <= _MAX_UNITS and weights <= _MAX_WEIGHTS
    return small and _triton() >= _MIN_TRITON


@cache
def _triton() -> tuple[int, int]:
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(major), int(minor)

"""Engines that compute the network's own loops, and their choice.

* REFERENCE: the formulas written out, gradients by autograd. Any device and precision; slow.
* TORCH: PyTorch's operations with hand-written gradients. Any device and precision.
* NUMBA: compiled loops on the CPU, single precision.
* TRITON: compiled loops on a GPU, single precision; on a CPU in Triton's interpreter, to check what they compute.
"""

import itertools
import os
from collections.abc import Sequence
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch

from cal_ratio_trainer.errors import UserError

MIN_CAPABILITY = (8, 0)
"""Of the cards that Triton compiles for."""

_MAX_LAYERS, _MAX_UNITS, _MAX_WEIGHTS = 6, 64, 8192
"""Of a chain of dense layers in the registers of a program: layers, width of one, weights of all, filled up."""

_MIN_TRITON = (3, 5)
"""Older ones do not compile kernels of any number of layers."""


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

"""What computes the network's own loops, and which of them is taken where.

* REFERENCE: the formulas written out, gradients by autograd. Any device and precision; slow.
* TORCH: PyTorch's operations with hand-written gradients. Any device and precision.
* NUMBA: compiled loops on the CPU, single precision.
"""

from enum import Enum
from functools import cache
from importlib.util import find_spec

import torch

from cal_ratio_trainer.errors import UserError


class Engine(Enum):
    """See the module."""

    REFERENCE = "reference"
    TORCH = "torch"
    NUMBA = "numba"


class EngineUnusable(UserError):
    """The engine that is asked for cannot compute on this device."""


def engine_for(device: torch.device, dtype: torch.dtype, wanted: str = "auto") -> Engine:
    """The fastest engine for tensors of a kind, or the one asked for.

    Args:
        device: where they lie.
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
    return Engine.TORCH if _reason_against(Engine.NUMBA, device, dtype) else Engine.NUMBA


def _reason_against(engine: Engine, device: torch.device, dtype: torch.dtype) -> str:
    if engine is not Engine.NUMBA:
        return ""
    if device.type != "cpu":
        return f"it computes on the CPU, not on {device.type}"
    if dtype != torch.float32:
        return f"it computes in single precision, not in {dtype}"
    return "" if _has_numba() else "numba is not installed; pip install numba"


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None

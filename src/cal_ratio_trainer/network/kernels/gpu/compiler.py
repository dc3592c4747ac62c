"""Compilation of the GPU engine's kernels by Triton.

All modules of this package are imported only where they are used: on Linux with a GPU, and in Triton's
interpreter (TRITON_INTERPRET=1 in the environment before this import), which runs kernels on the CPU, slowly, to check
their results. All tensors that kernels are given are contiguous float32 where nothing else is said.
"""

import inspect
from collections.abc import Callable
from typing import Any

import triton

# Numbers that change from batch to batch, or from one kind of constituent to another: Triton would compile anew for 1
# and for multiples of 16.
_CHANGING = (
    *("jets", "columns", "slots", "tiles", "state_stride"),
    *("rows", "inputs", "rows_with_dropout", "below"),
)

OPTIONS = {"enable_fp_fusion": True}
"""Given with every start of a kernel: a product and the sum after it may be one instruction, as newer Triton has it
only where that is asked for."""


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel, or a function that kernels call."""
    names = inspect.signature(function).parameters
    return triton.jit(function, do_not_specialize=[name for name in _CHANGING if name in names])

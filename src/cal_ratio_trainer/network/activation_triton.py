"""Bias, ReLU and dropout on a GPU, with the masks of the CPU engine."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network import triton_kernels
from cal_ratio_trainer.network.dropout import DropoutKey, drop_below

_ELEMENTS = 4096
"""Of one program at most, where a row is not wider."""


def finish(y: Tensor, bias: Tensor, key: DropoutKey | None, rate: float, rows_with_dropout: int) -> None:
    """Bias, ReLU and dropout in place; see `triton_kernels.relu_dropout`.

    Args:
        y: [rows, units], contiguous.
        bias: [units].
        key: of the mask; None drops nothing.
        rate: share of elements that is dropped.
        rows_with_dropout: rows behind these have none and are multiplied with 1 - rate.
    """
    (rows, units), below = y.shape, drop_below(rate) if key is not None else 0
    half, block = _block((units + 1) // 2)
    words = key.on(y.device) if key is not None else torch.zeros(2, dtype=torch.int32, device=y.device)
    factor = 1.0 - rate if key is not None else 1.0
    triton_kernels.relu_dropout[(-(-rows // block),)](
        y, bias.detach(), words, below, rows, units, rows_with_dropout, factor, BLOCK_ROWS=block, HALF=half
    )


def gradient_(gradient: Tensor, result: Tensor, factor: float, rows_with_dropout: int) -> Tensor:
    """Change the gradient [rows, units] in place; an element was passed on exactly where the result is positive.

    Returns:
        [units], its sum over the rows: the gradient of the layer's bias.
    """
    rows, units = gradient.shape
    width, block = _block(units)
    programs = -(-rows // triton_kernels.ROWS)
    sums = gradient.new_empty(programs, units)
    triton_kernels.relu_dropout_gradient[(programs,)](
        gradient, result, sums, rows, units, rows_with_dropout, factor, BLOCK_ROWS=block, WIDTH=width
    )
    return sums.sum(dim=0)


def dropped_by_key(x: Tensor, key: DropoutKey, rate: float) -> Tensor:
    """Dropout of values [rows, units] of either sign, without its factor."""
    result: Tensor = _Dropped.apply(x, key, rate)  # type: ignore[no-untyped-call]
    return result


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, key: DropoutKey, rate: float) -> Tensor:
        ctx.key, ctx.rate = key, rate
        return _drop(x, key, rate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _drop(gradient, ctx.key, ctx.rate), None, None


def _drop(x: Tensor, key: DropoutKey, rate: float) -> Tensor:
    x = x.contiguous()
    result, (rows, units) = torch.empty_like(x), x.shape
    half, block = _block((units + 1) // 2)
    triton_kernels.drop[(-(-rows // block),)](
        x, result, key.on(x.device), drop_below(rate), rows, units, BLOCK_ROWS=block, HALF=half
    )
    return result


def _block(width: int) -> tuple[int, int]:
    """A width filled up to a power of two, and how many rows of it one program takes; these divide ROWS."""
    filled = 1 << max(0, width - 1).bit_length()
    return filled, max(1, min(triton_kernels.ROWS, _ELEMENTS // filled))

"""Bias, ReLU and dropout on a GPU, with the masks of the CPU engine."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows, drop_below
from cal_ratio_trainer.network.kernels.gpu import activation_kernels
from cal_ratio_trainer.network.kernels.gpu.compiler import OPTIONS
from cal_ratio_trainer.network.kernels.gpu.random_bits import ROWS

_ELEMENTS = 4096
"""Of one program at most, where a row is not wider."""


def finish(
    y: Tensor,
    bias: Tensor,
    key: DropoutKey | None,
    rate: float,
    rows_with_dropout: int,
    mask_rows: MaskRows | None = None,
) -> None:
    """Bias, ReLU and dropout in place; see `activation_kernels.relu_dropout`.

    Args:
        y: [rows, units], contiguous.
        bias: [units].
        key: of the mask; None drops nothing.
        rate: share of elements that is dropped.
        rows_with_dropout: rows behind these have none and are multiplied with 1 - rate.
        mask_rows: which rows of the mask they have; None where each has its own.
    """
    (rows, units), below = y.shape, drop_below(rate) if key is not None else 0
    half, block = _block((units + 1) // 2)
    words = key.on(y.device) if key is not None else torch.zeros(2, dtype=torch.int32, device=y.device)
    factor = 1.0 - rate if key is not None else 1.0
    numbers, named = _numbers(mask_rows, y.device)
    activation_kernels.relu_dropout[(-(-rows // block),)](
        *(y, bias.detach(), words, numbers, below, rows, units, rows_with_dropout, factor),
        BLOCK_ROWS=block,
        HALF=half,
        NAMED=named,
        **OPTIONS,
    )


def gradient_(gradient: Tensor, result: Tensor, factor: float, rows_with_dropout: int) -> Tensor:
    """Change the gradient [rows, units] in place; an element was passed on exactly where the result is positive.

    Returns:
        [units], its sum over the rows: the gradient of the layer's bias.
    """
    rows, units = gradient.shape
    width, block = _block(units)
    programs = -(-rows // ROWS)
    sums = gradient.new_empty(programs, units)
    activation_kernels.relu_dropout_gradient[(programs,)](
        *(gradient, result, sums, rows, units, rows_with_dropout, factor),
        BLOCK_ROWS=block,
        WIDTH=width,
        **OPTIONS,
    )
    return sums.sum(dim=0)


def dropped_by_key(x: Tensor, key: DropoutKey, rate: float, mask_rows: MaskRows | None = None) -> Tensor:
    """Dropout of values [rows, units] of either sign, without its factor; see `network.activation.dropped`."""
    result: Tensor = _Dropped.apply(x, key, rate, mask_rows)  # type: ignore[no-untyped-call]
    return result


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, key: DropoutKey, rate: float, mask_rows: MaskRows | None) -> Tensor:
        ctx.mask = key, rate, mask_rows
        return _drop(x, *ctx.mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _drop(gradient, *ctx.mask), None, None, None


def _drop(x: Tensor, key: DropoutKey, rate: float, mask_rows: MaskRows | None) -> Tensor:
    x = x.contiguous()
    result, (rows, units) = torch.empty_like(x), x.shape
    half, block = _block((units + 1) // 2)
    numbers, named = _numbers(mask_rows, x.device)
    activation_kernels.drop[(-(-rows // block),)](
        *(x, result, key.on(x.device), numbers, drop_below(rate), rows, units),
        BLOCK_ROWS=block,
        HALF=half,
        NAMED=named,
        **OPTIONS,
    )
    return result


def _numbers(mask_rows: MaskRows | None, device: torch.device) -> tuple[Tensor, bool]:
    """Numbers of the mask's rows, and whether there are any; without, something that is not read."""
    if mask_rows is None:
        return torch.empty(0, dtype=torch.int64, device=device), False
    return mask_rows.numbers, True


def _block(width: int) -> tuple[int, int]:
    """A width filled up to a power of two, and how many rows of it one program takes; these divide ROWS."""
    filled = 1 << max(0, width - 1).bit_length()
    return filled, max(1, min(ROWS, _ELEMENTS // filled))

"""Compilation of the GPU engine's kernels by Triton; bias, ReLU and dropout with their gradient and autograd function.

The dropout has the random bits of the CPU engine (see `kernels.cpu.dense`), so that both draw the same masks.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.dropout import DropoutKey, MaskRows, drop_below

# Numbers that change from batch to batch, or from one kind of constituent to another: Triton would compile anew for 1
# and for multiples of 16.
_CHANGING = (
    *("jets", "columns", "slots", "tiles", "state_stride"),
    *("rows", "inputs", "rows_with_dropout", "below"),
)

OPTIONS = {"enable_fp_fusion": True}
"""Given with every start of a kernel: a product and the sum after it may be one instruction, as newer Triton has it
only if it is asked for."""


ROWS = 512
"""Rows with one key of the random bits; the CPU engine has the same, so that both draw the same masks."""
_ROWS = tl.constexpr(ROWS)

_ELEMENTS = 4096
"""Maximum number of elements of one program, unless a row is wider."""


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel, or a function that kernels call."""
    names = inspect.signature(function).parameters
    return triton.jit(function, do_not_specialize=[name for name in _CHANGING if name in names])


@compiled
def _scrambled(word):  # type: ignore[no-untyped-def]
    """Every input bit moves every output bit (the finaliser of MurmurHash3, A. Appleby, public domain)."""
    word = word ^ (word >> 16)
    word = word * 0x85EBCA6B
    word = word ^ (word >> 13)
    word = word * 0xC2B2AE35
    return word ^ (word >> 16)


@compiled
def mask_row(row, numbers, rows, NAMED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mask row of each row: the named one, or its own."""
    number = row
    if NAMED:
        number = tl.load(numbers + row, mask=row < rows, other=0)
    return number


@compiled
def random_word(key, row, unit, half):  # type: ignore[no-untyped-def]
    """32 random bits for two elements of a row, `half` columns apart: the same as the CPU engine draws."""
    first, second = tl.load(key).to(tl.uint32, bitcast=True), tl.load(key + 1).to(tl.uint32, bitcast=True)
    tile = row // _ROWS
    seed = _scrambled(first + tile.to(tl.uint32) * 0x9E3779B9) ^ second
    begin = ((row - tile * _ROWS) * half).to(tl.uint32) * 0x9E3779B9 + seed
    return _scrambled(begin + unit.to(tl.uint32) * 0x9E3779B9)


@compiled
def _finish(x, bias, place, column, here, bits, plain, below, factor):  # type: ignore[no-untyped-def]
    value = tl.load(x + place, mask=here, other=0.0) + tl.load(bias + column, mask=here, other=0.0)
    # A negative value or a dropped one becomes 0, NaN stays NaN.
    kept = (value > 0.0) & (plain | (bits >= below))
    tl.store(x + place, tl.where(kept, value * tl.where(plain, factor, 1.0), value * 0.0), mask=here)


@compiled
def relu_dropout(  # type: ignore[no-untyped-def]
    x,
    bias,
    key,
    numbers,
    below,
    rows,
    units,
    rows_with_dropout,
    factor,
    BLOCK_ROWS: tl.constexpr,
    HALF: tl.constexpr,
    NAMED: tl.constexpr,
):
    """Bias, ReLU and dropout in place.

    Args:
        x: [rows, units].
        bias: [units].
        key: key of the layer and step, [2] int32 read as unsigned.
        numbers: [rows with dropout] int64, which row of the mask each row has; not read unless NAMED.
        below: an element is dropped where its 16 random bits are below this; 0 drops none.
        rows, units: their numbers.
        rows_with_dropout: rows behind these (the empty slot's) have none and are multiplied with `factor` instead.
        factor: divisor that is NOT applied to the kept elements later.
        BLOCK_ROWS: rows of one program.
        HALF: a power of two that is not below half of the units.
        NAMED: whether rows of the mask are named; else each row has its own.
    """
    half = (units + 1) // 2
    row = (tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS))[:, None]
    unit = tl.arange(0, HALF)[None, :]
    word = random_word(key, mask_row(row, numbers, rows_with_dropout, NAMED), unit, half)
    here, plain = (row < rows) & (unit < half), row >= rows_with_dropout
    place = row.to(tl.int64) * units + unit
    limit = below.to(tl.uint32)
    _finish(x, bias, place, unit, here, word & 0xFFFF, plain, limit, factor)
    second = here & (unit + half < units)
    _finish(x, bias, place + half, unit + half, second, word >> 16, plain, limit, factor)


@compiled
def relu_dropout_gradient(  # type: ignore[no-untyped-def]
    gradient, result, sums, rows, units, rows_with_dropout, factor, BLOCK_ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """The gradient of `relu_dropout` in place, and its sum over each program's ROWS rows (the bias's gradient).

    Args:
        gradient: [rows, units].
        result: [rows, units], what `relu_dropout` gave: an element was passed on exactly where it is positive.
        sums: [programs, units], written.
        rows, units, rows_with_dropout, factor: see `relu_dropout`.
        BLOCK_ROWS: rows that are read at a time; divides ROWS.
        WIDTH: a power of two that is not below the units.
    """
    unit = tl.arange(0, WIDTH)[None, :]
    total = tl.zeros([BLOCK_ROWS, WIDTH], tl.float32)
    for begin in range(0, _ROWS, BLOCK_ROWS):
        row = (tl.program_id(0) * _ROWS + begin + tl.arange(0, BLOCK_ROWS))[:, None]
        here = (row < rows) & (unit < units)
        place = row.to(tl.int64) * units + unit
        value = tl.load(gradient + place, mask=here, other=0.0)
        passed = tl.load(result + place, mask=here, other=0.0) > 0.0
        value = tl.where(passed, value * tl.where(row < rows_with_dropout, 1.0, factor), 0.0)
        tl.store(gradient + place, value, mask=here)
        total += value
    column = tl.arange(0, WIDTH)
    tl.store(sums + tl.program_id(0) * units + column, tl.sum(total, axis=0), mask=column < units)


@compiled
def drop(  # type: ignore[no-untyped-def]
    x,
    result,
    key,
    numbers,
    below,
    rows,
    units,
    BLOCK_ROWS: tl.constexpr,
    HALF: tl.constexpr,
    NAMED: tl.constexpr,
):
    """Dropout of values of either sign, without its factor; its gradient is the same with the same key.

    Args:
        x: [rows, units].
        result: [rows, units], written.
        key, numbers, below, rows, units, BLOCK_ROWS, HALF, NAMED: as in `relu_dropout`.
    """
    half = (units + 1) // 2
    row = (tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS))[:, None]
    unit = tl.arange(0, HALF)[None, :]
    word = random_word(key, mask_row(row, numbers, rows, NAMED), unit, half)
    here = (row < rows) & (unit < half)
    place = row.to(tl.int64) * units + unit
    limit = below.to(tl.uint32)
    first = tl.load(x + place, mask=here, other=0.0)
    tl.store(result + place, tl.where((word & 0xFFFF) >= limit, first, first * 0.0), mask=here)
    second = here & (unit + half < units)
    other = tl.load(x + place + half, mask=second, other=0.0)
    tl.store(result + place + half, tl.where((word >> 16) >= limit, other, other * 0.0), mask=second)


def finish(
    y: Tensor,
    bias: Tensor,
    key: DropoutKey | None,
    rate: float,
    rows_with_dropout: int,
    mask_rows: MaskRows | None = None,
) -> None:
    """Bias, ReLU and dropout in place; see `relu_dropout`.

    Args:
        y: [rows, units], contiguous.
        bias: [units].
        key: key of the mask; None drops nothing.
        rate: share of elements that is dropped.
        rows_with_dropout: rows behind these have none and are multiplied with 1 - rate.
        mask_rows: their rows of the mask; None if each has its own.
    """
    (rows, units), below = y.shape, drop_below(rate) if key is not None else 0
    half, block = _block((units + 1) // 2)
    words = key.on(y.device) if key is not None else torch.zeros(2, dtype=torch.int32, device=y.device)
    factor = 1.0 - rate if key is not None else 1.0
    numbers, named = _numbers(mask_rows, y.device)
    relu_dropout[(-(-rows // block),)](
        *(y, bias.detach(), words, numbers, below, rows, units, rows_with_dropout, factor),
        BLOCK_ROWS=block,
        HALF=half,
        NAMED=named,
        **OPTIONS,
    )


def gradient_(gradient: Tensor, result: Tensor, factor: float, rows_with_dropout: int) -> Tensor:
    """Changes the gradient [rows, units] in place; an element was passed on exactly where the result is positive.

    Returns:
        [units], its sum over the rows: the gradient of the layer's bias.
    """
    rows, units = gradient.shape
    width, block = _block(units)
    programs = -(-rows // ROWS)
    sums = gradient.new_empty(programs, units)
    relu_dropout_gradient[(programs,)](
        *(gradient, result, sums, rows, units, rows_with_dropout, factor),
        BLOCK_ROWS=block,
        WIDTH=width,
        **OPTIONS,
    )
    return sums.sum(dim=0)


def dropped_by_key(x: Tensor, key: DropoutKey, rate: float, mask_rows: MaskRows | None = None) -> Tensor:
    """Dropout of values [rows, units] of either sign, without its factor; see `network.layers.dropped`."""
    result: Tensor = _Dropped.apply(x, key, rate, mask_rows)  # type: ignore[no-untyped-call]
    return result


class _Dropped(torch.autograd.Function):
    """Dropout whose gradient has the same mask, drawn again from its key."""

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
    drop[(-(-rows // block),)](
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

"""ReLU and dropout on a GPU with their gradient, compiled by Triton."""

import triton.language as tl

from cal_ratio_trainer.network.kernels.gpu.compiler import compiled
from cal_ratio_trainer.network.kernels.gpu.random_bits import ROWS, mask_row, random_word

_ROWS = tl.constexpr(ROWS)


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
        key: of the layer and step, [2] int32 read as unsigned.
        numbers: [rows with dropout] int64, which row of the mask each row has; not read unless NAMED.
        below: an element is dropped where its 16 random bits are below this; 0 drops none.
        rows, units: how many there are.
        rows_with_dropout: rows behind these (the empty slot's) have none and are multiplied with `factor` instead.
        factor: what the kept elements will NOT be divided by later.
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
        rows, units, rows_with_dropout, factor: as there.
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

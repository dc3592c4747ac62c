"""A chain of dense layers with ReLU and dropout between them on a GPU, and its gradient, compiled by Triton.

A tile of rows goes through all layers in registers. What is between the layers is not kept for the gradient but
computed again there. Widths are filled up with zeros to powers of two, at least 16: the matrix unit takes multiples of
that.

What all kernels here are given:
    x: [rows, inputs].
    weights: kernel [inputs, units] and bias [units] of each layer, one behind the other.
    keys: [layers - 1, 2] int32 read as unsigned, of the dropout behind all layers but the last.
    numbers: [rows with dropout] int64, which row of the masks each row has; not read unless NAMED.
    rows, inputs: their numbers.
    rows_with_dropout: rows behind these (the empty slot's) have none.
    below: an element is dropped where its 16 random bits are below this.
    scale: factor of a kept element.
    PADDED: widths of the input and of each layer's output, filled up.
    WIDTHS: widths of the outputs as they are, after a 0 for the width of the input, which is not compiled in.
    OFFSETS: where each layer's kernel begins in the weights, and their end, if there were no inputs.
    DROPS: whether there is dropout behind each layer but the last.
    NAMED: whether rows of the masks are named; else each row has its own.
    PRECISION: precision of the matrix products: 'ieee', 'tf32' or 'tf32x3'.
    BLOCK: rows of a tile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.dropout import MaskRows, StoredKey, drop_below
from cal_ratio_trainer.network.engine import filled_up, on_device, triton_precision
from cal_ratio_trainer.network.kernels.gpu.activation import OPTIONS, compiled, mask_row, random_word
from cal_ratio_trainer.network.layers import Activation, apart, flattened, offsets_of


@compiled
def _kernel(weights, inputs, UNITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """One layer's kernel, filled up to [ROWS, COLUMNS]."""
    i, unit = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    return tl.load(weights + i * UNITS + unit, mask=(i < inputs) & (unit < UNITS), other=0.0)


@compiled
def _dense(  # type: ignore[no-untyped-def]
    a,
    weights,
    inputs,
    UNITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One layer's outputs [BLOCK, COLUMNS] from its inputs [BLOCK, ROWS]."""
    unit = tl.arange(0, COLUMNS)[None, :]
    bias = tl.load(weights + inputs * UNITS + unit, mask=unit < UNITS, other=0.0)
    return tl.dot(a, _kernel(weights, inputs, UNITS, ROWS, COLUMNS), input_precision=PRECISION) + bias


@compiled
def _activated(  # type: ignore[no-untyped-def]
    z, key, mask_rows, plain, below, scale, UNITS: tl.constexpr, COLUMNS: tl.constexpr, DROPS: tl.constexpr
):
    """ReLU and dropout of a layer's outputs [BLOCK, COLUMNS]; plain rows [BLOCK, 1] have no dropout."""
    passed = z > 0.0
    if DROPS:
        # A word of random bits serves two elements of a row, half of the units apart.
        unit = tl.arange(0, COLUMNS)[None, :]
        first = unit < (UNITS + 1) // 2
        word = random_word(key, mask_rows, tl.where(first, unit, unit - (UNITS + 1) // 2), (UNITS + 1) // 2)
        bits = tl.where(first, word & 0xFFFF, word >> 16)
        passed = passed & (plain | (bits >= below.to(tl.uint32)))
        z = z * tl.where(plain, 1.0, scale)
    # A negative value or a dropped one becomes 0, NaN stays NaN.
    return tl.where(passed, z, z * 0.0)


@compiled
def _of_layer(weights, inputs, i: tl.constexpr, WIDTHS: tl.constexpr, OFFSETS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Offset of one layer's kernel in all weights or their gradient, and its number of inputs."""
    if i > 0:
        place, its_inputs = weights + inputs * WIDTHS[1] + OFFSETS[i], WIDTHS[i]
    else:
        place, its_inputs = weights, inputs
    return place, its_inputs


@compiled
def _inputs_of_layers(  # type: ignore[no-untyped-def]
    x,
    weights,
    keys,
    numbers,
    row,
    rows,
    inputs,
    rows_with_dropout,
    below,
    scale,
    WIDTHS: tl.constexpr,
    PADDED: tl.constexpr,
    OFFSETS: tl.constexpr,
    DROPS: tl.constexpr,
    NAMED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Inputs of each layer for the rows [BLOCK, 1] of a tile: [BLOCK, PADDED of its inputs]."""
    column = tl.arange(0, PADDED[0])[None, :]
    here = (row < rows) & (column < inputs)
    read = (tl.load(x + row.to(tl.int64) * inputs + column, mask=here, other=0.0),)
    mask_rows, plain = mask_row(row, numbers, rows_with_dropout, NAMED), row >= rows_with_dropout
    for i in tl.static_range(len(WIDTHS) - 2):
        its_weights, its_inputs = _of_layer(weights, inputs, i, WIDTHS, OFFSETS)
        z = _dense(read[i], its_weights, its_inputs, WIDTHS[i + 1], PADDED[i], PADDED[i + 1], PRECISION)
        a = _activated(z, keys + 2 * i, mask_rows, plain, below, scale, WIDTHS[i + 1], PADDED[i + 1], DROPS[i])
        read = read + (a,)  # type: ignore[assignment]  # noqa: RUF005  (Triton knows no other way)
    return read


@compiled
def chain_forward(  # type: ignore[no-untyped-def]
    x,
    weights,
    keys,
    numbers,
    out,
    rows,
    inputs,
    rows_with_dropout,
    below,
    scale,
    WIDTHS: tl.constexpr,
    PADDED: tl.constexpr,
    OFFSETS: tl.constexpr,
    DROPS: tl.constexpr,
    NAMED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes out [units of the last layer, rows]; the last layer has neither ReLU nor dropout."""
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    read = _inputs_of_layers(
        *(x, weights, keys, numbers, row, rows, inputs, rows_with_dropout, below, scale),
        *(WIDTHS, PADDED, OFFSETS, DROPS, NAMED, PRECISION),
    )
    last: tl.constexpr = len(WIDTHS) - 2
    its_weights, its_inputs = _of_layer(weights, inputs, last, WIDTHS, OFFSETS)
    y = _dense(read[last], its_weights, its_inputs, WIDTHS[last + 1], PADDED[last], PADDED[last + 1], PRECISION)
    unit = tl.arange(0, PADDED[last + 1])[None, :]
    tl.store(out + unit.to(tl.int64) * rows + row, y, mask=(row < rows) & (unit < WIDTHS[last + 1]))


@compiled
def _no_sums(ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Zeros to begin with, of a kernel's shape and a bias's."""
    return tl.zeros([ROWS, COLUMNS], tl.float32), tl.zeros([COLUMNS], tl.float32)


@compiled
def _store_sums(  # type: ignore[no-untyped-def]
    part,
    of_kernel,
    of_bias,
    inputs,
    UNITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    i, unit = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)
    here = (i < inputs) & (unit[None, :] < UNITS)
    tl.store(part + i * UNITS + unit[None, :], of_kernel, mask=here)
    tl.store(part + inputs * UNITS + unit, of_bias, mask=unit < UNITS)


@compiled
def chain_backward(  # type: ignore[no-untyped-def]
    gradient,
    x,
    weights,
    keys,
    numbers,
    sums,
    rows,
    inputs,
    rows_with_dropout,
    below,
    scale,
    tiles,
    WIDTHS: tl.constexpr,
    PADDED: tl.constexpr,
    OFFSETS: tl.constexpr,
    DROPS: tl.constexpr,
    NAMED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient of `chain_forward` by its weights.

    Args:
        gradient: [units of the last layer, rows], by its output.
        sums: [programs, all weights], written: each program's part of the gradient.
        tiles: number of tiles of BLOCK rows; of n programs each takes every n-th.
    """
    last: tl.constexpr = len(WIDTHS) - 2
    sums_of = ()
    for i in tl.static_range(last + 1):
        sums_of = sums_of + (_no_sums(PADDED[i], PADDED[i + 1]),)  # type: ignore[assignment]  # noqa: RUF005
    unit = tl.arange(0, PADDED[last + 1])[None, :]
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = (tile * BLOCK + tl.arange(0, BLOCK))[:, None]
        read = _inputs_of_layers(
            *(x, weights, keys, numbers, row, rows, inputs, rows_with_dropout, below, scale),
            *(WIDTHS, PADDED, OFFSETS, DROPS, NAMED, PRECISION),
        )
        here = (row < rows) & (unit < WIDTHS[last + 1])
        dz = tl.load(gradient + unit.to(tl.int64) * rows + row, mask=here, other=0.0)
        after = ()
        for i in tl.static_range(last, -1, -1):
            of_kernel = sums_of[i][0] + tl.dot(tl.trans(read[i]), dz, input_precision=PRECISION)
            of_bias = sums_of[i][1] + tl.sum(dz, axis=0)
            after = ((of_kernel, of_bias),) + after  # type: ignore[assignment]  # noqa: RUF005
            if i > 0:
                its_weights, its_inputs = _of_layer(weights, inputs, i, WIDTHS, OFFSETS)
                kernel = _kernel(its_weights, its_inputs, WIDTHS[i + 1], PADDED[i], PADDED[i + 1])
                da = tl.dot(dz, tl.trans(kernel), input_precision=PRECISION)
                if DROPS[i - 1]:
                    da = da * tl.where(row >= rows_with_dropout, 1.0, scale)
                # An element was passed on exactly where it is positive.
                dz = tl.where(read[i] > 0.0, da, 0.0)
        sums_of = after
    part = sums + tl.program_id(0) * (inputs * WIDTHS[1] + OFFSETS[last + 1])
    for i in tl.static_range(last + 1):
        place, its_inputs = _of_layer(part, inputs, i, WIDTHS, OFFSETS)
        _store_sums(place, sums_of[i][0], sums_of[i][1], its_inputs, WIDTHS[i + 1], PADDED[i], PADDED[i + 1])


_PROGRAMS = 512
"""Of the backward pass, however many rows there are: each leaves sums, and a fixed number makes their order fixed."""

ROWS_FORWARD, ROWS_BACKWARD = 64, 32
"""Of a tile. More spill registers to memory, as the compiled kernels show (see docs/performance.md)."""

STAGES = 1
"""Loads ahead would take registers that the layers need."""


def triton_chain(x: Tensor, weights: Sequence[Tensor], behind: Sequence[Activation]) -> Tensor:
    """The outputs of the last layer, [units, rows].

    Args:
        x: [rows, inputs].
        weights: kernel and bias of each layer.
        behind: operations after all layers except the last.
    """
    result: Tensor = _Chain.apply(x, _Dropout.of(behind, x), *weights)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class _Dropout:
    """The dropout as the kernels take it (see the module)."""

    keys: Tensor
    numbers: Tensor
    rows: int
    below: int
    scale: float
    drops: tuple[bool, ...]
    named: bool

    @classmethod
    def of(cls, behind: Sequence[Activation], x: Tensor) -> "_Dropout":
        dropping = next((each for each in behind if each.key is not None), None)
        rows: MaskRows | None = behind[0].mask_rows
        return cls(
            _keys(behind, x.device),
            torch.empty(0, dtype=torch.int64, device=x.device) if rows is None else rows.numbers,
            len(x) - behind[0].last_is_empty_slot,
            0 if dropping is None else drop_below(dropping.rate),
            1.0 if dropping is None else dropping.scale,
            tuple(each.key is not None for each in behind),
            rows is not None,
        )


def _keys(behind: Sequence[Activation], device: torch.device) -> Tensor:
    """[layers - 1, 2] int32; without dropout something that is not read."""
    keys = [each.key for each in behind]
    if all(key is None for key in keys):
        # Nothing is copied from the host: a CUDA graph would read the host's memory at every replay.
        return torch.zeros(len(keys), 2, dtype=torch.int32, device=device)
    if any(isinstance(key, StoredKey) for key in keys):
        nothing = torch.zeros(2, dtype=torch.int32, device=device)
        return torch.stack([nothing if key is None else key.on(device) for key in keys])
    words = np.array([(0, 0) if key is None else key.words for key in keys], np.uint32)
    return on_device(words.view(np.int32), device)


class _Chain(torch.autograd.Function):
    """Autograd function of the kernels; keeps nothing between the layers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: _Dropout, *weights: Tensor) -> Tensor:
        widths = (x.shape[1], *(kernel.shape[1] for kernel in weights[::2]))
        x, flat = x.contiguous(), flattened(weights)
        out = x.new_empty(widths[-1], len(x))
        chain_forward[(max(1, -(-len(x) // ROWS_FORWARD)),)](
            *(x, flat, dropout.keys, dropout.numbers, out),
            *(len(x), x.shape[1], dropout.rows, dropout.below, dropout.scale),
            **_constants(widths, dropout, ROWS_FORWARD),
        )
        ctx.widths, ctx.dropout = widths, dropout
        ctx.save_for_backward(x, flat)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, flat), dropout = ctx.saved_tensors, ctx.dropout
        tiles = max(1, -(-len(x) // ROWS_BACKWARD))
        programs = min(tiles, _PROGRAMS)
        sums = x.new_empty(programs, len(flat))
        chain_backward[(programs,)](
            *(gradient.contiguous(), x, flat, dropout.keys, dropout.numbers, sums),
            *(len(x), x.shape[1], dropout.rows, dropout.below, dropout.scale, tiles),
            **_constants(ctx.widths, dropout, ROWS_BACKWARD),
        )
        return None, None, *apart(sums.sum(dim=0), ctx.widths)


def _constants(widths: Sequence[int], dropout: _Dropout, block: int) -> dict[str, Any]:
    """Constants of one launch of a kernel, with Triton's own."""
    precision = triton_precision()
    return {
        **sizes_of(widths),
        "DROPS": dropout.drops,
        "NAMED": dropout.named,
        "PRECISION": precision,
        "BLOCK": block,
        "num_warps": warps_of(precision),
        "num_stages": STAGES,
        **OPTIONS,
    }


def sizes_of(widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Compile-time constants of the kernels (see the module), from the widths of the input and of all outputs.

    Clusters and tracks differ in their inputs alone, and share kernels.
    """
    without_inputs = (0, *widths[1:])
    return {"WIDTHS": without_inputs, "PADDED": filled_up(widths), "OFFSETS": tuple(offsets_of(without_inputs))}


def warps_of(precision: str) -> int:
    """Number of warps of a program: products without the matrix unit need the registers of more warps."""
    return 8 if precision == "ieee" else 4

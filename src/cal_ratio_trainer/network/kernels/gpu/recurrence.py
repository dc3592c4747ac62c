"""The recurrence on a GPU and its gradient, compiled by Triton, and their autograd function.

One program takes a tile of jets and keeps its states in registers over all slots. [PADDED] is [UNITS] filled up with
zeros: the matrix unit takes multiples of 16.
"""

from typing import Any

import torch
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.engine import triton_precision
from cal_ratio_trainer.network.kernels.gpu.activation import OPTIONS, compiled
from cal_ratio_trainer.network.sequences import Sequences


@compiled
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + tl.exp(-x))


@compiled
def _tanh(x):  # type: ignore[no-untyped-def]
    # Right to 1e-7 absolutely, the rounding of a state near 1; NaN stays NaN.
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@compiled
def _gate_weights(recurrent, gate, UNITS: tl.constexpr, PADDED: tl.constexpr):  # type: ignore[no-untyped-def]
    """The recurrent kernel of one gate, transposed: [units of the gate, units of h], both filled up with zeros."""
    unit, before = tl.arange(0, PADDED)[:, None], tl.arange(0, PADDED)[None, :]
    inside = (unit < UNITS) & (before < UNITS)
    return tl.load(recurrent + before * (4 * UNITS) + gate * UNITS + unit, mask=inside, other=0.0)


@compiled
def _all_gate_weights(recurrent, UNITS: tl.constexpr, PADDED: tl.constexpr):  # type: ignore[no-untyped-def]
    w_i, w_f = _gate_weights(recurrent, 0, UNITS, PADDED), _gate_weights(recurrent, 1, UNITS, PADDED)
    w_g, w_o = _gate_weights(recurrent, 2, UNITS, PADDED), _gate_weights(recurrent, 3, UNITS, PADDED)
    return w_i, w_f, w_g, w_o


@compiled
def _tile(number, jets, UNITS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """The jets [1, BLOCK] of a tile, and [PADDED, BLOCK] which states there are and where they lie in a slot."""
    unit = tl.arange(0, PADDED)[:, None]
    jet = (number * BLOCK + tl.arange(0, BLOCK))[None, :]
    return jet, (unit < UNITS) & (jet < jets), unit.to(tl.int64) * jets + jet


@compiled
def _places_of_slot(places, slots, slot, jet, columns, PADDED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Positions of a slot's gate inputs [PADDED, BLOCK], and mask of jets with a constituent there [1, BLOCK]."""
    start, filled = tl.load(places + slot), tl.load(places + slots + slot)
    unit = tl.arange(0, PADDED)[:, None]
    return unit.to(tl.int64) * columns + tl.where(jet < filled, start + jet, columns - 1), jet < filled


@compiled
def _activated(  # type: ignore[no-untyped-def]
    gates, h, w_i, w_f, w_g, w_o, columns, inside, gate_stride, PRECISION: tl.constexpr
):
    """The four gates [PADDED, BLOCK] of a slot: sigmoids of the first, second and fourth, tanh of the third."""
    i = tl.load(gates + columns, mask=inside, other=0.0) + tl.dot(w_i, h, input_precision=PRECISION)
    f = tl.load(gates + columns + gate_stride, mask=inside, other=0.0) + tl.dot(w_f, h, input_precision=PRECISION)
    g = tl.load(gates + columns + 2 * gate_stride, mask=inside, other=0.0) + tl.dot(w_g, h, input_precision=PRECISION)
    o = tl.load(gates + columns + 3 * gate_stride, mask=inside, other=0.0) + tl.dot(w_o, h, input_precision=PRECISION)
    return _sigmoid(i), _sigmoid(f), _tanh(g), _sigmoid(o)


@compiled
def recurrence_forward(  # type: ignore[no-untyped-def]
    gates,
    recurrent,
    places,
    states,
    cells,
    jets,
    columns,
    slots,
    state_stride,
    UNITS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    KEPT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Runs over all slots of a tile of BLOCK jets, h and c in registers.

    Args:
        gates: [4 units, columns], the last column an empty slot's.
        recurrent: [units, 4 units].
        places: [2, slots] int64: where the constituents of a slot begin, and how many jets have one.
        states: [slots or 1, units, jets], written: h of every slot, or of the last.
        cells: [slots, units, jets], written: c of every slot; not touched unless KEPT.
        jets, columns, slots: their numbers.
        state_stride: units * jets, or 0 if only the last slot's h is wanted.
        PRECISION: precision of the matrix products: 'ieee', 'tf32' or 'tf32x3'.
    """
    jet, inside, own = _tile(tl.program_id(0), jets, UNITS, PADDED, BLOCK)
    w_i, w_f, w_g, w_o = _all_gate_weights(recurrent, UNITS, PADDED)
    gate_stride, slot_stride = columns.to(tl.int64) * UNITS, state_stride.to(tl.int64)
    h, c = tl.zeros([PADDED, BLOCK], tl.float32), tl.zeros([PADDED, BLOCK], tl.float32)
    for slot in range(0, slots):
        read, _ = _places_of_slot(places, slots, slot, jet, columns, PADDED)
        i, f, g, o = _activated(gates, h, w_i, w_f, w_g, w_o, read, inside, gate_stride, PRECISION)
        c = f * c + i * g
        h = o * _tanh(c)
        tl.store(states + slot_stride * slot + own, h, mask=inside)
        if KEPT:
            tl.store(cells + slot_stride * slot + own, c, mask=inside)


@compiled
def _state_before(kept, slot, slot_stride, own, inside):  # type: ignore[no-untyped-def]
    """Kept h or c of the slot before, [PADDED, BLOCK]: 0 before the first."""
    # The interpreter knows no masks of one number.
    there = inside & (tl.zeros_like(own) < slot)
    return tl.load(kept + slot_stride * (slot - 1) + own, mask=there, other=0.0)


@compiled
def _gate_gradients(i, f, g, o, c, c_before, dh, dc):  # type: ignore[no-untyped-def]
    """Gradients of the four gates' sums and of c of the slot before, from the gradients of a slot's h and c."""
    tanh_c = _tanh(c)
    d_o = dh * tanh_c * o * (1.0 - o)
    dc += dh * o * (1.0 - tanh_c * tanh_c)
    d_i, d_g = dc * g * i * (1.0 - i), dc * i * (1.0 - g * g)
    d_f = dc * c_before * f * (1.0 - f)
    return d_i, d_f, d_g, d_o, dc * f


@compiled
def _store_gates(gates, places, gate_stride, mask, d_i, d_f, d_g, d_o):  # type: ignore[no-untyped-def]
    tl.store(gates + places, d_i, mask=mask)
    tl.store(gates + places + gate_stride, d_f, mask=mask)
    tl.store(gates + places + 2 * gate_stride, d_g, mask=mask)
    tl.store(gates + places + 3 * gate_stride, d_o, mask=mask)


@compiled
def _state_gradient(w_i, w_f, w_g, w_o, d_i, d_f, d_g, d_o, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """The gradient of h of the slot before, [PADDED, BLOCK], from the gradients of the four gates' sums."""
    dh = tl.dot(tl.trans(w_i), d_i, input_precision=PRECISION)
    dh += tl.dot(tl.trans(w_f), d_f, input_precision=PRECISION)
    dh += tl.dot(tl.trans(w_g), d_g, input_precision=PRECISION)
    dh += tl.dot(tl.trans(w_o), d_o, input_precision=PRECISION)
    return dh


@compiled
def _no_sums(PADDED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Zeros to begin with, for the four gates: [units of the gate, units of h] and [units of the gate]."""
    of_weights, of_empty = tl.zeros([PADDED, PADDED], tl.float32), tl.zeros([PADDED], tl.float32)
    return of_weights, of_weights, of_weights, of_weights, of_empty, of_empty, of_empty, of_empty


@compiled
def _with_slot(of_weights, of_empty, d, h_turned, has_one, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """One gate's sums with what a slot adds: d is [PADDED, BLOCK], h_turned [BLOCK, PADDED]."""
    of_empty += tl.sum(tl.where(has_one, 0.0, d), axis=1)
    of_weights += tl.dot(d, h_turned, input_precision=PRECISION)
    return of_weights, of_empty


@compiled
def _store_sums(part, of_weights, of_empty, UNITS: tl.constexpr, PADDED: tl.constexpr):  # type: ignore[no-untyped-def]
    """One gate's sums, [units of the gate, units of h] and [units of the gate], into [units + 1, 4 units]."""
    row = tl.arange(0, PADDED)
    unit, before = row[:, None], row[None, :]
    inside = (unit < UNITS) & (before < UNITS)
    tl.store(part + before * (4 * UNITS) + unit, of_weights, mask=inside)
    tl.store(part + UNITS * (4 * UNITS) + row, of_empty, mask=row < UNITS)


@compiled
def recurrence_backward(  # type: ignore[no-untyped-def]
    gradient,
    gates,
    recurrent,
    places,
    states,
    cells,
    gates_gradient,
    sums,
    jets,
    columns,
    slots,
    tiles,
    UNITS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    EVERY: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of `recurrence_forward`; gates are computed again from the kept states.

    Args:
        gradient: [slots, units, jets] for every slot's state if EVERY, else [1, units, jets] for the last one's.
        gates, recurrent, places, jets, columns, slots: see `recurrence_forward`.
        states, cells: [slots, units, jets], h and c of every slot.
        gates_gradient: [4 units, columns]; the columns of constituents are written.
        sums: [programs, units + 1, 4 units], written: each program's part of the gradient of the recurrent kernel, and
            in the last row the gradient of an empty slot's gate inputs.
        tiles: number of tiles of BLOCK jets; of n programs each takes every n-th.
    """
    w_i, w_f, w_g, w_o = _all_gate_weights(recurrent, UNITS, PADDED)
    gate_stride, slot_stride = columns.to(tl.int64) * UNITS, jets.to(tl.int64) * UNITS
    r_i, r_f, r_g, r_o, e_i, e_f, e_g, e_o = _no_sums(PADDED)
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        jet, inside, own = _tile(tile, jets, UNITS, PADDED, BLOCK)
        dh, dc = tl.zeros([PADDED, BLOCK], tl.float32), tl.zeros([PADDED, BLOCK], tl.float32)
        c = _state_before(cells, slots, slot_stride, own, inside)
        if not EVERY:
            dh += tl.load(gradient + own, mask=inside, other=0.0)
        for back in range(0, slots):
            slot = slots - 1 - back
            if EVERY:
                dh += tl.load(gradient + slot_stride * slot + own, mask=inside, other=0.0)
            h_before = _state_before(states, slot, slot_stride, own, inside)
            c_before = _state_before(cells, slot, slot_stride, own, inside)
            read, has_one = _places_of_slot(places, slots, slot, jet, columns, PADDED)
            i, f, g, o = _activated(gates, h_before, w_i, w_f, w_g, w_o, read, inside, gate_stride, PRECISION)
            d_i, d_f, d_g, d_o, dc = _gate_gradients(i, f, g, o, c, c_before, dh, dc)
            c, h_turned = c_before, tl.trans(h_before)
            _store_gates(gates_gradient, read, gate_stride, inside & has_one, d_i, d_f, d_g, d_o)
            r_i, e_i = _with_slot(r_i, e_i, d_i, h_turned, has_one, PRECISION)
            r_f, e_f = _with_slot(r_f, e_f, d_f, h_turned, has_one, PRECISION)
            r_g, e_g = _with_slot(r_g, e_g, d_g, h_turned, has_one, PRECISION)
            r_o, e_o = _with_slot(r_o, e_o, d_o, h_turned, has_one, PRECISION)
            dh = _state_gradient(w_i, w_f, w_g, w_o, d_i, d_f, d_g, d_o, PRECISION)
    part = sums + tl.program_id(0) * ((UNITS + 1) * 4 * UNITS)
    _store_sums(part, r_i, e_i, UNITS, PADDED)
    _store_sums(part + UNITS, r_f, e_f, UNITS, PADDED)
    _store_sums(part + 2 * UNITS, r_g, e_g, UNITS, PADDED)
    _store_sums(part + 3 * UNITS, r_o, e_o, UNITS, PADDED)


_PROGRAMS = 1024
"""Of the backward pass, however many jets there are: each leaves sums, and a fixed number makes their order fixed."""


MAX_UNITS = 64
"""Wider states do not fit the registers of a program."""

_SHARED_BY_WIDE = 176 * 1024


def fits(units: int, device: torch.device) -> bool:
    """True if the kernels take so many units: 64 with the shared memory of an H100, 32 on smaller cards."""
    if units <= 32 or device.type != "cuda":
        return units <= MAX_UNITS
    # Older versions of PyTorch do not say it.
    shared = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    return units <= MAX_UNITS and shared >= _SHARED_BY_WIDE


class TritonRecurrence(torch.autograd.Function):
    """Keeps h and c of every slot; the backward pass computes the gates again."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, recurrent: Tensor, sequences: Sequences, every_slot: bool, kept: bool
    ) -> Tensor:
        """Hidden states as `hidden_states` gives them; `kept` stores what `backward` needs."""
        units, jets, slots = recurrent.shape[0], sequences.jets, sequences.slots
        gates, recurrent, places = gates.contiguous(), recurrent.contiguous(), sequences.places_tensor()
        states = gates.new_empty(slots if every_slot or kept else 1, units, jets)
        cells = gates.new_empty(slots if kept else 0, units, jets)
        padded, block, warps = tile_of(units)
        recurrence_forward[(_number(jets, block),)](
            *(gates, recurrent, places, states, cells, jets, gates.shape[1], slots),
            units * jets if len(states) > 1 else 0,
            UNITS=units,
            PADDED=padded,
            BLOCK=block,
            KEPT=kept,
            PRECISION=triton_precision(),
            num_warps=warps,
            **OPTIONS,
        )
        if kept:
            ctx.sequences, ctx.every_slot = sequences, every_slot
            ctx.save_for_backward(gates, recurrent, places, states, cells)
        return states if every_slot else states[-1:].clone() if kept else states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the gates [4 units, constituents + 1] and of the recurrent kernel [units, 4 units]."""
        gates, recurrent, places, states, cells = ctx.saved_tensors
        units, (slots, _, jets) = recurrent.shape[0], states.shape
        # Columns that no jet reads, of a batch with room to spare, stay 0.
        gates_gradient = torch.zeros_like(gates)
        padded, block, warps = tile_of(units)
        tiles = _number(jets, block)
        programs = min(tiles, _PROGRAMS)
        sums = gates.new_empty(programs, units + 1, 4 * units)
        recurrence_backward[(programs,)](
            *(gradient.contiguous(), gates, recurrent, places, states, cells, gates_gradient, sums),
            *(jets, gates.shape[1], slots, tiles),
            UNITS=units,
            PADDED=padded,
            BLOCK=block,
            EVERY=ctx.every_slot,
            PRECISION=triton_precision(),
            num_warps=warps,
            **OPTIONS,
        )
        total = sums.sum(dim=0)
        gates_gradient[:, -1] = total[units]
        return gates_gradient, total[:units], None, None, None


def tile_of(units: int) -> tuple[int, int, int]:
    """Units filled up to what the matrix unit takes, jets of a tile, warps of a program.

    Wider tiles spill registers to memory, as the compiled kernels show (see docs/performance.md).
    """
    padded = max(16, 1 << (units - 1).bit_length())
    return padded, 32 if padded == 16 else 16, 8 if padded > 32 else 4


def _number(jets: int, block: int) -> int:
    return max(1, -(-jets // block))

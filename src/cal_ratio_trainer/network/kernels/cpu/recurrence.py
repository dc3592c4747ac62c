"""The recurrence on the CPU: the loops, their gradient, and the autograd function.

Tiles of jets run over all slots with their states in the fastest cache.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.kernels.cpu.compiler import compiled, inlined, over_tiles
from cal_ratio_trainer.network.sequences import Sequences
from cal_ratio_trainer.workers.child import Child, ChildDied
from cal_ratio_trainer.workers.executor import Report, Task, available_cores

TILE = 128
"""Jets of one tile of the recurrence: their states stay in the fastest cache over all slots."""

# x P(s) / Q(s) with s = x^2 / 81, fitted to tanh on (0, 9] for the least relative error (7e-9; 3e-7 in single
# precision); beyond 9 tanh is 1 to single precision. Unlike the C library's it can be computed for many jets at a time.
_P = tuple(
    np.float32(value)
    for value in (
        *(0.9999999933899631, 10.598048409038398, 20.365058686950444, 5.927858180403924),
        *(-0.8706300229924984, 0.18403078848227128, -0.023974640869722633),
    )
)
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _P
_Q1, _Q2, _Q3 = (np.float32(value) for value in (37.59804336201185, 160.71287354962905, 135.31261804411875))
_EDGE, _SCALE, _ONE, _HALF, _ZERO = (np.float32(value) for value in (9, 1 / 81, 1, 0.5, 0))


@inlined
def fraction(x: Any) -> Any:
    """tanh(x) in single precision as (numerator, denominator); the denominator is between 1 and 335."""
    x = min(max(x, -_EDGE), _EDGE)
    s = x * x * _SCALE
    numerator = (((((_P6 * s + _P5) * s + _P4) * s + _P3) * s + _P2) * s + _P1) * s + _P0
    denominator = ((_Q3 * s + _Q2) * s + _Q1) * s + _ONE
    return x * numerator, denominator


@inlined
def tanh(x: Any) -> Any:
    """Hyperbolic tangent in single precision."""
    numerator, denominator = fraction(x)
    return min(max(numerator / denominator, -_ONE), _ONE)


@inlined
def activated(zi: Any, zf: Any, zg: Any, zo: Any) -> Any:
    """The four gates: sigmoids 1 / (1 + exp(-x)) of the first, second and fourth, tanh of the third.

    sigmoid(x) = 1/2 + tanh(x / 2) / 2. A division takes as long as the rest of a tanh, so one serves all four.
    """
    ni, di = fraction(_HALF * zi)
    nf, df = fraction(_HALF * zf)
    ng, dg = fraction(zg)
    no, do = fraction(_HALF * zo)
    first, second = di * df, dg * do
    inverse = _ONE / (first * second)
    first, second = inverse * second, inverse * first
    i, f = _HALF * ni * df * first + _HALF, _HALF * nf * di * first + _HALF
    g, o = ng * do * second, _HALF * no * dg * second + _HALF
    return i, f, min(max(g, -_ONE), _ONE), o


@inlined
def copy(target: Any, row: Any) -> None:
    """Copies a row [TILE]."""
    for t in range(TILE):
        target[t] = row[t]


@inlined
def add_products(target: Any, factors: Any, rows: Any) -> None:
    """Adds each row [TILE] times its factor to the target [TILE]; five at a time, so that it is touched less often."""
    count = len(factors)
    whole = count - count % 5
    for j in range(0, whole, 5):
        f0, f1, f2, f3, f4 = factors[j], factors[j + 1], factors[j + 2], factors[j + 3], factors[j + 4]
        r0, r1, r2, r3, r4 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3], rows[j + 4]
        for t in range(TILE):
            target[t] += f0 * r0[t] + f1 * r1[t] + f2 * r2[t] + f3 * r3[t] + f4 * r4[t]
    for j in range(whole, count):
        factor, row = factors[j], rows[j]
        for t in range(TILE):
            target[t] += factor * row[t]


@inlined
def beginning(places: Any, slot: Any, first: Any, here: Any) -> Any:
    """Start of the constituents of a slot for the jets of a tile, and the number of jets that have one."""
    filled = min(max(places[1, slot] - first, 0), here)
    return places[0, slot] + first if filled > 0 else 0, filled


@inlined
def arrive(z: Any, gates: Any, recurrent: Any, h: Any, begin: Any, filled: Any) -> None:
    """The gates of a slot before their activation, z [4 units, TILE], from its constituents and the state before."""
    empty = gates.shape[1] - 1
    for k in range(len(z)):
        row, column = z[k], gates[k, begin : begin + filled]
        for t in range(filled):
            row[t] = column[t]
        value = gates[k, empty]
        for t in range(filled, TILE):
            row[t] = value
        add_products(row, recurrent[:, k], h)


@inlined
def advance(z: Any, c: Any, h: Any) -> None:
    """The states c and h [units, TILE] after a slot; z becomes the activated gates."""
    units = len(c)
    for u in range(units):
        zi, zf, zg, zo = z[u], z[units + u], z[2 * units + u], z[3 * units + u]
        cu, hu = c[u], h[u]
        for t in range(TILE):
            i, f, g, o = activated(zi[t], zf[t], zg[t], zo[t])
            cell = f * cu[t] + i * g
            zi[t], zf[t], zg[t], zo[t] = i, f, g, o
            cu[t] = cell
            hu[t] = o * tanh(cell)


@compiled
def recurrence_forward(tiles, gates, recurrent, jet_places, kept, states):  # type: ignore[no-untyped-def]
    """Runs over all slots of the jets of some tiles.

    Args:
        tiles: (first, behind the last, number of this range).
        gates: [4 units, constituents + 1], the last column an empty slot's.
        recurrent: [units, 4 units].
        jet_places: how many jets there are, and [2, slots] int64: where the constituents of a slot begin, and how many
            jets have one.
        kept: [tiles, slots, 5 units, TILE]: room for i, f, g, o and c of every slot; no tiles keep nothing.
        states: [slots or 1, units, jets]: hidden states of every slot, or of the last.
    """
    jets, places = jet_places
    width, units, slots = gates.shape[0], recurrent.shape[0], places.shape[1]
    h, c = np.empty((units, TILE), np.float32), np.empty((units, TILE), np.float32)
    z = np.empty((width, TILE), np.float32)
    for tile in range(tiles[0], tiles[1]):
        first = tile * TILE
        here = min(TILE, jets - first)
        h[:] = _ZERO
        c[:] = _ZERO
        for slot in range(slots):
            begin, filled = beginning(places, slot, first, here)
            arrive(z, gates, recurrent, h, begin, filled)
            advance(z, c, h)
            if kept.shape[0] > 0:
                room = kept[tile, slot]
                for k in range(width):
                    copy(room[k], z[k])
                for u in range(units):
                    copy(room[width + u], c[u])
            if states.shape[0] > 1 or slot == slots - 1:
                out = states[slot] if states.shape[0] > 1 else states[0]
                for u in range(units):
                    for t in range(here):
                        out[u, first + t] = h[u, t]


@inlined
def retreat(now: Any, earlier_cells: Any, bent_cells: Any, dh: Any, dc: Any, dz: Any) -> None:
    """The gradient of `advance`: dz [4 units, TILE] before the activation, and dc of the slot before.

    Args:
        now: [5 units, TILE] what was kept of the slot.
        earlier_cells: [units, TILE] c of the slot before.
        bent_cells: [units, TILE] tanh of the slot's own c.
        dh, dc: [units, TILE] gradients of the states after the slot.
        dz: written.
    """
    units = len(dh)
    for u in range(units):
        gi, gf, gg, go, bent_cell = now[u], now[units + u], now[2 * units + u], now[3 * units + u], bent_cells[u]
        di, df, dg, do = dz[u], dz[units + u], dz[2 * units + u], dz[3 * units + u]
        dhu, dcu, earlier = dh[u], dc[u], earlier_cells[u]
        for t in range(TILE):
            i, f, g, o, d = gi[t], gf[t], gg[t], go[t], dhu[t]
            bent = bent_cell[t]
            do[t] = d * bent * o * (_ONE - o)
            e = dcu[t] + d * o * (_ONE - bent * bent)
            di[t] = e * g * i * (_ONE - i)
            df[t] = e * earlier[t] * f * (_ONE - f)
            dg[t] = e * i * (_ONE - g * g)
            dcu[t] = e * f


@inlined
def leave(dz: Any, gates_gradient: Any, of_empty: Any, begin: Any, filled: Any, here: Any) -> None:
    """Adds the gradient of a slot's gates to its constituents, and the gradient of empty slots to `of_empty`."""
    for k in range(len(dz)):
        row, column = dz[k], gates_gradient[k, begin : begin + filled]
        for t in range(filled):
            column[t] = row[t]
        total = _ZERO
        for t in range(filled, here):
            total += row[t]
        of_empty[k] += total


@inlined
def bend(cells: Any, bent_cells: Any) -> None:
    """tanh of c [units, TILE]."""
    for u in range(len(cells)):
        cell, bent = cells[u], bent_cells[u]
        for t in range(TILE):
            bent[t] = tanh(cell[t])


@inlined
def add_recurrent_gradient(sums: Any, earlier: Any, bent_cells: Any, dz: Any, h: Any, here: Any) -> None:
    """Adds dz times the state of the slot before, which is recomputed from stored values.

    Args:
        sums: [units and more, 4 units].
        earlier: [5 units, TILE] what was kept of the slot before.
        bent_cells: [units, TILE] tanh of its c.
        dz: [4 units, TILE].
        h: [TILE], room for the state.
        here: number of jets in the tile.
    """
    width = len(dz)
    units = width // 4
    for u in range(units):
        o_row, bent = earlier[3 * units + u], bent_cells[u]
        for t in range(TILE):
            h[t] = o_row[t] * bent[t]
        for t in range(here, TILE):
            h[t] = _ZERO
        for k in range(0, width, 4):
            # Four gates side by side: h is read once for all of them. Their number is a multiple of 4.
            first_row, second_row, third_row, fourth_row = dz[k], dz[k + 1], dz[k + 2], dz[k + 3]
            s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO
            for t in range(TILE):
                value = h[t]
                s0 += value * first_row[t]
                s1 += value * second_row[t]
                s2 += value * third_row[t]
                s3 += value * fourth_row[t]
            sums[u, k] += s0
            sums[u, k + 1] += s1
            sums[u, k + 2] += s2
            sums[u, k + 3] += s3


@compiled
def recurrence_backward(tiles, gradient, recurrent, jet_places, kept, gradients):  # type: ignore[no-untyped-def]
    """The gradient of `recurrence_forward`.

    Args:
        tiles, recurrent, jet_places, kept: see `recurrence_forward`.
        gradient: as `states`.
        gradients: two arrays. [4 units, constituents + 1], of which all but the last column is written; and
            [tiles, units + 1, 4 units], added to: of the recurrent weights and, last, of an empty slot's gates.
    """
    (jets, places), (gates_gradient, sums) = jet_places, gradients
    width, units, slots = recurrent.shape[1], recurrent.shape[0], places.shape[1]
    every = gradient.shape[0] > 1
    dh, dc = np.empty((units, TILE), np.float32), np.empty((units, TILE), np.float32)
    dz, h = np.empty((width, TILE), np.float32), np.empty(TILE, np.float32)
    nothing, bent = np.zeros((units, TILE), np.float32), np.empty((units, TILE), np.float32)
    for tile in range(tiles[0], tiles[1]):
        first = tile * TILE
        here = min(TILE, jets - first)
        dh[:] = _ZERO
        dc[:] = _ZERO
        bend(kept[tile, slots - 1, width:], bent)
        for slot in range(slots - 1, -1, -1):
            if every or slot == slots - 1:
                given = gradient[slot] if every else gradient[0]
                for u in range(units):
                    for t in range(here):
                        dh[u, t] += given[u, first + t]
            retreat(kept[tile, slot], kept[tile, slot - 1, width:] if slot > 0 else nothing, bent, dh, dc, dz)
            begin, filled = beginning(places, slot, first, here)
            leave(dz, gates_gradient, sums[tile, units], begin, filled, here)
            if slot > 0:
                bend(kept[tile, slot - 1, width:], bent)
                add_recurrent_gradient(sums[tile], kept[tile, slot - 1], bent, dz, h, here)
                dh[:] = _ZERO
                for u in range(units):
                    add_products(dh[u], recurrent[u], dz)


class NumbaRecurrence(torch.autograd.Function):
    """Autograd function of the loops; keeps gates and c of every slot."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, recurrent: Tensor, sequences: Sequences, every_slot: bool, kept: bool
    ) -> Tensor:
        """Hidden states as `hidden_states` gives them; `kept` stores what `backward` needs."""
        units, jets, slots = recurrent.shape[0], sequences.jets, sequences.slots
        tiles = -(-jets // TILE)
        room = gates.new_empty(tiles if kept else 0, slots, 5 * units, TILE)
        states = gates.new_empty(slots if every_slot else 1, units, jets)
        gates, recurrent = gates.contiguous(), recurrent.contiguous()
        arrays = [tensor.detach().numpy() for tensor in (gates, recurrent)]
        jet_places = (jets, sequences.places_array())
        over_tiles(recurrence_forward, tiles, *arrays, jet_places, room.numpy(), states.numpy())
        if kept:
            ctx.jet_places, ctx.has_room = jet_places, sequences.places is not None
            ctx.save_for_backward(gates, recurrent, room)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the gates [4 units, constituents + 1] and of the recurrent kernel [units, 4 units]."""
        gates, recurrent, room = ctx.saved_tensors
        units = recurrent.shape[0]
        # Columns that no jet reads, of a batch with room to spare, stay 0.
        gates_gradient = torch.zeros_like(gates) if ctx.has_room else torch.empty_like(gates)
        sums = gates.new_zeros(len(room), units + 1, 4 * units)
        over_tiles(
            recurrence_backward,
            len(room),
            gradient.contiguous().numpy(),
            recurrent.numpy(),
            ctx.jet_places,
            room.numpy(),
            (gates_gradient.numpy(), sums.numpy()),
        )
        total = sums.sum(dim=0)
        gates_gradient[:, -1] = total[units]
        return gates_gradient, total[:units], None, None, None


def compile_kernels(report: Report | None = None) -> None:
    """Compiles both kernels for the types of array that the autograd function gives them; nothing is computed."""
    tiles, weights, jet_places = (0, 0, 0), np.empty((1, 4), np.float32), (0, np.empty((2, 1), np.int64))
    gates, room = np.empty((4, 1), np.float32), np.empty((0, 1, 5, TILE), np.float32)
    states, sums = np.empty((1, 1, 0), np.float32), np.empty((0, 2, 4), np.float32)
    recurrence_forward(tiles, gates, weights, jet_places, room, states)
    recurrence_backward(tiles, states, weights, jet_places, room, (gates, sums))


@contextmanager
def compiling_beside() -> Iterator[Child | None]:
    """Child that compiles the loops of this module and leaves them on disk; None if it would not help.

    numba compiles one loop at a time in each process.
    """
    child = None
    if os.name == "posix" and available_cores() > 1 and not _is_cached():
        # Without it this process compiles them too, and takes longer.
        with suppress(OSError, ChildDied):
            child = Child(is_silent=True)
            child.send(Task((0, 0), compile_kernels, ()))
    try:
        yield child
    finally:
        if child is not None:
            child.kill()


def _is_cached() -> bool:
    """True if compiled loops are on disk, or cannot be."""
    folder = recurrence_backward.stats.cache_path  # type: ignore[attr-defined]
    if folder is None:
        return True
    source = Path(__file__)
    try:
        written = [each.stat().st_mtime for each in Path(folder).glob(f"{source.stem}.*.nbi")]
        # What an earlier version of this file left counts for nothing.
        return any(time >= source.stat().st_mtime for time in written)
    except OSError:
        # Another process is writing there.
        return True

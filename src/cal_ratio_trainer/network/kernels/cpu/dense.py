"""A chain of dense layers with ReLU and dropout on the CPU: the loops, their gradient, and the autograd function.

A tile of rows goes through all layers while it is in the cache of a core. Nothing between the layers is kept for
the gradient; it is computed again there, which takes less time than writing it to memory and reading it back.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  (loads the library that numba's matrix products call)
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.dropout import drop_below
from cal_ratio_trainer.network.kernels.cpu.compiler import called, compiled, inlined, over_tiles, ranges
from cal_ratio_trainer.network.layers import Activation, apart, flattened

ROWS = 512
"""Rows of one tile, which share one key of the dropout's random bits."""

GROUP = 512
"""Numbers that the gradient of an activation takes in one loop."""

_ONE, _ZERO = np.float32(1), np.float32(0)


def _one_thread_a_product() -> None:
    """A tile's products stay on the thread that asks for them: scipy's OpenBLAS would hand them to threads of its own.

    Products of numpy go through another library, and are as before.
    """
    libraries = [each for each in ThreadpoolController().lib_controllers if each.internal_api == "openblas"]
    of_scipy = [each for each in libraries if "scipy" in Path(each.filepath).parent.name]
    for library in of_scipy or libraries:
        library.set_num_threads(1)


_one_thread_a_product()


@inlined
def _scrambled(word: Any) -> Any:
    """Every input bit moves every output bit (the finaliser of MurmurHash3, A. Appleby, public domain)."""
    # Without the casts numba would go on in 64 bits.
    word = np.uint32(word)
    word = np.uint32(word ^ (word >> np.uint32(16)))
    word = np.uint32(word * np.uint32(0x85EBCA6B))
    word = np.uint32(word ^ (word >> np.uint32(13)))
    word = np.uint32(word * np.uint32(0xC2B2AE35))
    return np.uint32(word ^ (word >> np.uint32(16)))


@inlined
def _first_word(key: Any, tile: Any) -> Any:
    """Number of the first word of a tile of the mask."""
    # One key per tile: within a tile a counter of 32 bits is enough, however large the batch.
    return np.uint32(_scrambled(key[0] + np.uint32(tile) * np.uint32(0x9E3779B9)) ^ key[1])


@inlined
def drop(values: Any, bias: Any, begin: Any, drop_below: Any) -> None:
    """Bias, ReLU and dropout of one row [units]; `begin` is what its random words are counted from."""
    units = len(values)
    half = (units + 1) // 2
    odd, low_half, sixteen = np.uint32(0x9E3779B9), np.uint32(0xFFFF), np.uint32(16)
    for u in range(half):
        # One word for two elements, half a row apart.
        bits = _scrambled(begin + np.uint32(np.uint32(u) * odd))
        value = values[u] + bias[u]
        values[u] = value if value > _ZERO and bits & low_half >= drop_below else value * _ZERO
        if u + half < units:
            value = values[u + half] + bias[u + half]
            values[u + half] = value if value > _ZERO and bits >> sixteen >= drop_below else value * _ZERO


@inlined
def activate(values: Any, bias: Any, dropout: Any, tile: Any, with_dropout: Any, factor: Any) -> None:
    """Bias, ReLU and dropout of a tile in place.

    Args:
        values: [rows, units].
        bias: [units].
        dropout: key of layer and step, uint32 [2]; the number below which the 16 random bits of a dropped element are,
            0 drops none; and [rows] int64, row of the mask of each row, or empty if each row has its own.
        tile: tile of the mask.
        with_dropout: number of first rows with dropout; the rows after them (the empty slot's) have none.
        factor: factor on the rows without dropout: what the others will NOT be divided by later.
    """
    key, drop_below, mask_rows = dropout
    units = values.shape[1]
    half, odd = (units + 1) // 2, np.uint32(0x9E3779B9)
    seed = _first_word(key, tile)
    for row in range(len(values)):
        if row >= with_dropout:
            for u in range(units):
                values[row, u] = max(values[row, u] + bias[u], _ZERO) * factor
        elif drop_below == 0:
            for u in range(units):
                values[row, u] = max(values[row, u] + bias[u], _ZERO)
        else:
            place = row
            if len(mask_rows) > 0:
                seed, place = _first_word(key, mask_rows[row] // ROWS), mask_rows[row] % ROWS
            drop(values[row], bias, np.uint32(np.uint32(place * half) * odd + seed), drop_below)


@inlined
def pass_on(gradient: Any, result: Any, scale: Any, total: Any) -> None:
    """The gradient [n] of a ReLU in place, times `scale`, and added to `total` [n]."""
    for k in range(len(total)):
        value = gradient[k] * scale if result[k] > _ZERO else _ZERO
        gradient[k] = value
        total[k] += value


@inlined
def pass_back(gradient: Any, result: Any, with_dropout: Any, factor: Any, total: Any) -> None:
    """The gradient of `activate` in place, and its sum over the rows.

    Args:
        gradient: [rows, units].
        result: [rows, units], what `activate` gave: an element was passed on exactly where it is positive.
        with_dropout, factor: see `activate`.
        total: [units], added to.
    """
    rows, units = gradient.shape
    values, passed = gradient.reshape(rows * units), result.reshape(rows * units)
    # Several rows at a time: a loop over one is too short to be worth its beginning and end.
    together = max(1, GROUP // units)
    sums = np.zeros(together * units, np.float32)
    alike = max(0, min(rows, with_dropout)) // together * together
    for row in range(0, alike, together):
        begin, behind = row * units, (row + together) * units
        pass_on(values[begin:behind], passed[begin:behind], _ONE, sums)
    for row in range(alike, rows):
        pass_on(gradient[row], result[row], _ONE if row < with_dropout else factor, sums[:units])
    for i in range(together):
        for u in range(units):
            total[u] += sums[i * units + u]


@called
def kernel_of(weights: Any, widths: Any, layer: Any) -> Any:
    """The kernel [inputs, units] of a layer and where its bias begins, in the weights of all layers end to end."""
    begin = 0
    for i in range(layer):
        begin += (widths[i] + 1) * widths[i + 1]
    size = widths[layer] * widths[layer + 1]
    return weights[begin : begin + size].reshape(widths[layer], widths[layer + 1]), begin + size


@called
def room_of(room: Any, widths: Any, layer: Any, rows: Any) -> Any:
    """Memory for the output [rows, units] of a layer of a tile."""
    begin = 0
    for i in range(1, layer + 1):
        begin += widths[i] * ROWS
    return room[begin : begin + rows * widths[layer + 1]].reshape(rows, widths[layer + 1])


@called
def through(x: Any, tile: Any, chain: Any, dropout: Any, room: Any) -> None:
    """Computes all layers except the last for a tile [rows, inputs]; their outputs are in `room`."""
    (widths, weights), (keys, drop_below, factors, mask_rows, rows_with_dropout) = chain, dropout
    rows, begin = len(x), tile * ROWS
    own_rows = mask_rows[begin : begin + rows]
    for layer in range(len(widths) - 2):
        kernel, end = kernel_of(weights, widths, layer)
        y = room_of(room, widths, layer, rows)
        if layer == 0:
            np.dot(x, kernel, y)
        else:
            np.dot(room_of(room, widths, layer - 1, rows), kernel, y)
        bias = weights[end : end + widths[layer + 1]]
        activate(y, bias, (keys[layer], drop_below[layer], own_rows), tile, rows_with_dropout - begin, factors[layer])


@compiled
def chain_forward(tiles, x, chain, dropout, out):  # type: ignore[no-untyped-def]
    """The outputs of dense layers with ReLU and dropout behind all but the last.

    Args:
        tiles: (first, behind the last, number of this range), of `ROWS` rows.
        x: [rows, inputs].
        chain: int64 [layers + 1] widths, first the width of the input; and kernel and bias of each layer end to end.
        dropout: behind all layers but the last uint32 [layers - 1, 2] keys, [layers - 1] numbers to drop below, and
            [layers - 1] factors of the rows without dropout; then the rows of the mask and how many rows have dropout.
            See `activate`.
        out: [units, rows], written.
    """
    widths, weights = chain
    last, units = len(widths) - 2, widths[len(widths) - 1]
    room = np.empty((np.sum(widths) - widths[0]) * ROWS, np.float32)
    kernel, end = kernel_of(weights, widths, last)
    turned = np.ascontiguousarray(kernel.T)
    bias = weights[end : end + units]
    for tile in range(tiles[0], tiles[1]):
        begin, behind = tile * ROWS, min((tile + 1) * ROWS, len(x))
        rows = behind - begin
        through(x[begin:behind], tile, chain, dropout, room)
        y = room_of(room, widths, last, rows).reshape(units, rows)
        if last == 0:
            np.dot(turned, x[begin:behind].T, y)
        else:
            np.dot(turned, room_of(room, widths, last - 1, rows).T, y)
        for u in range(units):
            for row in range(rows):
                out[u, begin + row] = y[u, row] + bias[u]


@inlined
def add_product(first: Any, second: Any, room: Any, total: Any) -> None:
    """Adds first^T second, [rows, n] and [rows, m], to a total of n * m numbers."""
    n, m = first.shape[1], second.shape[1]
    product = room[: n * m]
    np.dot(first.T, second, product.reshape(n, m))
    for k in range(n * m):
        total[k] += product[k]


@inlined
def take_turned(gradient: Any, begin: Any, dz: Any, of_bias: Any) -> None:
    """Copies a tile of the gradient [units, all rows] to dz [units, rows]; adds its sums to the bias's."""
    for u in range(len(dz)):
        row, given = dz[u], gradient[u, begin : begin + dz.shape[1]]
        total = _ZERO
        for t in range(len(row)):
            row[t] = given[t]
            total += given[t]
        of_bias[u] += total


@compiled
def chain_backward(tiles, gradient, x, chain, dropout, results):  # type: ignore[no-untyped-def]
    """The gradient of `chain_forward`.

    Args:
        tiles, x, chain, dropout: see `chain_forward`.
        gradient: [units, rows].
        results: two arrays. [ranges, weights], added to: the gradients of kernels and biases end to end; and
            [rows, inputs], written: gradient of the input, or no rows.
    """
    (widths, weights), (_, _, factors, _, rows_with_dropout) = chain, dropout
    sums, of_input = results
    total, last, units = sums[tiles[2]], len(widths) - 2, widths[len(widths) - 1]
    size_of_room = (np.sum(widths) - widths[0]) * ROWS
    room, product = np.empty(size_of_room, np.float32), np.empty(len(weights), np.float32)
    here, there = np.empty(size_of_room, np.float32), np.empty(size_of_room, np.float32)
    for tile in range(tiles[0], tiles[1]):
        begin, behind = tile * ROWS, min((tile + 1) * ROWS, len(x))
        rows, x_tile = behind - begin, x[begin:behind]
        through(x_tile, tile, chain, dropout, room)
        kernel, end = kernel_of(weights, widths, last)
        turned = here[: units * rows].reshape(units, rows)
        take_turned(gradient, begin, turned, total[end : end + units])
        of_kernel = total[end - widths[last] * units : end]
        if last > 0:
            add_product(room_of(room, widths, last - 1, rows), turned.T, product, of_kernel)
            np.dot(turned.T, kernel.T, there[: rows * widths[last]].reshape(rows, widths[last]))
        else:
            add_product(x_tile, turned.T, product, of_kernel)
            if len(of_input) > 0:
                np.dot(turned.T, kernel.T, of_input[begin:behind])
        for layer in range(last - 1, -1, -1):
            here, there = there, here
            kernel, end = kernel_of(weights, widths, layer)
            dz, y = (
                here[: rows * widths[layer + 1]].reshape(rows, widths[layer + 1]),
                room_of(room, widths, layer, rows),
            )
            of_kernel, of_bias = total[end - kernel.size : end], total[end : end + widths[layer + 1]]
            pass_back(dz, y, rows_with_dropout - begin, factors[layer], of_bias)
            if layer > 0:
                add_product(room_of(room, widths, layer - 1, rows), dz, product, of_kernel)
                np.dot(dz, kernel.T, there[: rows * widths[layer]].reshape(rows, widths[layer]))
            else:
                add_product(x_tile, dz, product, of_kernel)
                if len(of_input) > 0:
                    np.dot(dz, kernel.T, of_input[begin:behind])


_Dropout = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.int64], int]


def numba_chain(x: Tensor, weights: Sequence[Tensor], scales: Sequence[float], behind: Sequence[Activation]) -> Tensor:
    """The outputs of the last layer, [units, rows].

    Args:
        x: [rows, inputs].
        weights: kernel and bias of each layer.
        scales: factor on the input of each layer.
        behind: operations after all layers except the last.
    """
    dropout = _described(behind, len(x))
    result: Tensor = _Chain.apply(x, dropout, scales, *weights)  # type: ignore[no-untyped-call]
    return result


def _described(behind: Sequence[Activation], rows: int) -> _Dropout:
    """The dropout as the loops take it (see `chain_forward`)."""
    keys = [each.key.as_array() if each.key is not None else np.zeros(2, np.uint32) for each in behind]
    below = [drop_below(each.rate) if each.key is not None else 0 for each in behind]
    mask_rows = behind[0].mask_rows
    return (
        np.array(keys, np.uint32).reshape(len(behind), 2),
        np.array(below, np.uint32),
        np.array([1 / each.scale for each in behind], np.float32),
        np.zeros(0, np.int64) if mask_rows is None else mask_rows.numbers.numpy(),
        rows - behind[0].last_is_empty_slot,
    )


class _Chain(torch.autograd.Function):
    """Autograd function of the loops; keeps nothing between the layers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: _Dropout, scales: Sequence[float], *weights: Tensor) -> Tensor:
        scaled = [kernel * scale for kernel, scale in zip(weights[::2], scales, strict=True)]
        widths = np.array([len(scaled[0]), *(kernel.shape[1] for kernel in scaled)])
        together = flattened([each for pair in zip(scaled, weights[1::2], strict=True) for each in pair])
        x, out = x.contiguous(), x.new_empty(int(widths[-1]), len(x))
        over_tiles(
            chain_forward, -(-len(x) // ROWS), x.detach().numpy(), (widths, together.numpy()), dropout, out.numpy()
        )
        ctx.dropout, ctx.scales, ctx.widths = dropout, scales, widths
        ctx.save_for_backward(x, together)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, together = ctx.saved_tensors
        tiles = -(-len(x) // ROWS)
        of_input = x.new_empty(len(x) if ctx.needs_input_grad[0] else 0, x.shape[1])
        sums = x.new_zeros(ranges(tiles), len(together))
        arrays = (gradient.contiguous().numpy(), x.detach().numpy(), (ctx.widths, together.numpy()), ctx.dropout)
        over_tiles(chain_backward, tiles, *arrays, (sums.numpy(), of_input.numpy()))
        gradients = apart(sums.sum(dim=0), ctx.widths.tolist())
        for kernel_gradient, scale in zip(gradients[::2], ctx.scales, strict=True):
            kernel_gradient.mul_(scale)
        return of_input if ctx.needs_input_grad[0] else None, None, None, *gradients

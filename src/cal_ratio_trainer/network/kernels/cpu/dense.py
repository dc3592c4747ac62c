"""A chain of dense layers on the CPU: tiles of rows go through all of it, nothing between the layers is kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.activation import Activation
from cal_ratio_trainer.network.dropout import drop_below
from cal_ratio_trainer.network.flat_weights import apart, flattened
from cal_ratio_trainer.network.kernels.cpu.dense_loops import ROWS, chain_backward, chain_forward
from cal_ratio_trainer.network.kernels.cpu.tiles import over_tiles, ranges

_Dropout = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.int64], int]


def numba_chain(x: Tensor, weights: Sequence[Tensor], scales: Sequence[float], behind: Sequence[Activation]) -> Tensor:
    """The outputs of the last layer, [units, rows].

    Args:
        x: [rows, inputs].
        weights: kernel and bias of each layer.
        scales: factor on the input of each layer.
        behind: what follows all layers but the last.
    """
    dropout = _described(behind, len(x))
    result: Tensor = _Chain.apply(x, dropout, scales, *weights)  # type: ignore[no-untyped-call]
    return result


def _described(behind: Sequence[Activation], rows: int) -> _Dropout:
    """The dropout as the loops take it (see `dense_loops.chain_forward`)."""
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

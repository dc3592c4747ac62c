"""A chain of dense layers on a GPU: tiles of rows go through all of it, nothing between the layers is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.activation import Activation
from cal_ratio_trainer.network.dropout import MaskRows, StoredKey, drop_below
from cal_ratio_trainer.network.engine import triton_precision
from cal_ratio_trainer.network.flat_weights import apart, flattened, offsets_of
from cal_ratio_trainer.network.kernels.gpu import dense_kernels
from cal_ratio_trainer.network.kernels.gpu.compiler import OPTIONS
from cal_ratio_trainer.network.kernels.gpu.limits import filled_up

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
        behind: what follows all layers but the last.
    """
    result: Tensor = _Chain.apply(x, _Dropout.of(behind, x), *weights)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class _Dropout:
    """The dropout as the kernels take it (see `dense_kernels`)."""

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
    tensor = torch.from_numpy(words.view(np.int32))
    # A copy from memory that can be paged out waits for the device.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: _Dropout, *weights: Tensor) -> Tensor:
        widths = (x.shape[1], *(kernel.shape[1] for kernel in weights[::2]))
        x, flat = x.contiguous(), flattened(weights)
        out = x.new_empty(widths[-1], len(x))
        dense_kernels.chain_forward[(max(1, -(-len(x) // ROWS_FORWARD)),)](
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
        dense_kernels.chain_backward[(programs,)](
            *(gradient.contiguous(), x, flat, dropout.keys, dropout.numbers, sums),
            *(len(x), x.shape[1], dropout.rows, dropout.below, dropout.scale, tiles),
            **_constants(ctx.widths, dropout, ROWS_BACKWARD),
        )
        return None, None, *apart(sums.sum(dim=0), ctx.widths)


def _constants(widths: Sequence[int], dropout: _Dropout, block: int) -> dict[str, Any]:
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
    """Compile-time constants of the kernels (see `dense_kernels`), from the widths of the input and of all outputs.

    Clusters and tracks differ in their inputs alone, and share kernels.
    """
    without_inputs = (0, *widths[1:])
    return {"WIDTHS": without_inputs, "PADDED": filled_up(widths), "OFFSETS": tuple(offsets_of(without_inputs))}


def warps_of(precision: str) -> int:
    """Of a program: products without the matrix unit need the registers of more of them."""
    return 8 if precision == "ieee" else 4

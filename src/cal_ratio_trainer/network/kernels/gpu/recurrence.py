"""The recurrence on a GPU: a program a tile of jets, its states in registers over all slots."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.engine import triton_precision
from cal_ratio_trainer.network.kernels.gpu import recurrence_kernels
from cal_ratio_trainer.network.kernels.gpu.compiler import OPTIONS
from cal_ratio_trainer.network.sequences import Sequences, keeps_for_backward

_PROGRAMS = 1024
"""Of the backward pass, however many jets there are: each leaves sums, and a fixed number makes their order fixed."""


MOST_UNITS = 64
"""Wider states do not fit the registers of a program."""

_SHARED_BY_WIDE = 176 * 1024


def fits(units: int, device: torch.device) -> bool:
    """True where the kernels take so many units: 64 with the shared memory of an H100, 32 on smaller cards."""
    if units <= 32 or device.type != "cuda":
        return units <= MOST_UNITS
    # Older versions of PyTorch do not say it.
    shared = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    return units <= MOST_UNITS and shared >= _SHARED_BY_WIDE


def triton_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """See `recurrence.hidden_states`."""
    result: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        sequences.gates, recurrent_kernel, sequences, every_slot, keeps_for_backward(sequences, recurrent_kernel)
    )
    return result


class _Recurrence(torch.autograd.Function):
    """Keeps h and c of every slot; the backward pass computes the gates again."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, recurrent: Tensor, sequences: Sequences, every_slot: bool, kept: bool
    ) -> Tensor:
        units, jets, slots = recurrent.shape[0], sequences.jets, sequences.slots
        gates, recurrent, places = gates.contiguous(), recurrent.contiguous(), sequences.places_tensor()
        states = gates.new_empty(slots if every_slot or kept else 1, units, jets)
        cells = gates.new_empty(slots if kept else 0, units, jets)
        padded, block, warps = tile_of(units)
        recurrence_kernels.recurrence_forward[(_number(jets, block),)](
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
        gates, recurrent, places, states, cells = ctx.saved_tensors
        units, (slots, _, jets) = recurrent.shape[0], states.shape
        # Columns that no jet reads, of a batch with room to spare, stay 0.
        gates_gradient = torch.zeros_like(gates)
        padded, block, warps = tile_of(units)
        tiles = _number(jets, block)
        programs = min(tiles, _PROGRAMS)
        sums = gates.new_empty(programs, units + 1, 4 * units)
        recurrence_kernels.recurrence_backward[(programs,)](
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

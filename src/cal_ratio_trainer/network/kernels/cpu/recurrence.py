"""The recurrence on the CPU: tiles of jets that run over all slots with their states in the fastest cache."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.kernels.cpu.recurrence_loops import TILE, recurrence_backward, recurrence_forward
from cal_ratio_trainer.network.kernels.cpu.tiles import over_tiles
from cal_ratio_trainer.network.sequences import Sequences, keeps_for_backward


def numba_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """See `recurrence.hidden_states`."""
    result: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        sequences.gates, recurrent_kernel, sequences, every_slot, keeps_for_backward(sequences, recurrent_kernel)
    )
    return result


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, recurrent: Tensor, sequences: Sequences, every_slot: bool, kept: bool
    ) -> Tensor:
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

"""The recurrence in PyTorch's operations with a hand-written gradient: any device, any precision."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.sequences import Sequences, keeps_for_backward


def torch_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """See `recurrence.hidden_states`."""
    hidden: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        sequences.gates,
        recurrent_kernel,
        sequences.filled,
        sequences.jets,
        keeps_for_backward(sequences, recurrent_kernel),
    )
    return hidden if every_slot else hidden[-1:]


class _Recurrence(torch.autograd.Function):
    """Keeps gates, c and tanh(c) of every slot for a backward pass without transcendental functions.

    All views are cut before the loops: at a thousand jets the cutting took as long as the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        recurrent: Tensor,
        counts: tuple[int, ...],
        jets: int,
        kept: bool,
    ) -> Tensor:
        units, slots = recurrent.shape[0], len(counts)
        states = _States(gates, units, jets, slots, kept)
        arriving = torch.split(gates, [*counts, 1], dim=1)
        transposed, padding_column = recurrent.t().contiguous(), arriving[-1]
        for slot in range(slots):
            z, (sigmoids, g, o), (i, f, _, _) = states.gates[slot], states.blocks[slot], states.units[slot]
            if slot:
                torch.mm(transposed, states.h[slot - 1], out=z)
            else:
                z.zero_()
            filled = counts[slot]
            if filled == jets:
                z += arriving[slot]
            else:
                if filled:
                    z[:, :filled] += arriving[slot]
                z[:, filled:] += padding_column
            sigmoids.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c, tanh_c = states.c[slot + 1], states.tanh_c[slot]
            torch.mul(f, states.c[slot], out=c)
            c.addcmul_(i, g)
            torch.tanh(c, out=tanh_c)
            torch.mul(o, tanh_c, out=states.h[slot])
        if kept:
            ctx.counts = counts
            ctx.save_for_backward(recurrent, states.all_gates, states.all_c, states.all_tanh_c, states.all_h)
        return states.all_h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, all_gates, all_c, all_tanh_c, all_h = ctx.saved_tensors
        slots, units, jets = all_h.shape
        counts = ctx.counts
        gates_gradient = all_h.new_empty(4 * units, sum(counts) + 1)
        leaving = torch.split(gates_gradient, [*counts, 1], dim=1)
        padding_gradient = leaving[-1].zero_()
        all_dz = torch.empty_like(all_gates)
        dz_of_slot, gradient_of_slot = all_dz.unbind(), gradient.unbind()
        gates_of_slot, dz_units = _cut_units(all_gates, units), _cut_units(all_dz, units)
        c_of_slot, tanh_c_of_slot = all_c.unbind(), all_tanh_c.unbind()
        dh, dc = gradient[-1].clone(), torch.zeros_like(all_h[0])
        for slot in reversed(range(slots)):
            (i, f, g, o), (di, df, dg, do) = gates_of_slot[slot], dz_units[slot]
            dz, tanh_c = dz_of_slot[slot], tanh_c_of_slot[slot]
            _sigmoid_gradient(dh * tanh_c, o, out=do)
            # d tanh(c) = 1 - tanh(c)^2
            dc += torch.ops.aten.tanh_backward(dh.mul_(o), tanh_c)
            _sigmoid_gradient(dc * g, i, out=di)
            _sigmoid_gradient(dc * c_of_slot[slot], f, out=df)
            torch.ops.aten.tanh_backward.grad_input(dc * i, g, grad_input=dg)
            dc *= f
            filled = counts[slot]
            if filled:
                leaving[slot].copy_(dz[:, :filled] if filled < jets else dz)
            if filled < jets:
                padding_gradient += dz[:, filled:].sum(dim=1, keepdim=True)
            if slot:
                torch.mm(recurrent, dz, out=dh)
                dh += gradient_of_slot[slot - 1]
        recurrent_gradient = torch.bmm(all_h[:-1], all_dz[1:].transpose(1, 2)).sum(dim=0)
        return gates_gradient, recurrent_gradient, None, None, None


class _States:
    """Room for gates, c, tanh(c) and h of every slot, cut into views; without a backward pass all share one slot's."""

    def __init__(self, like: Tensor, units: int, jets: int, slots: int, kept: bool) -> None:
        steps, repeats = (slots, 1) if kept else (1, slots)
        self.all_gates = like.new_empty(steps, 4 * units, jets)
        self.all_c = like.new_empty(steps + 1 if kept else 1, units, jets)
        self.all_tanh_c = like.new_empty(steps, units, jets)
        self.all_h = like.new_empty(slots, units, jets)
        self.all_c[0].zero_()
        self.h = self.all_h.unbind()
        self.c = self.all_c.unbind() * (1 if kept else slots + 1)
        self.gates = self.all_gates.unbind() * repeats
        self.tanh_c = self.all_tanh_c.unbind() * repeats
        self.units = _cut_units(self.all_gates, units) * repeats
        blocks = torch.split(self.all_gates.view(-1, jets), [2 * units, units, units] * steps)
        self.blocks = [blocks[3 * step : 3 * step + 3] for step in range(steps)] * repeats


def _cut_units(gates: Tensor, units: int) -> list[tuple[Tensor, ...]]:
    pieces = torch.split(gates.view(-1, gates.shape[2]), units)
    return [pieces[4 * slot : 4 * slot + 4] for slot in range(gates.shape[0])]


def _sigmoid_gradient(gradient: Tensor, result: Tensor, out: Tensor) -> None:
    torch.ops.aten.sigmoid_backward.grad_input(gradient, result, grad_input=out)

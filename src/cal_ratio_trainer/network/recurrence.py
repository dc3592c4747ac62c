"""The LSTM over the slots of a jet, empty ones included, behind one function.

Gates are in Keras' order i, f, c, o; the recurrent activation is the sigmoid, the other the tanh; h and c start at 0.
Everything is laid out [numbers, jets]: a gate of all jets is then contiguous, whatever the number of units.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Sequences:
    """What the recurrence reads.

    Attributes:
        gates: [4 units, constituents], kernel times input plus bias, slot by slot (see `packing.Packing`).
        padding_gates: [4 units], the same for an empty slot.
        counts: how many jets have a constituent at slot 0, 1, ...; these jets come first.
        jets: how many jets there are.
        slots: how many slots are run over.
    """

    gates: Tensor
    padding_gates: Tensor
    counts: tuple[int, ...]
    jets: int
    slots: int


def hidden_states(sequences: Sequences, recurrent_kernel: Tensor) -> Tensor:
    """The hidden state after each slot.

    Args:
        sequences: gate inputs.
        recurrent_kernel: [units, 4 units].

    Returns:
        [slots, units, jets]; the last one is what a network with one layer goes on with.
    """
    # Within `forward` gradients are always off, and a parameter needs one even where none will be asked for.
    kept = torch.is_grad_enabled() and (sequences.gates.requires_grad or recurrent_kernel.requires_grad)
    hidden: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        sequences.gates,
        sequences.padding_gates,
        recurrent_kernel,
        sequences.counts,
        (sequences.jets, sequences.slots),
        kept,
    )
    return hidden


def reference_hidden_states(sequences: Sequences, recurrent_kernel: Tensor) -> Tensor:
    """What `hidden_states` gives, written out plainly: any device and precision, the gradient left to autograd."""
    units = recurrent_kernel.shape[0]
    h = sequences.gates.new_zeros(units, sequences.jets)
    c = torch.zeros_like(h)
    states, start = [], 0
    for slot in range(sequences.slots):
        filled = sequences.counts[slot] if slot < len(sequences.counts) else 0
        empty = sequences.padding_gates[:, None].expand(-1, sequences.jets - filled)
        z = torch.cat([sequences.gates[:, start : start + filled], empty], dim=1) + recurrent_kernel.t() @ h
        start += filled
        i, f, g, o = torch.split(z, units)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states)


class _Recurrence(torch.autograd.Function):
    """Keeps gates, c and tanh(c) of every slot for a backward pass without transcendental functions.

    All views are cut before the loops: at a thousand jets the cutting took as long as the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        padding_gates: Tensor,
        recurrent: Tensor,
        counts: tuple[int, ...],
        jets_and_slots: tuple[int, int],
        kept: bool,
    ) -> Tensor:
        units, (jets, slots) = recurrent.shape[0], jets_and_slots
        states = _States(gates, units, jets, slots, kept)
        arriving = torch.split(gates, list(counts), dim=1)
        transposed, padding_column = recurrent.t().contiguous(), padding_gates[:, None]
        for slot in range(slots):
            z, (sigmoids, g, o), (i, f, _, _) = states.gates[slot], states.blocks[slot], states.units[slot]
            if slot:
                torch.mm(transposed, states.h[slot - 1], out=z)
            else:
                z.zero_()
            filled = counts[slot] if slot < len(counts) else 0
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
            ctx.counts, ctx.constituents = counts, gates.shape[1]
            ctx.save_for_backward(recurrent, states.all_gates, states.all_c, states.all_tanh_c, states.all_h)
        return states.all_h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, all_gates, all_c, all_tanh_c, all_h = ctx.saved_tensors
        slots, units, jets = all_h.shape
        counts = [*ctx.counts, *[0] * (slots - len(ctx.counts))]
        gates_gradient = all_h.new_empty(4 * units, ctx.constituents)
        padding_gradient = all_h.new_zeros(4 * units, 1)
        leaving = torch.split(gates_gradient, counts, dim=1)
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
        return gates_gradient, padding_gradient[:, 0], recurrent_gradient, None, None, None


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

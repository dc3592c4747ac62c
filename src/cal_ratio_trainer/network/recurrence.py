"""The LSTM over the slots of a jet, empty ones included, behind one function and for several engines.

Gates are in Keras' order i, f, c, o; the recurrent activation is the sigmoid, the other the tanh; h and c start at 0.
Everything is laid out [numbers, jets]: a gate of all jets is then contiguous, whatever the number of units.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.sequences import Sequences, keeps_for_backward


def hidden_states(
    sequences: Sequences, recurrent_kernel: Tensor, *, every_slot: bool = False, engine: Engine = Engine.TORCH
) -> Tensor:
    """The hidden state after the last slot, or after each.

    Args:
        sequences: gate inputs.
        recurrent_kernel: [units, 4 units].
        every_slot: give all of them, for a further layer.
        engine: engine that computes it; all results are equal except for rounding.

    Returns:
        [slots, units, jets] of every slot, or [1, units, jets] of the last.
    """
    hidden: Tensor
    gates, kept = sequences.gates, keeps_for_backward(sequences, recurrent_kernel)
    if engine is Engine.NUMBA:
        from cal_ratio_trainer.network.kernels.cpu.recurrence import NumbaRecurrence

        hidden = NumbaRecurrence.apply(gates, recurrent_kernel, sequences, every_slot, kept)  # type: ignore[no-untyped-call]
        return hidden
    if engine is Engine.TRITON:
        from cal_ratio_trainer.network.kernels.gpu.recurrence import TritonRecurrence, fits

        # Very wide states are left to PyTorch's operations.
        if fits(recurrent_kernel.shape[0], recurrent_kernel.device):
            hidden = TritonRecurrence.apply(gates, recurrent_kernel, sequences, every_slot, kept)  # type: ignore[no-untyped-call]
            return hidden
    if engine is Engine.REFERENCE or sequences.places is not None:
        return reference_hidden_states(sequences, recurrent_kernel, every_slot)
    hidden = _TorchRecurrence.apply(gates, recurrent_kernel, sequences.filled, sequences.jets, kept)  # type: ignore[no-untyped-call]
    return hidden if every_slot else hidden[-1:]


def reference_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """Reference for `hidden_states` in plain operations, for any device and precision, with autograd."""
    units = recurrent_kernel.shape[0]
    h = sequences.gates.new_zeros(units, sequences.jets)
    c = torch.zeros_like(h)
    states = []
    for arriving in _arriving(sequences):
        z = arriving + recurrent_kernel.t() @ h
        i, f, g, o = torch.split(z, units)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states if every_slot else states[-1:])


def _arriving(sequences: Sequences) -> Iterator[Tensor]:
    """The gate inputs [4 units, jets] of each slot."""
    if sequences.places is None:
        start = 0
        for filled in sequences.filled:
            empty = sequences.gates[:, -1:].expand(-1, sequences.jets - filled)
            yield torch.cat([sequences.gates[:, start : start + filled], empty], dim=1)
            start += filled
        return
    # Of fixed shapes, and no count is read from the device.
    jet, last = torch.arange(sequences.jets, device=sequences.gates.device), sequences.gates.shape[1] - 1
    for start_of_slot, filled_of_slot in sequences.places.unbind(dim=1):
        has_one = jet < filled_of_slot
        own = sequences.gates.index_select(1, torch.where(has_one, start_of_slot + jet, 0))
        yield torch.where(has_one, own, sequences.gates[:, last:])


class _TorchRecurrence(torch.autograd.Function):
    """PyTorch's operations with a hand-written gradient, for any device and precision.

    Keeps gates, c and tanh(c) of every slot for a backward pass without transcendental functions.

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

"""The LSTM over the slots of a jet, empty ones included, behind one function and for several engines.

Gates are in Keras' order i, f, c, o; the recurrent activation is the sigmoid, the other the tanh; h and c start at 0.
Everything is laid out [numbers, jets]: a gate of all jets is then contiguous, whatever the number of units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cal_ratio_trainer.network.engine import Engine


@dataclass(frozen=True)
class Sequences:
    """What the recurrence reads.

    Attributes:
        gates: [4 units, constituents + 1], kernel times input plus bias, slot by slot (see `packing.Packing`); the last
            column is that of an empty slot.
        counts: how many jets have a constituent at slot 0, 1, ...; these jets come first.
        jets: how many jets there are.
        slots: how many slots are run over.
    """

    gates: Tensor
    counts: tuple[int, ...]
    jets: int
    slots: int

    @property
    def filled(self) -> tuple[int, ...]:
        """`counts` for all slots."""
        return (*self.counts, *[0] * (self.slots - len(self.counts)))[: self.slots]


def hidden_states(
    sequences: Sequences, recurrent_kernel: Tensor, *, every_slot: bool = False, engine: Engine = Engine.TORCH
) -> Tensor:
    """The hidden state after the last slot, or after each.

    Args:
        sequences: gate inputs.
        recurrent_kernel: [units, 4 units].
        every_slot: give all of them, for a further layer.
        engine: what computes it; all give the same but for rounding.

    Returns:
        [slots, units, jets] of every slot, or [1, units, jets] of the last.
    """
    if engine is Engine.NUMBA:
        from cal_ratio_trainer.network.recurrence_numba import numba_hidden_states

        return numba_hidden_states(sequences, recurrent_kernel, every_slot)
    if engine is Engine.REFERENCE:
        return reference_hidden_states(sequences, recurrent_kernel, every_slot)
    from cal_ratio_trainer.network.recurrence_torch import torch_hidden_states

    return torch_hidden_states(sequences, recurrent_kernel, every_slot)


def reference_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """What `hidden_states` gives, written out plainly: any device and precision, the gradient left to autograd."""
    units = recurrent_kernel.shape[0]
    h = sequences.gates.new_zeros(units, sequences.jets)
    c = torch.zeros_like(h)
    states, start = [], 0
    for filled in sequences.filled:
        empty = sequences.gates[:, -1:].expand(-1, sequences.jets - filled)
        z = torch.cat([sequences.gates[:, start : start + filled], empty], dim=1) + recurrent_kernel.t() @ h
        start += filled
        i, f, g, o = torch.split(z, units)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states if every_slot else states[-1:])


def keeps_for_backward(sequences: Sequences, recurrent_kernel: Tensor) -> bool:
    """True where a gradient may be asked for.

    Within an autograd function's `forward` gradients are always off, and a parameter needs one even where none will be
    asked for.
    """
    return torch.is_grad_enabled() and (sequences.gates.requires_grad or recurrent_kernel.requires_grad)

"""The LSTM over the slots of a jet, empty ones included, behind one function and for several engines.

Gates are in Keras' order i, f, c, o; the recurrent activation is the sigmoid, the other the tanh; h and c start at 0.
Everything is laid out [numbers, jets]: a gate of all jets is then contiguous, whatever the number of units.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.sequences import Sequences


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
    if engine is Engine.NUMBA:
        from cal_ratio_trainer.network.kernels.cpu.recurrence import numba_hidden_states

        return numba_hidden_states(sequences, recurrent_kernel, every_slot)
    if engine is Engine.TRITON:
        from cal_ratio_trainer.network.kernels.gpu.recurrence import fits, triton_hidden_states

        # Very wide states are left to PyTorch's operations.
        if fits(recurrent_kernel.shape[0], recurrent_kernel.device):
            return triton_hidden_states(sequences, recurrent_kernel, every_slot)
    if engine is Engine.REFERENCE or sequences.places is not None:
        return reference_hidden_states(sequences, recurrent_kernel, every_slot)
    from cal_ratio_trainer.network.kernels.torch_recurrence import torch_hidden_states

    return torch_hidden_states(sequences, recurrent_kernel, every_slot)


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
    # Of fixed shapes, and nobody asks the device how many there are.
    jet, last = torch.arange(sequences.jets, device=sequences.gates.device), sequences.gates.shape[1] - 1
    for start_of_slot, filled_of_slot in sequences.places.unbind(dim=1):
        has_one = jet < filled_of_slot
        own = sequences.gates.index_select(1, torch.where(has_one, start_of_slot + jet, 0))
        yield torch.where(has_one, own, sequences.gates[:, last:])

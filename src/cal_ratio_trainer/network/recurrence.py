"""The LSTM over the slots of a jet, empty ones included, behind one function and for several engines.

Gates are in Keras' order i, f, c, o; the recurrent activation is the sigmoid, the other the tanh; h and c start at 0.
Everything is laid out [numbers, jets]: a gate of all jets is then contiguous, whatever the number of units.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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
        places: [2, slots] int64 beside the gates: where the constituents of a slot begin, and how many jets have one.
            Given in place of `counts` where the numbers are to stay on the device; `gates` may then have columns
            before the last that no jet reads.
    """

    gates: Tensor
    counts: tuple[int, ...]
    jets: int
    slots: int
    places: Tensor | None = None

    @property
    def filled(self) -> tuple[int, ...]:
        """`counts` for all slots."""
        counts = self.counts if self.places is None else tuple(self.places[1].tolist())
        return (*counts, *[0] * (self.slots - len(counts)))[: self.slots]

    def places_tensor(self) -> Tensor:
        """`places`, made from the counts where they are not given."""
        if self.places is not None:
            return self.places
        if self.counts == (self.jets,) * self.slots:
            # As a further layer has it. Nothing is copied from the host: a CUDA graph would read the host's memory at
            # every replay.
            slot = torch.arange(self.slots, device=self.gates.device)
            return torch.stack([slot * self.jets, torch.full_like(slot, self.jets)])
        places = torch.from_numpy(self.places_array())
        if self.gates.device.type == "cuda":
            # A copy from memory that can be paged out waits for the device.
            return places.pin_memory().to(self.gates.device, non_blocking=True)
        return places

    def places_array(self) -> NDArray[np.int64]:
        """`places` on the host."""
        if self.places is not None:
            on_host: NDArray[np.int64] = self.places.numpy(force=True)
            return on_host
        filled = np.array(self.filled, dtype=np.int64)
        return np.stack([np.cumsum(filled) - filled, filled])


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
        from cal_ratio_trainer.network.kernels.cpu.recurrence import numba_hidden_states

        return numba_hidden_states(sequences, recurrent_kernel, every_slot)
    if engine is Engine.TRITON:
        from cal_ratio_trainer.network.kernels.gpu.recurrence import fits, triton_hidden_states

        # Very wide states are left to PyTorch's operations.
        if fits(recurrent_kernel.shape[0], recurrent_kernel.device):
            return triton_hidden_states(sequences, recurrent_kernel, every_slot)
    if engine is Engine.REFERENCE or sequences.places is not None:
        return reference_hidden_states(sequences, recurrent_kernel, every_slot)
    from cal_ratio_trainer.network.kernels.reference import torch_hidden_states

    return torch_hidden_states(sequences, recurrent_kernel, every_slot)


def reference_hidden_states(sequences: Sequences, recurrent_kernel: Tensor, every_slot: bool) -> Tensor:
    """What `hidden_states` gives, written out plainly: any device and precision, the gradient left to autograd."""
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


def keeps_for_backward(sequences: Sequences, recurrent_kernel: Tensor) -> bool:
    """True where a gradient may be asked for.

    Within an autograd function's `forward` gradients are always off, and a parameter needs one even where none will be
    asked for.
    """
    return torch.is_grad_enabled() and (sequences.gates.requires_grad or recurrent_kernel.requires_grad)

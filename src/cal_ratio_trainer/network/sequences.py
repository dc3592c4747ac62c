"""Gate inputs of the recurrence, slot by slot, as all engines read them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.network.engine import on_device


@dataclass(frozen=True)
class Sequences:
    """Gate inputs of a batch of jets, sorted by their number of constituents.

    Attributes:
        gates: [4 units, constituents + 1], kernel times input plus bias, slot by slot (see `batch.Packing`); the last
            column is that of an empty slot.
        counts: number of jets with a constituent at slot 0, 1, ...; these jets come first.
        jets: number of jets.
        slots: number of slots that the recurrence runs over.
        places: [2, slots] int64 on the device of the gates: column of a slot's first constituent, and number of jets
            with a constituent there. Replaces `counts` where the numbers must stay on the device; `gates` may then
            have columns before the last that no jet reads.
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
        """`places`, computed from the counts where they are not given."""
        if self.places is not None:
            return self.places
        if self.counts == (self.jets,) * self.slots:
            # A second LSTM layer has a state at every slot. Nothing is copied from the host here: a CUDA graph would
            # read the host's memory at every replay.
            slot = torch.arange(self.slots, device=self.gates.device)
            return torch.stack([slot * self.jets, torch.full_like(slot, self.jets)])
        return on_device(self.places_array(), self.gates.device)

    def places_array(self) -> NDArray[np.int64]:
        """`places` on the host."""
        if self.places is not None:
            on_host: NDArray[np.int64] = self.places.numpy(force=True)
            return on_host
        filled = np.array(self.filled, dtype=np.int64)
        return np.stack([np.cumsum(filled) - filled, filled])


def keeps_for_backward(sequences: Sequences, recurrent_kernel: Tensor) -> bool:
    """True where a backward pass may follow, for which states have to be kept.

    To be called outside an autograd function's `forward`, in which gradients are always off. `requires_grad` alone does
    not tell: parameters have it in scoring too.
    """
    return torch.is_grad_enabled() and (sequences.gates.requires_grad or recurrent_kernel.requires_grad)

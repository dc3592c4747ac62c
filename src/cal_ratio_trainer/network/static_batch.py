"""Batches of shapes that do not change, made on the device: as a CUDA graph needs them.

Order and constituents of a batch are worked out from its jets' positions on the device, without asking it how
many there are. Room for constituents is fixed; rows that stand in it beyond the real ones hold what an empty slot does
and are read by no jet.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Constituent
from cal_ratio_trainer.network.batch import Batch, BranchBatch, JetTensors, with_masses
from cal_ratio_trainer.network.classifier import JETS_AT_A_TIME, Classifier

Room = Mapping[str, int]
"""By branch, how many constituents a batch has room for."""

_STEPS_OF_ROOM = 16


@dataclass(frozen=True)
class DeviceJets:
    """All jets with their offsets on the device too.

    Attributes:
        jets: all jets of a data set.
        offsets: for each branch [jets + 1] int64, on the device.
    """

    jets: JetTensors
    offsets: Mapping[str, Tensor]

    @classmethod
    def of(cls, jets: JetTensors) -> "DeviceJets":
        """The jets of a data set, their offsets copied to the device."""
        return cls(jets, {name: torch.from_numpy(each).to(jets.device) for name, each in jets.offsets.items()})

    def batch(self, positions: Tensor, room: Room) -> Batch:
        """The jets at positions [jets] int64 on the device, in that order; there must be room for all constituents."""
        jets = self.jets
        branches = {}
        for kind in jets.schema.constituents:
            stored = jets.values[kind.name]
            packed = pack_on_device(self.offsets[kind.name], positions, kind.limit, room[kind.name])
            last = len(stored) - 1
            rows = torch.where(packed.is_real, packed.rows, last)
            values = stored.index_select(0, torch.cat([rows, rows.new_full((1,), last)]))
            if jets.masses.shape[1]:
                masses = jets.masses.index_select(0, positions[packed.owners])
                values = with_masses(values, masses)
            branches[kind.name] = BranchBatch(values, (), packed.inverse, packed.places)
        own = torch.cat([jets.jet.index_select(0, positions), jets.masses.index_select(0, positions)], dim=1)
        return Batch(branches, own)

    @torch.no_grad()
    def logits(self, classifier: Classifier, positions: Tensor) -> Tensor:
        """`classifier.logits_of` for positions [n] int64 on the device, without packing on the host."""
        pieces = torch.split(positions, JETS_AT_A_TIME)
        room = room_for(self, [Positions.of(positions, [len(piece) for piece in pieces])])
        return torch.cat([classifier(self.batch(piece, room)) for piece in pieces])


@dataclass(frozen=True)
class DevicePacking:
    """`packing.Packing` with fixed shape, on the device.

    Attributes:
        rows: [room] int64, positions in the data set's values; without meaning where there is no constituent.
        is_real: [room] bool, where there is one.
        owners: [room] int64, position in the batch of the jet it belongs to.
        inverse: [jets] int64, where each jet of the batch stands among the jets sorted by number of constituents.
        places: [2, slots] int64: where the constituents of a slot begin, and how many jets have one.
    """

    rows: Tensor
    is_real: Tensor
    owners: Tensor
    inverse: Tensor
    places: Tensor


def pack_on_device(offsets: Tensor, positions: Tensor, slots: int, room: int) -> DevicePacking:
    """The packing of some jets of a data set; equal to `packing.pack`, with room to spare.

    Args:
        offsets: [jets of the data set + 1] int64.
        positions: [jets of the batch] int64.
        slots: constituents beyond this many in a jet are not read.
        room: for how many constituents.
    """
    starts = offsets.index_select(0, positions)
    lengths = (offsets.index_select(0, positions + 1) - starts).clamp_(max=slots)
    # Fullest first. A GPU sorts numbers of eight bits in one pass, and of 64 in eight.
    order = torch.argsort((slots - lengths).to(torch.uint8), stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    slot = torch.arange(slots, device=offsets.device)
    filled = (lengths[:, None] > slot).sum(dim=0)
    ends = filled.cumsum(dim=0)
    begins = ends - filled
    place = torch.arange(room, device=offsets.device)
    is_real = place < ends[-1]
    slot_of = torch.searchsorted(ends, place, right=True).clamp_(max=slots - 1)
    owners = order[torch.where(is_real, place - begins[slot_of], 0)]
    return DevicePacking(starts[owners] + slot_of, is_real, owners, inverse, torch.stack([begins, filled]))


@dataclass(frozen=True)
class Positions:
    """Positions of the jets of several batches, on the device.

    Attributes:
        together: int64, those of one batch after the other.
        sizes: jets of each batch.
        ends: [batches + 1] int64, where each batch begins, and the end.
    """

    together: Tensor
    sizes: Sequence[int]
    ends: Tensor

    @classmethod
    def of(cls, together: Tensor, sizes: Sequence[int]) -> "Positions":
        """Positions that lie on the device, of batches of some sizes."""
        return cls(together, sizes, torch.tensor([0, *itertools.accumulate(sizes)], device=together.device))

    @classmethod
    def copied(cls, batches: Sequence[IndexArray], device: torch.device) -> "Positions":
        """Positions [jets] of each batch, copied to the device at once."""
        return cls.of(torch.from_numpy(np.concatenate(batches)).to(device), [len(batch) for batch in batches])

    def by_batch(self) -> tuple[Tensor, ...]:
        """Values of each batch."""
        return torch.split(self.together, list(self.sizes))


def room_for(jets: DeviceJets, parts: Sequence[Positions]) -> dict[str, int]:
    """Room for the constituents of the fullest of some batches, rounded up by at most a sixteenth.

    Rounding keeps the shapes of one epoch those of the next. This waits for the device, once.

    Args:
        jets: of the data set.
        parts: parts of the batches, all with as many batches.
    """
    kinds = jets.jets.schema.constituents
    if not any(len(part.together) for part in parts):
        return {kind.name: 0 for kind in kinds}
    counts = [torch.stack([_constituents(jets, part, kind) for part in parts]).sum(dim=0) for kind in kinds]
    fullest = torch.stack(counts).amax(dim=1).tolist()
    return {kind.name: _rounded(int(most)) for kind, most in zip(kinds, fullest, strict=True)}


def _constituents(jets: DeviceJets, part: Positions, kind: Constituent) -> Tensor:
    """Number of constituents of a kind in each batch, [batches] int64."""
    starts = jets.offsets[kind.name].index_select(0, part.together)
    lengths = (jets.offsets[kind.name].index_select(0, part.together + 1) - starts).clamp_(max=kind.limit)
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(dim=0)])[part.ends].diff()


def _rounded(fullest: int) -> int:
    # Fine enough to waste little, coarse beside the spread between batches.
    step = max(64, 1 << max(0, fullest.bit_length() - _STEPS_OF_ROOM.bit_length()))
    return -(-fullest // step) * step

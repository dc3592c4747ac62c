"""Batches of shapes that do not change, made on the device: as a CUDA graph needs them.

Order and constituents of a batch are worked out from its jets' positions on the device, without asking it how
many there are. Room for constituents is fixed; rows that stand in it beyond the real ones hold what an empty slot does
and are read by no jet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.network.batch import Batch, BranchBatch, JetTensors

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
        for kind in CONSTITUENTS:
            stored = jets.values[kind.name]
            packed = pack_on_device(self.offsets[kind.name], positions, kind.limit, room[kind.name])
            last = len(stored) - 1
            rows = torch.where(packed.is_real, packed.rows, last)
            values = stored.index_select(0, torch.cat([rows, rows.new_full((1,), last)]))
            if jets.masses.shape[1]:
                masses = jets.masses.index_select(0, positions[packed.owners])
                values = torch.cat([values, torch.cat([masses, masses.new_zeros(1, masses.shape[1])])], dim=1)
            branches[kind.name] = BranchBatch(values, (), packed.inverse, packed.places)
        own = torch.cat([jets.jet.index_select(0, positions), jets.masses.index_select(0, positions)], dim=1)
        return Batch(branches, own)


@dataclass(frozen=True)
class DevicePacking:
    """As `packing.Packing`, of fixed shape and on the device.

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


def room_for(jets: DeviceJets, positions: Tensor, sizes: Sequence[int]) -> dict[str, int]:
    """Room for the constituents of the fullest of some batches, rounded up by at most a sixteenth.

    Rounding keeps the shapes of one epoch those of the next. This waits for the device, once.

    Args:
        jets: of the data set.
        positions: of the jets of all batches, one batch after the other, on the device.
        sizes: jets of each batch.
    """
    if not len(positions):
        return {kind.name: 0 for kind in CONSTITUENTS}
    ends = torch.tensor(sizes, device=positions.device).cumsum(dim=0)
    fullest = []
    for kind in CONSTITUENTS:
        starts = jets.offsets[kind.name].index_select(0, positions)
        lengths = (jets.offsets[kind.name].index_select(0, positions + 1) - starts).clamp_(max=kind.limit)
        sums = torch.cat([lengths.new_zeros(1), lengths.cumsum(dim=0)])[torch.cat([ends.new_zeros(1), ends])]
        fullest.append(sums.diff().max())
    return {
        kind.name: _rounded(int(most)) for kind, most in zip(CONSTITUENTS, torch.stack(fullest).tolist(), strict=True)
    }


def _rounded(fullest: int) -> int:
    # Fine enough to waste little, coarse beside the spread between batches.
    step = max(64, 1 << max(0, fullest.bit_length() - _STEPS_OF_ROOM.bit_length()))
    return -(-fullest // step) * step

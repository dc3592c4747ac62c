"""Inputs of the network: the jets of a data set on the device, and the batches drawn from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.jets import Jets, JetScalars
from cal_ratio_trainer.jets.filling import ListFilling
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Constituent, Schema
from cal_ratio_trainer.network.dropout import MaskRows
from cal_ratio_trainer.network.engine import on_device


def pack(offsets: IndexArray, jets: IndexArray, slots: int) -> tuple[IndexArray, tuple[int, ...], IndexArray]:
    """Order in which the recurrence reads the constituents of some jets of a data set.

    Args:
        offsets: [jets of the data set + 1], see `Ragged`.
        jets: [jets of the batch], positions in the data set.
        slots: constituents beyond this many in a jet are not read.

    Returns:
        rows: [constituents] int64, positions in the data set's values: those of slot 0 first, then slot 1, ...
        counts: number of jets with a constituent at slot 0, 1, ...; never increasing; as long as the longest list.
        order: [jets] int64, positions in the batch by falling number of constituents (ties in batch order).
    """
    starts = offsets[jets]
    order, counts = _sorted(np.minimum(offsets[jets + 1] - starts, slots))
    sorted_starts = starts[order]
    rows = np.empty(int(counts.sum()), dtype=np.int64)
    position = 0
    for slot, count in enumerate(counts):
        np.add(sorted_starts[:count], slot, out=rows[position : position + count])
        position += int(count)
    return rows, tuple(int(count) for count in counts), order


def rows_in_whole(
    counts: Sequence[int], order: IndexArray, offsets: IndexArray, jets: IndexArray, share: IndexArray, slots: int
) -> tuple[IndexArray, int]:
    """Positions of the rows of a share of a mini-batch in the order of the whole one.

    Args:
        counts, order: of the share, as `pack` returns them.
        offsets, jets, slots: of the whole mini-batch, as `pack` takes them.
        share: [jets of the share], rising positions in the whole mini-batch.

    Returns:
        [constituents of the share] int64, and how many constituents the whole one has.
    """
    whole_order, whole_counts = _sorted(np.minimum(offsets[jets + 1] - offsets[jets], slots))
    begins, sorted_places = np.cumsum(whole_counts) - whole_counts, inverse_of(whole_order)[share][order]
    rows = [begin + sorted_places[:count] for begin, count in zip(begins, counts, strict=False)]
    return np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64), int(whole_counts.sum())


def inverse_of(order: IndexArray) -> IndexArray:
    """Place of each jet in an order, [jets] int64."""
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def _sorted(lengths: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Order [jets] by falling length, ties in batch order, and counts [longest]; see `pack`."""
    # Lengths are small numbers: as int8 numpy sorts them by radix, in linear time.
    order = np.argsort((-lengths).astype(np.int8), kind="stable")
    longest = int(lengths.max(initial=0))
    jets_by_length = np.bincount(lengths, minlength=longest + 1)
    return order, len(lengths) - np.cumsum(jets_by_length)[:longest]


@dataclass(frozen=True)
class BranchBatch:
    """The constituents of one kind of a batch, in the order of the recurrence (see `pack`).

    Attributes:
        values: [constituents + 1, inputs (+ masses)], slot by slot; the last row is what stands in an empty slot.
        counts: number of jets with a constituent at slot 0, 1, ...
        inverse: [jets] int64, where each jet of the batch stands among the jets sorted by number of constituents.
        places: in place of the counts where they stay on the device (see `sequences.Sequences`); `values` may then
            have rows before the last that no jet reads.
        mask_rows: rows of the dropout masks of the constituents; None if each has its own.
    """

    values: Tensor
    counts: tuple[int, ...]
    inverse: Tensor
    places: Tensor | None = None
    mask_rows: MaskRows | None = None

    def owners(self) -> Tensor:
        """For each row of the values but the last the position in the batch of the jet that it belongs to.

        Returns:
            [constituents] int64; the number of jets for a row that no jet reads.
        """
        jets, rows = len(self.inverse), torch.arange(len(self.values) - 1, device=self.inverse.device)
        filled = (
            torch.tensor(self.counts, dtype=torch.int64, device=rows.device) if self.places is None else self.places[1]
        )
        order = torch.full((jets + 1,), jets, device=rows.device)
        order[self.inverse] = torch.arange(jets, device=rows.device)
        ends = filled.cumsum(dim=0)
        slot = torch.searchsorted(ends, rows, right=True)
        begins = torch.cat([ends - filled, ends[-1:]])
        return order[torch.where(slot < len(ends), rows - begins[slot], jets)]

    def jet_by_jet(self) -> tuple[IndexArray, IndexArray]:
        """The constituents jet by jet, on the host; it waits for the device where the counts lie there.

        Returns:
            [constituents] int64, rows of the values: those of the jet with most constituents first (see `inverse`),
            each jet's in order; and [jets] int64, never increasing, the number of constituents of each.
        """
        filled = self.counts if self.places is None else self.places[1].tolist()
        counts, jets = np.array(filled, dtype=np.int64), np.arange(len(self.inverse))
        lengths = len(counts) - np.searchsorted(counts[::-1], jets, side="right")
        owners = np.repeat(jets, lengths)
        slots = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return (np.cumsum(counts) - counts)[slots] + owners, lengths


@dataclass(frozen=True)
class Batch:
    """A batch of jets.

    Attributes:
        branches: the three branches by name.
        jet: the jets' own numbers [jets, jet inputs (+ masses)].
        mask_rows: rows of the dropout masks of the jets; None if each has its own.
    """

    branches: Mapping[str, BranchBatch]
    jet: Tensor
    mask_rows: MaskRows | None = None


class InputFilling:
    """Collects the constituents of a data set as the network reads them; all jets have the same padding rows.

    Args:
        jets: expected number.
        most: for each branch at least as many constituents as will come; 0 where that is not known.
        folder: folder for files that hold the values; None for memory.
        schema: of the jets.
    """

    def __init__(
        self,
        jets: int,
        most: Mapping[str, int],
        folder: Path | None = None,
        schema: Schema = CALRATIO_2019,
    ) -> None:
        self.schema = schema
        self._fillings = {
            kind.name: ListFilling(len(kind.inputs), jets, most[kind.name] and most[kind.name] + 1, folder)
            for kind in schema.constituents
        }
        self._padding: dict[str, FloatArray] = {}

    def append(self, lists: Mapping[str, Ragged]) -> None:
        """Adds jets. Raises ValueError where their padding rows are not those of the jets before."""
        for kind in self.schema.constituents:
            ragged = lists[kind.name]
            if not np.array_equal(self._padding.setdefault(kind.name, ragged.padding), ragged.padding):
                raise ValueError(f"{kind.name} with different padding rows cannot be read together")
            all_read = len(kind.inputs) == len(kind.features)
            values = ragged.values if all_read else ragged.values.T[list(kind.inputs)].T
            self._fillings[kind.name].append(values, ragged.lengths)

    def finish(self) -> tuple[dict[str, FloatArray], dict[str, IndexArray]]:
        """Values and offsets of all jets, as `JetTensors` has them."""
        for kind in self.schema.constituents:
            padding = self._padding.get(kind.name, np.zeros(len(kind.features), dtype=np.float32))
            self._fillings[kind.name].append_row(padding[list(kind.inputs)])
        found = {name: filling.finish() for name, filling in self._fillings.items()}
        return {name: each[0] for name, each in found.items()}, {name: each[1] for name, each in found.items()}


@dataclass(frozen=True)
class JetTensors:
    """All jets of a data set as the network reads them, in a training also as the losses do.

    Values lie on the device; offsets stay on the host, where the order of a batch is worked out, so that no step waits
    for the device.

    Attributes:
        values: for each branch [constituents + 1, inputs] float32; the last row is what stands in an empty slot.
        offsets: for each branch [jets + 1] int64, on the host.
        jet: [jets, jet inputs] float32.
        masses: [jets, 0, 1 or 2] float32, parametrised masses in TeV.
        schema: schema of the jets.
        target: [jets] int64; class of a main jet, 1 or 0 for data or simulation of a control-region jet. Like the next
            two empty outside of trainings.
        weight: [jets] float32, as the loss uses it.
        region: [jets] uint8, number of a control jet's region; 0 for others.
    """

    values: Mapping[str, Tensor]
    offsets: Mapping[str, IndexArray]
    jet: Tensor
    masses: Tensor
    schema: Schema = CALRATIO_2019
    target: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    region: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))

    @classmethod
    def from_jets(cls, parts: Sequence[Jets], device: torch.device, masses: NDArray[np.float32] | None = None) -> Self:
        """Copies the network's inputs of jets to the device.

        Args:
            parts: tables of jets, one after the other, scaled as `build` does, without non-finite inputs; they need the
                same padding rows.
            device: device of the network.
            masses: [jets, 1 or 2] in TeV for a parametrised network; None otherwise.
        """
        schema = parts[0].schema
        most = {k.name: sum(len(jets.constituents[k.name].values) for jets in parts) for k in schema.constituents}
        filling = InputFilling(sum(map(len, parts)), most, schema=schema)
        for jets in parts:
            filling.append(jets.constituents)
        return cls.of_filling(filling, parts, device, masses)

    @classmethod
    def of_filling(
        cls,
        filling: InputFilling,
        parts: Sequence[JetScalars],
        device: torch.device,
        masses: NDArray[np.float32] | None = None,
    ) -> Self:
        """Copies the network's inputs to their device, or shares memory with them if that is the host.

        Args:
            filling: collected constituents of all jets.
            parts: further tables of the same jets, one after the other.
            device, masses: see `from_jets`.
        """
        values, offsets = filling.finish()
        names = filling.schema.jet_inputs
        own = np.concatenate([np.stack([jets[name] for name in names], axis=1) for jets in parts]).astype(np.float32)
        mass_values = np.zeros((len(own), 0), dtype=np.float32) if masses is None else masses.astype(np.float32)
        return cls(
            values={name: cls.placed(torch.from_numpy(each), device) for name, each in values.items()},
            offsets=offsets,
            jet=torch.from_numpy(own).to(device),
            masses=torch.from_numpy(mass_values).to(device),
            schema=filling.schema,
        )

    def for_training(self, target: Tensor, weight: Tensor, region: Tensor | None = None) -> Self:
        """The same jets with what the losses need, copied to the device; without `region` all are in one."""
        numbers = torch.zeros(len(target), dtype=torch.uint8) if region is None else region
        target, weight, numbers = (each.to(self.device) for each in (target, weight, numbers))
        return replace(self, target=target, weight=weight, region=numbers)

    @staticmethod
    def placed(values: Tensor, device: torch.device) -> Tensor:
        """Values of a branch where they are to lie."""
        return values.to(device)

    def __len__(self) -> int:
        return self.jet.shape[0]

    @property
    def device(self) -> torch.device:
        """Device on which the network reads them."""
        return self.jet.device

    @property
    def gathers(self) -> bool:
        """Constituents lie elsewhere, and those of each step are gathered for it."""
        return False

    @property
    def bytes_on_device(self) -> int:
        """Size in the device's memory. [bytes]"""
        return sum(each.nbytes for each in (*self.values.values(), *self._own))

    @property
    def _own(self) -> tuple[Tensor, ...]:
        """Numbers that lie on the device wherever the constituents are."""
        return self.jet, self.masses, self.target, self.weight, self.region

    def batch(self, jets: IndexArray, share: IndexArray | None = None) -> Batch:
        """Jets as a batch.

        Args:
            jets: their positions, in the order of the batch.
            share: where several processes share a mini-batch, those of its jets that the batch is to have, as rising
                positions in `jets`; they get the dropout masks that they have in the whole one. None takes all.
        """
        places = jets if share is None else jets[share]
        return self.assembled(self.values, self.offsets, places, jets, share)

    def batches(self, pieces: Sequence[IndexArray]) -> Iterator[Batch]:
        """A batch of each of some lists of positions."""
        yield from map(self.batch, pieces)

    def expect(self, jets: Sequence[IndexArray]) -> None:
        """Announces the jets of the coming batches, one list per step; without a list no batches follow.

        Nothing to do where they lie on the device.
        """

    def assembled(
        self,
        values: Mapping[str, Tensor],
        offsets: Mapping[str, IndexArray],
        places: IndexArray,
        jets: IndexArray,
        share: IndexArray | None,
    ) -> Batch:
        """Some jets as a batch.

        Args:
            values, offsets: of these jets among others, the values on the device; see the attributes.
            places: positions of the jets of the batch in those offsets.
            jets, share: see `batch`.
        """
        whole, jets = jets, jets if share is None else jets[share]
        chosen = on_device(jets, self.device)
        branches = {
            kind.name: self.constituents(kind, values[kind.name], offsets[kind.name], places, jets, whole, share)
            for kind in self.schema.constituents
        }
        jet = torch.cat([self.jet.index_select(0, chosen), self.masses.index_select(0, chosen)], dim=1)
        return Batch(branches, jet, None if share is None else MaskRows(on_device(share, self.device), len(whole)))

    def constituents(
        self,
        kind: Constituent,
        stored: Tensor,
        offsets: IndexArray,
        places: IndexArray,
        jets: IndexArray,
        whole: IndexArray | None = None,
        share: IndexArray | None = None,
    ) -> BranchBatch:
        """The constituents of one kind of some jets.

        Args:
            kind: the kind.
            stored, offsets: values and offsets of this kind as `assembled` takes those of all.
            places: positions of the jets of the batch in those offsets.
            jets: positions of the jets whose masses stand beside these constituents.
            whole, share: the jets of the whole mini-batch, and the rising positions of these among them, for the
                dropout masks; None where these are all of them.
        """
        rows, counts, order = pack(offsets, places, kind.limit)
        constituents = stored.index_select(0, on_device(np.append(rows, len(stored) - 1), self.device))
        if self.masses.shape[1]:
            owners = np.concatenate([order[:count] for count in counts]) if counts else np.zeros(0, dtype=np.int64)
            masses = self.masses.index_select(0, on_device(jets[owners], self.device))
            constituents = with_masses(constituents, masses)
        inverse = on_device(inverse_of(order), self.device)
        mask_rows = None
        if whole is not None and share is not None:
            numbers, of = rows_in_whole(counts, order, self.offsets[kind.name], whole, share, kind.limit)
            mask_rows = MaskRows(on_device(numbers, self.device), of)
        return BranchBatch(constituents, counts, inverse, mask_rows=mask_rows)


def with_masses(constituents: Tensor, masses: Tensor) -> Tensor:
    """Constituents [n + 1, inputs], followed by the masses [n, masses] of their jets; 0 in the last row."""
    return torch.cat([constituents, torch.cat([masses, masses.new_zeros(1, masses.shape[1])])], dim=1)

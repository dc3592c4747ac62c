"""Order of the constituents of a batch: slot by slot, jets with more constituents first."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.jets.ragged import IndexArray


@dataclass(frozen=True)
class Packing:
    """The constituents of one kind of a batch of jets, in the order the recurrence reads them.

    Attributes:
        rows: [constituents] int64, positions in the data set's values: those of slot 0 first, then slot 1, ...
        counts: number of jets with a constituent at slot 0, 1, ...; never increasing; as long as the longest list.
        order: [jets] int64, positions in the batch by falling number of constituents (ties in batch order).
        inverse: [jets] int64, where each jet of the batch stands in `order`.
    """

    rows: IndexArray
    counts: tuple[int, ...]
    order: IndexArray
    inverse: IndexArray

    def owners(self) -> IndexArray:
        """For each row the position in the batch of the jet it belongs to, [constituents] int64."""
        if not self.counts:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([self.order[:count] for count in self.counts])


def pack(offsets: IndexArray, jets: IndexArray, slots: int) -> Packing:
    """The packing of some jets of a data set.

    Args:
        offsets: [jets of the data set + 1], see `Ragged`.
        jets: [jets of the batch], positions in the data set.
        slots: constituents beyond this many in a jet are not read.
    """
    starts = offsets[jets]
    order, inverse, counts = _sorted(np.minimum(offsets[jets + 1] - starts, slots))
    sorted_starts = starts[order]
    rows = np.empty(int(counts.sum()), dtype=np.int64)
    position = 0
    for slot, count in enumerate(counts):
        np.add(sorted_starts[:count], slot, out=rows[position : position + count])
        position += int(count)
    return Packing(rows, tuple(int(count) for count in counts), order, inverse)


def rows_in_whole(
    packing: Packing, offsets: IndexArray, jets: IndexArray, share: IndexArray, slots: int
) -> tuple[IndexArray, int]:
    """Positions of the rows of a share of a mini-batch in the packing of the whole one.

    Args:
        packing: of the share.
        offsets, jets, slots: of the whole mini-batch, as `pack` takes them.
        share: [jets of the share], rising positions in the whole mini-batch.

    Returns:
        [constituents of the share] int64, and how many constituents the whole one has.
    """
    _, inverse, counts = _sorted(np.minimum(offsets[jets + 1] - offsets[jets], slots))
    begins, sorted_places = np.cumsum(counts) - counts, inverse[share][packing.order]
    rows = [begin + sorted_places[:count] for begin, count in zip(begins, packing.counts, strict=False)]
    return np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64), int(counts.sum())


def _sorted(lengths: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Order and inverse [jets] by falling length, ties in batch order, and counts [longest]; see `Packing`."""
    # Lengths are small numbers: as int8 numpy sorts them by radix, in linear time.
    order = np.argsort((-lengths).astype(np.int8), kind="stable")
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    longest = int(lengths.max(initial=0))
    jets_by_length = np.bincount(lengths, minlength=longest + 1)
    return order, inverse, len(lengths) - np.cumsum(jets_by_length)[:longest]

"""In which order the constituents of a batch are read: slot by slot, jets with more constituents first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """The constituents of one kind of a batch of jets, in the order the recurrence reads them.

    Attributes:
        rows: [constituents] int64, positions in the data set's values: those of slot 0 first, then slot 1, ...
        counts: how many jets have a constituent at slot 0, 1, ...; never rising; as long as the longest list.
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
    lengths = np.minimum(offsets[jets + 1] - starts, slots)
    # Lengths are small numbers: as int8 numpy sorts them by radix, in linear time.
    order = np.argsort((-lengths).astype(np.int8), kind="stable")
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    longest = int(lengths.max(initial=0))
    jets_by_length = np.bincount(lengths, minlength=longest + 1)
    counts = len(jets) - np.cumsum(jets_by_length)[:longest]
    sorted_starts = starts[order]
    rows = np.empty(int(counts.sum()), dtype=np.int64)
    position = 0
    for slot, count in enumerate(counts):
        np.add(sorted_starts[:count], slot, out=rows[position : position + count])
        position += int(count)
    return Packing(rows, tuple(int(count) for count in counts), order, inverse)

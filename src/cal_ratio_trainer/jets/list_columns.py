"""The constituents of a batch of jets feature by feature: as Parquet stores them, and as cleaning looks at them.

Whoever wants the features of one constituent together takes a `Ragged`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged


@dataclass(frozen=True)
class ListColumns:
    """The constituents of one kind of some jets.

    Attributes:
        values: [features, constituents] float32, in jet order.
        lengths: [jets] int64, how many constituents each jet has.
        padding: [features] float32, see `Ragged`.
    """

    values: FloatArray
    lengths: IndexArray
    padding: FloatArray

    @classmethod
    def of(cls, ragged: Ragged) -> "ListColumns":
        """The same constituents, copied."""
        return cls(ragged.values.T.copy(), ragged.lengths, ragged.padding)

    @classmethod
    def viewing(cls, ragged: Ragged) -> "ListColumns":
        """The same constituents, sharing memory: slower to look at feature by feature."""
        return cls(ragged.values.T, ragged.lengths, ragged.padding)

    def ragged(self) -> Ragged:
        """The same constituents, sharing memory: those of one feature stay together."""
        return Ragged.from_lengths(self.values.T, self.lengths, self.padding)

    def where(self, kept: NDArray[np.bool_]) -> "ListColumns":
        """Rows of the jets for which `kept` [jets] is true, in order; shares memory if these are all."""
        if kept.all():
            return self
        rows = np.flatnonzero(np.repeat(kept, self.lengths))
        return ListColumns(self.values.take(rows, axis=1), self.lengths[kept], self.padding)

    def filled(self, slots: int) -> "ListColumns":
        """Every empty slot as a constituent, see `Ragged.filled`."""
        return ListColumns.of(self.ragged().filled(slots))

"""Lists of different lengths in one array: the constituents of one kind for many jets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """The constituents of one kind: jet j has the rows `values[offsets[j]:offsets[j + 1]]`.

    Attributes:
        values: [constituents, features] float32, in memory constituent by constituent (C order) or feature by feature
            (Fortran order), as they came: Parquet files are read feature by feature.
        offsets: [jets + 1] int64, starting at 0, never falling, ending at the number of constituents.
        padding: [features] float32, values of a slot without constituent (zeros in files of this program; a legacy file
            may have been scaled together with its empty slots).
    """

    values: FloatArray
    offsets: IndexArray
    padding: FloatArray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.padding.shape != self.values.shape[1:]:
            raise ValueError(f"values {self.values.shape} and padding {self.padding.shape} do not fit")
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError("offsets must start at 0 and end at the number of constituents")
        if np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets must not fall")

    @classmethod
    def from_lengths(
        cls, values: FloatArray, lengths: NDArray[np.integer], padding: FloatArray | None = None
    ) -> "Ragged":
        """Builds it from values [constituents, features] in jet order and the number of constituents of each jet."""
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        zeros = np.zeros(values.shape[1], dtype=np.float32)
        return cls(np.asarray(values, dtype=np.float32), offsets, zeros if padding is None else padding)

    @classmethod
    def from_padded(cls, padded: FloatArray, padding: FloatArray) -> "Ragged":
        """Builds it from [jets, slots, features]; empty slots after the last filled one are dropped.

        A slot is empty when all its features are the padding's or NaN. One between filled ones stays, as a
        constituent with the padding's values; a NaN in a filled slot stays too.
        """
        filled = np.any((padded != padding) & (padded == padded), axis=2)
        slots = padded.shape[1]
        lengths = np.where(filled.any(axis=1), slots - np.argmax(filled[:, ::-1], axis=1), 0)
        kept = np.arange(slots)[None, :] < lengths[:, None]
        values = padded[kept]
        values[~filled[kept]] = padding
        return cls.from_lengths(values, lengths, padding)

    @classmethod
    def empty(cls, features: int, jets: int = 0) -> "Ragged":
        """`jets` jets without any constituent."""
        return cls.from_lengths(np.zeros((0, features), dtype=np.float32), np.zeros(jets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IndexArray:
        """Number of constituents of each jet, [jets] int64."""
        return np.diff(self.offsets)

    def owners(self) -> IndexArray:
        """For each constituent the position of its jet, [constituents] int64."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def slots(self) -> IndexArray:
        """For each constituent its position in its jet's list, [constituents] int64."""
        return np.arange(len(self.values), dtype=np.int64) - np.repeat(self.offsets[:-1], self.lengths)

    def slice(self, start: int, stop: int) -> "Ragged":
        """Jets start to stop, sharing memory with this."""
        first, last = self.offsets[start], self.offsets[stop]
        return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first, self.padding)

    def take(self, jets: IndexArray) -> "Ragged":
        """The jets at the given positions, in that order; a position may come more than once."""
        # Arrow copies all that a jet holds in one go; numpy would look up every constituent.
        values = np.ascontiguousarray(self.values)
        bytes_each = values.itemsize * values.shape[1]
        buffers = [None, pa.py_buffer(self.offsets * bytes_each), pa.py_buffer(values)]
        taken = pa.Array.from_buffers(pa.large_binary(), len(self), buffers).take(pa.array(jets, pa.int64()))
        _, ends, content = taken.buffers()
        offsets = np.frombuffer(ends, dtype=np.int64)[: len(jets) + 1] // bytes_each
        rows = np.frombuffer(content, dtype=np.float32).reshape(-1, values.shape[1])
        return Ragged(rows[: offsets[-1]], offsets, self.padding)

    def where(self, kept: NDArray[np.bool_]) -> "Ragged":
        """The jets for which `kept` [jets] is true, in order; shares memory if it is true for all."""
        if kept.all():
            return self
        rows = np.flatnonzero(np.repeat(kept, self.lengths))
        return Ragged.from_lengths(self.values.T.take(rows, axis=1).T, self.lengths[kept], self.padding)

    def with_values(self, values: FloatArray) -> "Ragged":
        """The same lists with other values [constituents, features]."""
        return Ragged(np.asarray(values, dtype=np.float32), self.offsets, self.padding)

    def padded(self, slots: int) -> FloatArray:
        """[jets, slots, features]: each list at the front of its row, padding behind it; longer lists are cut."""
        result = np.broadcast_to(self.padding, (len(self), slots, len(self.padding))).copy()
        slot = self.slots()
        kept = slot < slots
        result[self.owners()[kept], slot[kept]] = self.values[kept]
        return result

    def filled(self, slots: int) -> "Ragged":
        """Every empty slot as a constituent with the padding's values; the padding row of the result is zero."""
        values = self.padded(slots).reshape(-1, len(self.padding))
        return Ragged.from_lengths(values, np.full(len(self), slots))

    @staticmethod
    def concatenate(parts: Sequence["Ragged"]) -> "Ragged":
        """One after the other.

        Raises:
            ValueError: the parts have different padding, so no common padding row exists.
        """
        first = parts[0]
        if any(not np.array_equal(part.padding, first.padding) for part in parts):
            raise ValueError("lists with different padding rows cannot be joined")
        return Ragged.from_lengths(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            first.padding,
        )

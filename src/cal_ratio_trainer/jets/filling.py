"""Joins many batches into one array that is allocated once, in memory or in a file mapped into it."""

import errno
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, ListColumns, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.jets.table import Jets

_GROWTH = 1.1
_LARGE = 1 << 22
"""An array from this many bytes on is mapped for itself."""
_UNKNOWN: Mapping[str, int] = MappingProxyType({})


class Rows(Protocol):
    """An array [rows, columns] float32 that is filled from front to back, wherever it lies."""

    def append(self, values: FloatArray) -> None:
        """Adds rows; `values` [columns, rows]."""

    def finish(self) -> FloatArray:
        """All rows."""


class Storage(Protocol):
    """Storage of arrays of constituents."""

    def rows(self, columns: int, max_rows: int) -> Rows:
        """An empty array; `max_rows` is an upper bound of its rows, or 0 where that is not known."""


class RowsInMemory:
    """Rows in memory."""

    def __init__(self, columns: int, max_rows: int) -> None:
        self._values = _untouched(max_rows, columns)
        self._end = 0

    def append(self, values: FloatArray) -> None:
        """See `Rows`."""
        start, self._end = self._end, self._end + values.shape[1]
        if self._end > len(self._values):  # only where no upper bound was known
            # Grows in place where the system can move pages; numpy zeroes what is added, so the steps are small.
            rows = max(self._end, int(_GROWTH * len(self._values)))
            self._values.resize((rows, self._values.shape[1]), refcheck=False)
        self._values[start : self._end] = values.T

    def finish(self) -> FloatArray:
        """See `Rows`."""
        return self._values[: self._end]


def _untouched(rows: int, columns: int) -> FloatArray:
    """An array without content. Memory that is never written to is never taken, so an upper bound costs nothing."""
    size = rows * columns * np.dtype(np.float32).itemsize
    if size < _LARGE or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty((rows, columns), dtype=np.float32)
    # Mapped for itself, and so given back when it is done with. For arrays of its own numpy asks for large pages, for
    # which the kernel has to clear room first: where memory is in pieces, that takes several times as long as the copy.
    mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(mapping, dtype=np.float32).reshape(rows, columns)


class Memory:
    """Arrays in memory."""

    def rows(self, columns: int, max_rows: int) -> Rows:
        """See `Storage`."""
        return RowsInMemory(columns, max_rows)


class ListFilling:
    """The constituents of one kind while they come.

    Args:
        columns: number of features of a constituent.
        jets: expected number of jets.
        max_rows: largest number of constituents; 0 if unknown.
        storage: their place.
    """

    def __init__(self, columns: int, jets: int, max_rows: int = 0, storage: Storage | None = None) -> None:
        self._rows = (storage or Memory()).rows(columns, max_rows)
        self._offsets = np.zeros(jets + 1, dtype=np.int64)
        self._jets = 0

    def append(self, values: FloatArray, lengths: IndexArray) -> None:
        """Adds jets: their constituents' `values` [columns, constituents], and how many each has [jets]."""
        self._rows.append(values)
        places = self._offsets[self._jets : self._jets + len(lengths) + 1]
        np.cumsum(lengths, out=places[1:])
        places[1:] += places[0]
        self._jets += len(lengths)

    def append_row(self, row: FloatArray) -> None:
        """Adds a row [columns] that belongs to no jet."""
        self._rows.append(row[:, None])

    def finish(self) -> tuple[FloatArray, IndexArray]:
        """Values [rows, columns] and offsets [jets + 1]."""
        return self._rows.finish(), self._offsets


class WholeLists:
    """Complete constituents of all kinds while they come; see `ListFilling`.

    Args:
        jets: expected number.
        max_constituents: for each kind's name an upper bound of their number, where it is known.
        storage: holds the values; None for memory.
        schema: of the jets.
    """

    def __init__(
        self,
        jets: int,
        max_constituents: Mapping[str, int] = _UNKNOWN,
        storage: Storage | None = None,
        schema: Schema = CALRATIO_2019,
    ) -> None:
        widths = {kind.name: len(kind.features) for kind in schema.constituents}
        self._fillings = {
            n: ListFilling(width, jets, max_constituents.get(n, 0), storage) for n, width in widths.items()
        }
        self._padding = {name: np.zeros(width, dtype=np.float32) for name, width in widths.items()}

    def append(self, lists: Mapping[str, ListColumns]) -> None:
        """Adds jets; all have the same padding rows."""
        for name, columns in lists.items():
            self._fillings[name].append(columns.values, columns.lengths)
            self._padding[name] = columns.padding

    def finish(self) -> dict[str, Ragged]:
        """Results by kind."""
        return {name: Ragged(*filling.finish(), self._padding[name]) for name, filling in self._fillings.items()}


def join_batches(batches: Iterable[Jets], jets: int) -> Jets:
    """One table of all batches of a frame; each batch is free as soon as it is copied.

    Args:
        batches: with the same columns and padding rows, and the features of 2019.
        jets: number of jets in total.
    """
    lists = WholeLists(jets)
    scalars: list[pa.Table] = []
    for batch in batches:
        scalars.append(batch.scalars)
        lists.append(
            {name: ListColumns(each.values.T, each.lengths, each.padding) for name, each in batch.constituents.items()}
        )
    if not scalars:
        return Jets.empty()
    table = pa.concat_tables(scalars).unify_dictionaries().combine_chunks()
    return Jets(table, lists.finish())


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomOnDisk(UserError):
    """A folder has no room, or cannot be written, for the constituents of the jets."""


class Disk:
    """Arrays in files without a name: they are gone with the process, however it ends.

    Args:
        folder: folder on the file system that holds them; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, columns: int, max_rows: int) -> Rows:
        """See `Storage`. Raises NoRoomOnDisk."""
        return RowsOnDisk(columns, self.folder)


class RowsOnDisk:
    """Rows in a file; nothing of them stays in memory but what the system keeps of files as long as there is room."""

    def __init__(self, columns: int, folder: Path) -> None:
        self._columns, self._folder = columns, folder
        with self._trouble_named():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the array

    def append(self, values: FloatArray) -> None:
        """See `Rows`. Raises NoRoomOnDisk."""
        with self._trouble_named():
            self._file.write(np.ascontiguousarray(values.T).data)

    def finish(self) -> FloatArray:
        """See `Rows`; the file goes with the array. Raises NoRoomOnDisk."""
        with self._trouble_named(), self._file as file:
            file.flush()
            if not file.tell():
                return np.empty((0, self._columns), dtype=np.float32)
            mapping = mmap.mmap(file.fileno(), 0)
        if hasattr(mmap, "MADV_RANDOM"):
            # Jets are read in the order of a permutation: what stands behind one is not what is wanted next.
            mapping.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapping, dtype=np.float32).reshape(-1, self._columns)

    @contextmanager
    def _trouble_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "is full" if error.errno in _FULL else f"cannot be written ({error.strerror})"
            raise NoRoomOnDisk(
                f"{self._folder} {reason}, but data_place disk stores the constituents of the jets there; set "
                "cache_path to another folder"
            ) from error

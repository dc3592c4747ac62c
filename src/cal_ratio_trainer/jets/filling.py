"""Joins the constituents of many batches in one array that is allocated once, in memory or in a file mapped into it."""

import errno
import mmap
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema

_GROWTH = 1.1
_LARGE = 1 << 22
"""Size from which an array is mapped for itself. [bytes]"""
_UNKNOWN: Mapping[str, int] = MappingProxyType({})
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomOnDisk(UserError):
    """A folder has no room, or cannot be written, for the constituents of the jets."""


class Rows(Protocol):
    """An array [rows, columns] float32 that is filled from front to back."""

    def append(self, values: FloatArray) -> None:
        """Adds rows [rows, columns]."""

    def finish(self) -> FloatArray:
        """All rows."""


class RowsInMemory:
    """Rows in memory.

    Args:
        columns: number of columns.
        max_rows: upper bound of the number of rows; 0 if unknown.
    """

    def __init__(self, columns: int, max_rows: int) -> None:
        # Memory that is never written to is never taken, so an upper bound costs nothing.
        size = max_rows * columns * np.dtype(np.float32).itemsize
        if size < _LARGE or not hasattr(mmap, "MAP_PRIVATE"):
            self._values = np.empty((max_rows, columns), dtype=np.float32)
        else:
            # Mapped for itself, and so given back when it is done with. For arrays of its own numpy asks for large
            # pages, for which the kernel has to clear room first: where memory is in pieces, that takes several times
            # as long as the copy.
            mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._values = np.frombuffer(mapping, dtype=np.float32).reshape(max_rows, columns)
        self._end = 0

    def append(self, values: FloatArray) -> None:
        """See `Rows`."""
        start, self._end = self._end, self._end + len(values)
        if self._end > len(self._values):  # only if no upper bound was known
            # Grows in place where the system can move pages; numpy zeroes what is added, so the steps are small.
            rows = max(self._end, int(_GROWTH * len(self._values)))
            self._values.resize((rows, self._values.shape[1]), refcheck=False)
        self._values[start : self._end] = values

    def finish(self) -> FloatArray:
        """See `Rows`."""
        return self._values[: self._end]


class RowsOnDisk:
    """Rows in a file without a name, which is gone with the process, however that ends.

    Nothing of them stays in memory but what the system keeps of files as long as there is room.

    Args:
        columns: number of columns.
        folder: folder on the file system that holds the file; made if it is missing.

    Raises:
        NoRoomOnDisk: the folder is full or cannot be written; also raised by the methods.
    """

    def __init__(self, columns: int, folder: Path) -> None:
        self._columns, self._folder = columns, folder
        with self._trouble_named():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the array

    def append(self, values: FloatArray) -> None:
        """See `Rows`."""
        with self._trouble_named():
            self._file.write(np.ascontiguousarray(values).data)

    def finish(self) -> FloatArray:
        """See `Rows`; the file goes with the array."""
        with self._trouble_named(), self._file as file:
            file.flush()
            if not file.tell():
                return np.empty((0, self._columns), dtype=np.float32)
            mapping = mmap.mmap(file.fileno(), 0)
        if hasattr(mmap, "MADV_RANDOM"):
            # Jets are read in the order of a permutation: the next bytes in the file are not the next to be read.
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


class ListFilling:
    """The constituents of one kind while they come.

    Args:
        columns: number of features of a constituent.
        jets: expected number of jets.
        max_rows: upper bound of the number of constituents; 0 if unknown.
        folder: folder for a file that holds the values; None for memory.
    """

    def __init__(self, columns: int, jets: int, max_rows: int = 0, folder: Path | None = None) -> None:
        self._rows: Rows = RowsInMemory(columns, max_rows) if folder is None else RowsOnDisk(columns, folder)
        self._offsets = np.zeros(jets + 1, dtype=np.int64)
        self._jets = 0

    def append(self, values: FloatArray, lengths: IndexArray) -> None:
        """Adds jets: the `values` [constituents, columns], and how many each jet has [jets]."""
        self._rows.append(values)
        places = self._offsets[self._jets : self._jets + len(lengths) + 1]
        np.cumsum(lengths, out=places[1:])
        places[1:] += places[0]
        self._jets += len(lengths)

    def append_row(self, row: FloatArray) -> None:
        """Adds a row [columns] that belongs to no jet."""
        self._rows.append(row[None])

    def finish(self) -> tuple[FloatArray, IndexArray]:
        """Values [rows, columns] and offsets [jets + 1]."""
        return self._rows.finish(), self._offsets


class WholeLists:
    """Complete constituents of all kinds while they come.

    Args:
        jets: expected number of jets.
        max_constituents: upper bound of the number of constituents by kind's name, if it is known.
        folder: see `ListFilling`.
        schema: features of the jets.
    """

    def __init__(
        self,
        jets: int,
        max_constituents: Mapping[str, int] = _UNKNOWN,
        folder: Path | None = None,
        schema: Schema = CALRATIO_2019,
    ) -> None:
        widths = {kind.name: len(kind.features) for kind in schema.constituents}
        self._fillings = {
            name: ListFilling(width, jets, max_constituents.get(name, 0), folder) for name, width in widths.items()
        }
        self._padding = {name: np.zeros(width, dtype=np.float32) for name, width in widths.items()}

    def append(self, lists: Mapping[str, Ragged]) -> None:
        """Adds jets; all have the same padding rows."""
        for name, ragged in lists.items():
            self._fillings[name].append(ragged.values, ragged.lengths)
            self._padding[name] = ragged.padding

    def finish(self) -> dict[str, Ragged]:
        """Constituents of all jets by kind's name."""
        return {name: Ragged(*filling.finish(), self._padding[name]) for name, filling in self._fillings.items()}

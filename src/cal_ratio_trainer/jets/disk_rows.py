"""Arrays that are filled on disk and mapped into memory: for constituents that memory is too small for."""

import errno
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.filling import Rows
from cal_ratio_trainer.jets.ragged import FloatArray

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomOnDisk(UserError):
    """A folder has no room, or cannot be written, for the constituents of the jets."""


class Disk:
    """Arrays in files without a name: they are gone with the process, however it ends.

    Args:
        folder: whose file system holds them; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, columns: int, most: int) -> Rows:
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
                f"{self._folder} {reason}, and the constituents of the jets were to lie there (data_place disk); "
                "cache_path names another folder"
            ) from error

"""Arrays that are filled on disk."""

import errno
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.jets.filling import NoRoomOnDisk, RowsInMemory, RowsOnDisk


def test_rows_on_disk_are_those_in_memory_and_leave_no_file(tmp_path: Path) -> None:
    blocks = [np.random.default_rng(1).random((length, 3)).astype(np.float32) for length in (5, 0, 7)]
    disk, memory = RowsOnDisk(3, tmp_path / "cache"), RowsInMemory(3, 0)
    for block in blocks:
        disk.append(block)
        memory.append(block)
    assert list((tmp_path / "cache").iterdir()) == []
    found = disk.finish()
    np.testing.assert_array_equal(found, memory.finish())
    assert found.shape == (12, 3)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_array_without_rows_is_one() -> None:
    assert RowsInMemory(3, 10).finish().shape == (0, 3)


def test_no_rows_on_disk_are_an_array_without_rows(tmp_path: Path) -> None:
    assert RowsOnDisk(4, tmp_path).finish().shape == (0, 4)


def test_an_upper_bound_that_is_too_low_costs_time_only() -> None:
    rows = RowsInMemory(2, 1)
    for _ in range(3):
        rows.append(np.ones((4, 2), dtype=np.float32))
    np.testing.assert_array_equal(rows.finish(), np.ones((12, 2)))


def test_a_full_disk_is_told_with_the_folder_and_what_to_do(tmp_path: Path) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    rows = RowsOnDisk(1, tmp_path)
    rows._file = Full()  # type: ignore[assignment]
    with pytest.raises(NoRoomOnDisk, match=rf"{tmp_path.name} is full.*set cache_path to another folder"):
        rows.append(np.ones((1, 1), dtype=np.float32))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoRoomOnDisk, match=r"file/cache cannot be written \(Not a directory\)"):
        RowsOnDisk(1, tmp_path / "file" / "cache")

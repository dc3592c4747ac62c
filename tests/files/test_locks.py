"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

from cal_ratio_trainer.files.leases import leased

HOLD = """
import sys
from pathlib import Path
from cal_ratio_trainer.files.leases import leased
with leased(Path(sys.argv[1])) as lease:
    print(lease is not None, flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    """Process that holds the lock of a file until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_lock_is_held_by_one_process_at_a_time_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    with holder(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with leased(path) as lease:
            assert lease is None
        other.communicate("")
    with leased(path) as lease:
        assert lease is not None
    assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with holder(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
    with leased(path) as lease:
        assert lease is not None


def test_a_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        with leased(path):
            raise RuntimeError("failed")
    except RuntimeError:
        pass
    with leased(path) as lease:
        assert lease is not None

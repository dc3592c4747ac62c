"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

from cal_ratio_trainer.files.locks import held

HOLD = """
import sys
from pathlib import Path
from cal_ratio_trainer.files.locks import held
with held(Path(sys.argv[1])) as free:
    print(free, flush=True)
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
        with held(path) as free:
            assert not free
        other.communicate("")
    with held(path) as free:
        assert free
    assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with holder(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
    with held(path) as free:
        assert free


def test_a_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        with held(path):
            raise RuntimeError("failed")
    except RuntimeError:
        pass
    with held(path) as free:
        assert free

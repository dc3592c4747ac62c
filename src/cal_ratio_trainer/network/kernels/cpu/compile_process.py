"""A process that compiles half of the CPU engine's loops beside this one: numba compiles one at a time in each."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cal_ratio_trainer.workers.processes import available_cores

_PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
from cal_ratio_trainer.network.kernels.cpu.recurrence import compile_kernels
compile_kernels()
"""


@contextmanager
def recurrence_beside() -> Iterator["subprocess.Popen[bytes] | None"]:
    """The process, which leaves the recurrence's loops on disk; None where they are there, or it would not help."""
    process = None
    if available_cores() > 1 and _nothing_is_kept():
        # Without it this process compiles them too, and takes longer.
        with suppress(OSError):
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    try:
        yield process
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _nothing_is_kept() -> bool:
    from cal_ratio_trainer.network.kernels.cpu import recurrence

    folder = recurrence.recurrence_backward.stats.cache_path  # type: ignore[attr-defined]
    if folder is None:
        return False
    source = Path(recurrence.__file__)
    try:
        written = [each.stat().st_mtime for each in Path(folder).glob(f"{source.stem}.*.nbi")]
        # What an earlier version of the file left counts for nothing.
        return not any(time >= source.stat().st_mtime for time in written)
    except OSError:
        # Another process is at it.
        return False

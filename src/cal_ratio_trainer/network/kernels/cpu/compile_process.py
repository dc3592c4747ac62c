"""A process that compiles half of the CPU engine's loops beside this one: numba compiles one at a time in each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cal_ratio_trainer.workers.child import Child, ChildDied
from cal_ratio_trainer.workers.executor import Report, Task
from cal_ratio_trainer.workers.processes import available_cores


@contextmanager
def recurrence_beside() -> Iterator[Child | None]:
    """Child that leaves the recurrence's loops on disk; None where they are there, or it would not help."""
    child = None
    if os.name == "posix" and available_cores() > 1 and _nothing_is_kept():
        # Without it this process compiles them too, and takes longer.
        with suppress(OSError, ChildDied):
            child = Child(is_silent=True)
            child.send(Task((0, 0), _compile_recurrence, ()))
    try:
        yield child
    finally:
        if child is not None:
            child.kill()


def _compile_recurrence(report: Report) -> None:
    from cal_ratio_trainer.network.kernels.cpu.recurrence import compile_kernels

    compile_kernels()


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

"""The largest memory that this process has held, and what it holds of its own."""

import resource
import threading
from pathlib import Path
from typing import Self


def peak_bytes() -> int:
    """The peak of this process alone. [bytes]

    On Linux from /proc, for getrusage hands a parent's peak on to the processes that it starts.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class AnonymousPeak:
    """Within it, looks every 20 ms how much memory this process holds that is its own, pages of files left out.

    Attributes:
        bytes: the most that was seen; 0 where the system does not say.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.bytes = max(self.bytes, anonymous_bytes())


def anonymous_bytes() -> int:
    """What this process holds of its own at this moment. [bytes]"""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)

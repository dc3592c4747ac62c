"""Peak memory and anonymous memory of this process."""

import resource
import threading
from pathlib import Path
from typing import Self


def peak_bytes() -> int:
    """Peak memory of this process alone. [bytes]

    On Linux from /proc, because getrusage includes the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class AnonymousPeak:
    """Context that records every 20 ms the anonymous memory of this process, without pages of files.

    Attributes:
        bytes: Largest value seen; 0 if the system does not provide it.
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
    """Anonymous memory of this process at this moment. [bytes]"""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)

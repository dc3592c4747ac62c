"""Names processes so that others can tell whether they still run."""

import hashlib
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEAD = ("Z", "X")
_MAX_PID = 2**31 - 1


@dataclass(frozen=True)
class ProcessName:
    """A process.

    Attributes:
        host: the name of its machine, for messages.
        machine: identifies the machine, this boot of it and the container; empty if that is not known.
        pid: process number there.
        start: when it was started, as the machine counts; empty if that is not known.
    """

    host: str
    machine: str
    pid: int
    start: str

    def as_json(self) -> dict[str, Any]:
        """The same for a file."""
        return {"host": self.host, "machine": self.machine, "process": self.pid, "process_start": self.start}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "ProcessName":
        """Reads the output of `as_json`. Raises KeyError, TypeError and ValueError for anything else."""
        pid = content["process"]
        if type(pid) is not int or not 0 < pid <= _MAX_PID:
            raise ValueError(f"{pid!r} is not a process number")
        return cls(str(content["host"]), str(content["machine"]), pid, str(content["process_start"]))

    @property
    def tag(self) -> str:
        """Hash of machine (8 hexadecimal digits) and start (4), for file names; see `is_gone_by_tag`."""
        return _digits(self.machine, 8) + _digits(self.start, 4)


def is_gone(process: ProcessName) -> bool:
    """True if a process is known to have ended: it ran on this machine, and no longer does."""
    if not process.machine or process.machine != _machine():
        return False
    return _has_ended(process.pid, lambda start: start == process.start)


def is_gone_by_tag(pid: int, tag: str) -> bool:
    """`is_gone` for a process of which only number and tag are known."""
    machine = _machine()
    if not machine or not 0 < pid <= _MAX_PID or not tag.startswith(_digits(machine, 8)):
        return False
    return _has_ended(pid, lambda start: tag.endswith(_digits(start, 4)))


def _has_ended(pid: int, is_its_start: Callable[[str], bool]) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        # It runs, and belongs to another user.
        return False
    state, start = _state_and_start(pid)
    if not state:
        # Unknown (hidden processes, no free descriptor, macOS): taken to be alive.
        return False
    # A number may have been given to another process by now, and a dead one that nobody waited for keeps its own.
    return state in _DEAD or not is_its_start(start)


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


def this_process() -> ProcessName:
    """The process that asks."""
    pid = os.getpid()
    return ProcessName(socket.gethostname(), _machine(), pid, _state_and_start(pid)[1])


def _machine() -> str:
    """Identifies the boot of this machine and the container, because process numbers are unique only within them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        # A link that is no path, so it is read and not followed.
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        # A Mac has no containers of its own, so its name is enough; elsewhere it may be that of several containers.
        return socket.gethostname() if sys.platform == "darwin" else ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """Letter of the state and time of the start of a process; both empty if the machine does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""

"""Leases: small files beside outputs that say which process is working on them, renewed by heartbeats.

Locks of the kernel (flock) do not work on every network file system (NFS, Lustre, EOS), and `filelock`'s lock files do
not say whether their process, perhaps on another machine, still runs. Leases need only three guarantees: exclusive
creation of a file, a rename that replaces, and modification times.

A stale lease is replaced by a rename. If two processes do that at once, the later one has the lease. The earlier one
notices that before it begins, or, if it was suspended at that moment, in `Lease.is_lost`. An owner that must be the
only one asks before each write; files that appear by a rename and are equal need not.

Clocks of different hosts are never compared. The age of a lease is the modification time of a file made just now in
the same folder less that of the lease; a file server sets both. Where the hosts set them, their clocks may differ.
Therefore a lease that looks stale is first watched for some heartbeats by the watcher's own clock, and one from the
future, left by a clock that was set back, for its timeout as well. A wrong clock can delay a takeover, not cause one.

Lease files are untrusted input, since anybody with access to the folder can write them: no content becomes a path,
links are not followed, and a file that is not a lease counts as a lease of an unknown holder.
"""

import contextlib
import errno
import json
import logging
import math
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cal_ratio_trainer.files.atomic import create, sweep_once, temporary_for
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 120.0
HEARTBEATS = 6
"""Heartbeats per timeout."""
_WATCHED_HEARTBEATS = 2.0
_SETTLED_AFTER_S = 0.1
"""Time after which a process that replaced a stale lease looks whether another one did so after it. [s]"""
_MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""Upper limit on the timeout that a lease file may state. [s]"""
_MAX_BYTES = 1 << 16
_MAX_ATTEMPTS = 10
_POLL_S = (0.05, 1.0)
"""Shortest and longest time between two looks of `held_in_turn`. [s]"""
_swept: set[tuple[int, Path]] = set()


def lease_file(path: Path) -> Path:
    """Returns the path of the lease of a file: a hidden file beside it."""
    return path.with_name(f".{path.name}.lease")


@dataclass(frozen=True)
class _Seen:
    """State of a lease file; differs after each heartbeat.

    Attributes:
        id: random text that identifies the lease; empty for a file that is not a lease.
        holder: the process; None if it is unknown.
        timeout: time without a heartbeat after which it is stale, as the holder states it. [s]
        changed_ns: modification time, which a heartbeat renews. [ns]
    """

    id: str
    holder: ProcessName | None
    timeout: float | None
    changed_ns: int


class Lease:
    """The lease of one file: taken by one process at a time, and renewed by a thread until it is released.

    Attributes:
        path: the file.
        is_watched: the last `take` found a lease that looks stale, and watches it: try again later.
    """

    def __init__(self, path: Path, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Takes nothing yet.

        Args:
            path: the file.
            timeout: a lease without a heartbeat for this long is stale. [s]
        """
        self.path, self.is_watched = path, False
        self._timeout, self._file, self._id = timeout, lease_file(path), secrets.token_hex(8)
        self._watched: tuple[_Seen, float] | None = None
        self._ends = threading.Event()
        self._pid = 0

    @property
    def watch_s(self) -> float:
        """Time for which a lease that looks stale is watched. [s]"""
        return _WATCHED_HEARTBEATS * self._timeout / HEARTBEATS

    def take(self) -> bool:
        """Takes the lease; false if another process has it, or may have it: see `is_watched`.

        Raises:
            OSError: the folder cannot be written.
        """
        self.is_watched = False
        for attempt in range(_MAX_ATTEMPTS):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                _sweep(self.path.parent)
                if not self._is_taken():
                    return False
                break
            except (FileNotFoundError, FileExistsError):
                # Another process removed the folder at this moment, e.g. that of runs in which nothing was trained.
                if attempt == _MAX_ATTEMPTS - 1:
                    raise
        self._pid, self._ends = os.getpid(), threading.Event()
        threading.Thread(target=self._renew, args=(self._ends,), daemon=True, name="lease").start()
        return True

    def is_lost(self) -> bool:
        """True if another process has or had it since it was taken, e.g. because this one was suspended for long."""
        try:
            seen = _look(self._file)
        except OSError:
            # The file server failed for a moment.
            return False
        return seen is None or seen.id != self._id

    def release(self) -> None:
        """Gives it back; no effect if it is not held, nor in a forked process."""
        if os.getpid() == self._pid:
            self._ends.set()
            with contextlib.suppress(OSError):
                if not self.is_lost():
                    self._file.unlink(missing_ok=True)

    def _renew(self, ends: threading.Event) -> None:
        while not ends.wait(self._timeout / HEARTBEATS) and not self.is_lost():
            with contextlib.suppress(OSError):
                # Without arguments, so that a file server can set the time by its own clock.
                os.utime(self._file)

    def _is_taken(self) -> bool:
        content = {
            "id": self._id,
            **this_process().as_json(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "stale_after_s": self._timeout,
            "heartbeat": "the modification time of this file",
        }
        written = json.dumps(content).encode()
        while not create(self._file, written):
            seen = _look(self._file)
            if seen is not None:
                return self._is_stale(seen) and self._has_replaced(seen, written)
            # Its holder has just given it back.
        return True

    def _is_stale(self, seen: _Seen) -> bool:
        if seen.holder is not None and is_gone(seen.holder):
            return True
        # The holder may have set a longer timeout than this process.
        good_for = max(self._timeout, seen.timeout or 0.0)
        age_s = (_now_ns(self._file) - seen.changed_ns) / 1e9
        self.is_watched = not -good_for <= age_s < good_for
        if not self.is_watched:
            return False
        if self._watched is None or self._watched[0] != seen:
            self._watched = (seen, time.monotonic())
        watched_s = _WATCHED_HEARTBEATS * good_for / HEARTBEATS + (good_for if age_s < 0 else 0.0)
        return time.monotonic() - self._watched[1] >= watched_s

    def _has_replaced(self, stale: _Seen, written: bytes) -> bool:
        """Replaces a stale lease; false if another process was faster or did so afterwards."""
        temporary = temporary_for(self._file)
        try:
            temporary.write_bytes(written)
            if _look(self._file) != stale:
                return False
            temporary.replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)
        time.sleep(_SETTLED_AFTER_S)
        self.is_watched = False
        return not self.is_lost()


@contextlib.contextmanager
def leased(path: Path, timeout: float = DEFAULT_TIMEOUT_S, *, watches: bool = False) -> Iterator[Lease | None]:
    """Holds the lease of one file during the block; gives None if another process has it.

    If that process seems to have ended, waits until that is certain.

    Args:
        path: the file.
        timeout: a lease without a heartbeat for this long is stale. [s]
        watches: wait also while it is unknown whether the holder, of another machine, still runs: until it renews the
            lease, or until the lease is stale.

    Raises:
        OSError: the folder cannot be written.
    """
    lease, begin_s, has_warned = Lease(path, timeout), time.monotonic(), False
    first = _look(lease_file(path)) if watches else None
    while not (is_held := lease.take()):
        is_unknown = watches and time.monotonic() - begin_s < 2 * timeout and not _shows_life(path, first)
        if not (lease.is_watched or is_unknown):
            break
        if not has_warned and lease.is_watched:
            _log.warning("%s: its holder seems to have ended; waiting %.0f s for a renewal", path, lease.watch_s)
        elif not has_warned:
            _log.warning("%s: waiting for a renewal by its holder on another machine, up to %.0f s", path, timeout)
        has_warned = True
        time.sleep(lease.watch_s / 10)
    try:
        yield lease if is_held else None
    finally:
        lease.release()


def _shows_life(path: Path, first: _Seen | None) -> bool:
    """True if the holder of a lease runs on this machine, or has renewed or taken it since a first look."""
    seen = _look(lease_file(path))
    if seen is None:
        return False
    here = this_process().machine
    return seen != first or (seen.holder is not None and here != "" and seen.holder.machine == here)


@contextlib.contextmanager
def held_in_turn(path: Path, while_waiting: str = "") -> Iterator[None]:
    """Holds the lease of one file during the block, and waits for as long as another process has it.

    Args:
        path: the file.
        while_waiting: warning for the log if it has to wait; empty for none.

    Raises:
        OSError: the folder cannot be written.
    """
    wait_s = 0.0
    while True:
        with leased(path) as lease:
            if lease is not None:
                yield
                return
        if while_waiting and not wait_s:
            _log.warning("%s", while_waiting)
        wait_s = min(max(2 * wait_s, _POLL_S[0]), _POLL_S[1])
        time.sleep(wait_s)


def is_leased(path: Path) -> bool:
    """True if a process seems to hold the lease of a file, by a single look; works in read-only folders.

    A takeover needs more: `Lease.take` watches a stale lease first.
    """
    file = lease_file(path)
    try:
        seen = _look(file)
        if seen is None or (seen.holder is not None and is_gone(seen.holder)):
            return False
        try:
            now_ns = _now_ns(file)
        except OSError:
            now_ns = time.time_ns()
    except OSError:
        return True
    return abs(now_ns - seen.changed_ns) < max(DEFAULT_TIMEOUT_S, seen.timeout or 0.0) * 1e9


def _sweep(folder: Path) -> None:
    """Removes leases and temporary files of processes of this machine that have ended; once per folder and process."""
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    sweep_once(folder)
    # A folder without permission to delete, or one that vanishes, does not prevent writing.
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            seen = _look(file) if file.name.startswith(".") and file.name.endswith(".lease") else None
            if seen is not None and seen.holder is not None and is_gone(seen.holder) and _look(file) == seen:
                file.unlink(missing_ok=True)


def _look(file: Path) -> _Seen | None:
    """Reads a lease file; None without one.

    Raises:
        OSError: it is a folder, or the file system fails.
    """
    try:
        # Opened anew each time, since NFS checks its cache against the server only when a file is opened.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError:
        # A link, a socket, or a file without permission to read: its modification time still shows heartbeats.
        try:
            return _Seen("", None, None, file.lstat().st_mtime_ns)
        except FileNotFoundError:
            return None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        content = os.read(descriptor, _MAX_BYTES) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)
    try:
        said = json.loads(content)
        timeout = float(said["stale_after_s"])
        if not math.isfinite(timeout):
            raise ValueError(f"{timeout} is not a timeout")
        return _Seen(str(said["id"]), ProcessName.from_json(said), min(timeout, _MAX_TIMEOUT_S), status.st_mtime_ns)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # It is being written, its writer was killed, or it is not a lease.
        return _Seen("", None, None, status.st_mtime_ns)


def _now_ns(file: Path) -> int:
    """Returns the current time by the clock that sets modification times in the folder of a lease. [ns]"""
    probe = temporary_for(file)
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)

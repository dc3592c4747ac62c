"""Leases: small files beside outputs that say which process is working on them, renewed by heartbeats.

Locks of the kernel (flock) do not work on every network file system (NFS, Lustre, EOS). Leases need only three
guarantees: exclusive creation of a file, a rename that replaces, and modification times.

Clocks of different hosts are never compared. The age of a lease is the modification time of a file made just now in
the same folder less that of the lease; a file server sets both. Where the hosts set them, their clocks may differ.
Therefore a lease that looks stale is first watched for some heartbeats by the watcher's own clock, and one from the
future, left by a clock that was set back, for its timeout as well. A wrong clock can delay a takeover, not cause one.

Lease files are untrusted input, since anybody with access to the folder can write them: no content becomes a path,
links are not followed, and a file that is not a lease counts as a lease of an unknown holder.
"""

import atexit
import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cal_ratio_trainer.files.atomic import create, replacing, sweep_once, temporary_for
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 120.0
HEARTBEATS = 6
"""Heartbeats per timeout."""
_WATCHED_HEARTBEATS = 2.0
_LETTERS_OF_ID = 16
_MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""Upper limit on the timeout that a lease file may state. [s]"""
_MAX_BYTES = 1 << 16
_MAX_ATTEMPTS = 10
_POLL_S = (0.05, 1.0)
"""Shortest and longest time between two looks of `held_in_turn`. [s]"""
_LEASE = re.compile(r"\.(?!.*\.part\.lease).+\.lease(?:\.[0-9a-f]+)*", re.DOTALL)


def lease_file(path: Path) -> Path:
    """Returns the path of the lease of a file: a hidden file beside it."""
    return path.with_name(f".{path.name}.lease")


@dataclass(frozen=True)
class _Seen:
    """State of a lease file; differs after each heartbeat.

    Attributes:
        id: random, of this lease; empty for a file that is not a lease.
        holder: the process; None where it is unknown.
        timeout: without a heartbeat, as the holder states it. [s]
        changed_ns: modification time, which a heartbeat renews. [ns]
    """

    id: str
    holder: ProcessName | None
    timeout: float | None
    changed_ns: int

    @property
    def id_in_names(self) -> str:
        """Returns the id, or a digest where it could not be the id of a lease, for use in a file name."""
        if re.fullmatch(rf"[0-9a-f]{{1,{_LETTERS_OF_ID}}}", self.id):
            return self.id
        digest = hashlib.sha256(f"{self.id} {self.changed_ns}".encode(errors="surrogatepass"))
        return digest.hexdigest()[:_LETTERS_OF_ID]


@dataclass
class Lease:
    """A file that this process is working on; made by `Leases.take`.

    Attributes:
        path: the output.
        lost: another process took over, because the lease was not renewed in time.
    """

    path: Path
    _file: Path
    lost: bool = False
    _id: str = field(default_factory=lambda: secrets.token_hex(_LETTERS_OF_ID // 2))

    def is_taken_over(self) -> bool:
        """True where another process has it by now, e.g. because this one was suspended for too long."""
        try:
            seen = _look(self._file)
        except OSError:
            return False
        return seen is not None and seen.id != self._id

    def _renew(self) -> None:
        try:
            seen = _look(self._file)
            if seen is None or seen.id != self._id:
                self.lost = True
                return
            # Without arguments, so that a file server can set the time by its own clock.
            os.utime(self._file)
        except OSError:
            # The file server failed for a moment; the next heartbeat tries again.
            return

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            seen = _look(self._file)
            if seen is not None and seen.id == self._id:
                self._file.unlink(missing_ok=True)


class Leases:
    """The leases of one task, renewed by a thread until the block ends.

    Args:
        timeout: a lease without a heartbeat for this long is stale. [s]
    """

    def __init__(self, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self.timeout = timeout
        self._held: dict[Path, Lease] = {}
        self._suspects: dict[Path, tuple[_Seen, float]] = {}
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def __enter__(self) -> "Leases":
        atexit.register(self._release_all)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._release_all()
        for folder in self._folders:
            self._sweep(folder)
        atexit.unregister(self._release_all)

    def take(self, path: Path) -> Lease | None:
        """Takes the lease of a file; None where another process has it, or may have it: see `is_suspect`.

        Raises:
            OSError: the folder cannot be written.
        """
        lease = Lease(path, lease_file(path))
        for attempt in range(_MAX_ATTEMPTS):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.parent not in self._folders:
                    self._folders.add(path.parent)
                    sweep_once(path.parent)
                    # Starts to watch stale leases of other machines, for the sweep at the end.
                    self._stale_in(path.parent)
                if not self._taken(lease):
                    return None
                break
            except (FileNotFoundError, FileExistsError):
                # Another process removed the folder at this moment, e.g. that of runs in which nothing was trained.
                if attempt == _MAX_ATTEMPTS - 1:
                    raise
        self._suspects.pop(lease._file, None)
        with self._lock:
            self._held[path] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, daemon=True, name="leases")
                self._thread.start()
        return lease

    def is_suspect(self, path: Path) -> bool:
        """True where the last `take` found a stale lease, or right to replace it, and watches it: try again later."""
        # The right is named after the lease, see `_taken_over`.
        return any(f"{each}.".startswith(f"{lease_file(path)}.") for each in self._suspects)

    @property
    def watch_s(self) -> float:
        """Time for which a lease that looks stale is watched. [s]"""
        return _WATCHED_HEARTBEATS * self.timeout / HEARTBEATS

    def release(self, lease: Lease) -> None:
        """Gives a lease back."""
        with self._lock:
            self._held.pop(lease.path, None)
        lease._remove()

    def _release_all(self) -> None:
        if os.getpid() != self._pid:
            # A forked process inherits this at its exit, but not the leases.
            return
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for lease in held:
            lease._remove()

    def _sweep(self, folder: Path) -> None:
        """Removes stale leases of outputs that this process does not make."""
        for file, seen in self._stale_in(folder):
            with contextlib.suppress(OSError):
                lease = Lease(file, file)
                if self._taken_over(lease, seen):
                    lease._remove()

    def _stale_in(self, folder: Path) -> list[tuple[Path, _Seen]]:
        found = []
        now_ns = None
        try:
            files = sorted(file for file in folder.iterdir() if _LEASE.fullmatch(file.name))
        except FileNotFoundError:
            # The folder was removed meanwhile, e.g. that of a run in which nothing was trained.
            return []
        for file in files:
            with contextlib.suppress(OSError):
                seen = _look(file)
                if seen is not None:
                    now_ns = now_ns or _now_ns(file)
                    if self._is_stale(file, seen, now_ns):
                        found.append((file, seen))
        return found

    def _renew_all(self) -> None:
        while not self._stop.wait(self.timeout / HEARTBEATS):
            with self._lock:
                held = list(self._held.values())
            for lease in held:
                lease._renew()

    def _taken(self, lease: Lease) -> bool:
        while not _created(lease._file, lease._id, self.timeout):
            seen = _look(lease._file)
            if seen is not None:
                return self._is_stale(lease._file, seen, None) and self._taken_over(lease, seen)
            # Its holder has just given it back.
        return True

    def _taken_over(self, lease: Lease, stale: _Seen) -> bool:
        """Replaces a stale lease; exactly one of several concurrent processes succeeds.

        The right to replace is itself a lease, with the id of the stale one in its name: a concurrent process finds it
        taken, and a later one finds that the id of the replaced lease has changed.
        """
        file = lease._file
        right = Lease(lease.path, file.with_name(f"{file.name}.{stale.id_in_names}"))
        if not self._taken(right):
            return False
        try:
            if _look(file) != stale:
                return False
            with replacing(file, durable=False) as new:
                new.write_bytes(_content(lease._id, self.timeout))
            return True
        finally:
            right._remove()

    def _is_stale(self, file: Path, seen: _Seen, now_ns: int | None) -> bool:
        if seen.holder is not None and is_gone(seen.holder):
            return True
        # The holder may have set a longer timeout than this process.
        good_for = max(self.timeout, seen.timeout or 0.0)
        age_s = ((now_ns or _now_ns(file)) - seen.changed_ns) / 1e9
        if -good_for <= age_s < good_for:
            self._suspects.pop(file, None)
            return False
        known, since = self._suspects.get(file, (None, 0.0))
        if known != seen:
            self._suspects[file] = (seen, time.monotonic())
            return False
        watched_s = _WATCHED_HEARTBEATS * good_for / HEARTBEATS + (good_for if age_s < 0 else 0.0)
        return time.monotonic() - since >= watched_s


@contextlib.contextmanager
def leased(path: Path, timeout: float = DEFAULT_TIMEOUT_S, *, watches: bool = False) -> Iterator[Lease | None]:
    """Holds the lease of one file during the block; gives None where another process has it.

    Where that process seems to have ended, waits until that is certain.

    Args:
        path: the file.
        timeout: a lease without a heartbeat for this long is stale. [s]
        watches: wait also while it is unknown whether the holder, of another machine, still runs: until it renews the
            lease, or until the lease is stale.

    Raises:
        OSError: the folder cannot be written.
    """
    with Leases(timeout) as leases:
        first, begin_s = _look(lease_file(path)) if watches else None, time.monotonic()
        lease = leases.take(path)
        if lease is None and leases.is_suspect(path):
            _log.warning("%s: its holder seems to have ended; waiting %.0f s for a renewal", path, leases.watch_s)
        elif lease is None and watches and not _shows_life(path, first):
            _log.warning("%s: waiting for a renewal by its holder on another machine, up to %.0f s", path, timeout)
        while lease is None and (
            leases.is_suspect(path)
            or (watches and time.monotonic() - begin_s < 2 * timeout and not _shows_life(path, first))
        ):
            time.sleep(leases.watch_s / 10)
            lease = leases.take(path)
        yield lease


def _shows_life(path: Path, first: _Seen | None) -> bool:
    """True where the holder of a lease runs on this machine, or has renewed or taken it since a first look."""
    seen = _look(lease_file(path))
    if seen is None:
        return False
    here = this_process().machine
    return seen != first or (seen.holder is not None and here != "" and seen.holder.machine == here)


@contextlib.contextmanager
def held_in_turn(path: Path, while_waiting: str = "") -> Iterator[None]:
    """Holds the lease of one file during the block, after as long a wait as another process has it.

    Args:
        path: the file.
        while_waiting: warning for the log where it has to wait; empty for none.

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
    """True where a process holds the lease of a file, as far as one look tells; works in read-only folders.

    A takeover needs more: there a stale lease is watched first.
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


def _content(lease_id: str, timeout: float) -> bytes:
    content = {
        "id": lease_id,
        **this_process().as_json(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "stale_after_s": timeout,
        "heartbeat": "the modification time of this file",
    }
    return json.dumps(content).encode()


def _created(file: Path, lease_id: str, timeout: float) -> bool:
    return create(file, _content(lease_id, timeout))


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

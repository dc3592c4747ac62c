"""Leases: who is at work on a file, told by a small file beside it that its holder keeps fresh.

Locks of the kernel (flock) are not passed on by every network file system (NFS, Lustre, EOS), so nothing here asks for
one: only that a file can be created where none is, that a rename replaces, and that a file has a time of change.

No two hosts' clocks are compared with each other. How old a lease is is the time of change of a file made just now in
the same folder less its own. A file server sets both; where the hosts do it themselves, their clocks may differ, and so
a lease that looks stale is watched for some heartbeats first, by the watcher's own clock, and one from the far future,
which a clock that was set back leaves, for as long as it is good for. A wrong clock can delay a takeover, and cannot
cause one.

A lease file comes from anybody who can write to the folder: nothing in it becomes a path, no link is followed, and
what is no lease counts as one of an unknown holder.
"""

import atexit
import contextlib
import errno
import hashlib
import json
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

from cal_ratio_trainer.files.atomic import sweep_once, temporary_for
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

DEFAULT_TIMEOUT_S = 120.0
HEARTBEATS = 6
"""How many heartbeats fall into the time after which a lease is stale."""
_WATCHED_HEARTBEATS = 2.0
_LETTERS_OF_ID = 16
_MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""For so long at most a lease is believed to be good without a heartbeat, whatever stands in it."""
_MAX_BYTES = 1 << 16
_LEASE = re.compile(r"\.(?!.*\.part\.lease).+\.lease(?:\.[0-9a-f]+)*", re.DOTALL)


def lease_file(path: Path) -> Path:
    """The lease of a file: a hidden one beside it."""
    return path.with_name(f".{path.name}.lease")


@dataclass(frozen=True)
class _Seen:
    """A lease file as it was found: who holds it, and what tells one heartbeat from the next."""

    id: str
    holder: ProcessName | None
    timeout: float | None
    changed_ns: int

    @property
    def id_in_names(self) -> str:
        """The id where it can be one, for the name of a file; a digest of what else stands in its place."""
        if re.fullmatch(rf"[0-9a-f]{{1,{_LETTERS_OF_ID}}}", self.id):
            return self.id
        digest = hashlib.sha256(f"{self.id} {self.changed_ns}".encode(errors="surrogatepass"))
        return digest.hexdigest()[:_LETTERS_OF_ID]


@dataclass
class Lease:
    """One file that this process is at work on; made by `Leases.take`.

    Attributes:
        path: the file that the work is for.
        lost: somebody else took it over, for this process did not renew it in time.
    """

    path: Path
    _file: Path
    lost: bool = False
    _id: str = field(default_factory=lambda: secrets.token_hex(_LETTERS_OF_ID // 2))

    def _renew(self) -> None:
        try:
            seen = _look(self._file)
            if seen is None or seen.id != self._id:
                self.lost = True
                return
            # The time is the file server's, where it sets times; see the head of this file.
            os.utime(self._file)
        except OSError:
            # A hiccup of the file server; the next heartbeat tries again.
            return

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            seen = _look(self._file)
            if seen is not None and seen.id == self._id:
                self._file.unlink(missing_ok=True)


class Leases:
    """The leases that one task holds; they are renewed by a thread until the block ends.

    Args:
        timeout: after so many seconds without a heartbeat a lease is stale. [s]
    """

    def __init__(self, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self.timeout = timeout
        self._held: dict[Path, Lease] = {}
        self._suspects: dict[Path, tuple[_Seen, float]] = {}
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        """The lease of a file; None where somebody else has it, or may have it: see `is_suspect`.

        Raises:
            OSError: the folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in self._folders:
            self._folders.add(path.parent)
            sweep_once(path.parent)
            # Those of other machines that look stale now are watched until the end.
            self._stale_in(path.parent)
        lease = Lease(path, lease_file(path))
        if not self._taken(lease):
            return None
        self._suspects.pop(lease._file, None)
        with self._lock:
            self._held[path] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, daemon=True, name="leases")
                self._thread.start()
        return lease

    def is_suspect(self, path: Path) -> bool:
        """The last `take` found a lease that looks stale and is being watched: taking it later may succeed."""
        return lease_file(path) in self._suspects

    @property
    def watch_s(self) -> float:
        """How long a lease that looks stale is watched. [s]"""
        return _WATCHED_HEARTBEATS * self.timeout / HEARTBEATS

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._lock:
            self._held.pop(lease.path, None)
        lease._remove()

    def _release_all(self) -> None:
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for lease in held:
            lease._remove()

    def _sweep(self, folder: Path) -> None:
        """Remove the leases that nobody will take over any more: of outputs that are in no list of this process."""
        for file, seen in self._stale_in(folder):
            with contextlib.suppress(OSError):
                lease = Lease(file, file)
                if self._taken_over(lease, seen):
                    lease._remove()

    def _stale_in(self, folder: Path) -> list[tuple[Path, _Seen]]:
        found = []
        now_ns = None
        for file in sorted(file for file in folder.iterdir() if _LEASE.fullmatch(file.name)):
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
            # It was given back in this moment.
        return True

    def _taken_over(self, lease: Lease, stale: _Seen) -> bool:
        """Replace a stale lease; of several that try it at the same time one succeeds.

        The right to replace just this lease is a lease too, whose name holds the id of the stale one: whoever comes
        second finds it taken, and whoever comes later finds another id in the place of the stale one.
        """
        file = lease._file
        right = Lease(lease.path, file.with_name(f"{file.name}.{stale.id_in_names}"))
        if not self._taken(right):
            return False
        try:
            if _look(file) != stale:
                return False
            new = temporary_for(file)
            try:
                _created(new, lease._id, self.timeout)
                new.replace(file)
            finally:
                new.unlink(missing_ok=True)
            return True
        finally:
            right._remove()

    def _is_stale(self, file: Path, seen: _Seen, now_ns: int | None) -> bool:
        if seen.holder is not None and is_gone(seen.holder):
            return True
        # Who holds a lease says how long it is good for; that may be longer than what is usual here.
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
def leased(path: Path, timeout: float = DEFAULT_TIMEOUT_S) -> Iterator[Lease | None]:
    """The lease of one file during the block; None where somebody else has it.

    Where that somebody seems to be gone this waits until it is sure.

    Raises:
        OSError: the folder cannot be written.
    """
    with Leases(timeout) as leases:
        lease = leases.take(path)
        while lease is None and leases.is_suspect(path):
            time.sleep(leases.watch_s / 10)
            lease = leases.take(path)
        yield lease


def _created(file: Path, lease_id: str, timeout: float) -> bool:
    content = {
        "id": lease_id,
        **this_process().as_json(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "stale_after_s": timeout,
        "heartbeat": "the time of change of this file",
    }
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(json.dumps(content).encode())
    return True


def _look(file: Path) -> _Seen | None:
    """What stands in a lease file; None without one.

    Raises:
        OSError: a folder is in its place, or the file system fails.
    """
    try:
        # Opened anew each time: NFS asks the server about a file when it is opened, and else believes what it knew.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError:
        # A link, a socket, or somebody else's file: its time of change still tells whether somebody renews it.
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
            raise ValueError(f"{timeout} is no time")
        return _Seen(str(said["id"]), ProcessName.from_json(said), min(timeout, _MAX_TIMEOUT_S), status.st_mtime_ns)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Being written, left by somebody who died before it was, or no lease at all.
        return _Seen("", None, None, status.st_mtime_ns)


def _now_ns(file: Path) -> int:
    """The time by the clock that files in the folder of a lease get their times from. [ns]"""
    probe = temporary_for(file)
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)

"""Leases: who is at work on a file, told by a small file beside it that its holder keeps fresh.

Locks of the kernel (flock) are not passed on by every network file system (NFS, Lustre, EOS), so nothing here asks for
one: only that a file can be created where none is, that a rename replaces, and that a file has a time of change.

No two hosts' clocks are compared with each other. How old a lease is is the time of change of a file made just now in
the same folder less its own. A file server sets both; where the hosts do it themselves, their clocks may differ, and so
a lease that looks stale is watched for some heartbeats first, by the watcher's own clock. A wrong clock can delay a
takeover, and cannot cause one.
"""

import atexit
import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

DEFAULT_TIMEOUT_S = 120.0
HEARTBEATS = 6
"""How many heartbeats fall into the time after which a lease is stale."""
_WATCHED_HEARTBEATS = 2.0
_LETTERS_OF_ID = 16


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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Leases":
        atexit.register(self._release_all)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._release_all()
        atexit.unregister(self._release_all)

    def take(self, path: Path) -> Lease | None:
        """The lease of a file; None where somebody else has it, or may have it: see `is_suspect`.

        Raises:
            OSError: the folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
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
                return self._is_stale(lease._file, seen) and self._taken_over(lease, seen)
            # It was given back in this moment.
        return True

    def _taken_over(self, lease: Lease, stale: _Seen) -> bool:
        """Replace a stale lease; of several that try it at the same time one succeeds.

        The right to replace just this lease is a lease too, whose name holds the id of the stale one: whoever comes
        second finds it taken, and whoever comes later finds another id in the place of the stale one.
        """
        file = lease._file
        right = Lease(lease.path, file.with_name(f"{file.name}.{stale.id or 'unnamed'}"))
        if not self._taken(right):
            return False
        try:
            if _look(file) != stale:
                return False
            new = file.with_name(f"{file.name}.{lease._id}.new")
            _created(new, lease._id, self.timeout)
            new.replace(file)
            return True
        finally:
            right._remove()

    def _is_stale(self, file: Path, seen: _Seen) -> bool:
        if seen.holder is not None and is_gone(seen.holder):
            return True
        # Who holds a lease says how long it is good for; that may be longer than what is usual here.
        if _age_s(file, seen) < max(self.timeout, seen.timeout or 0.0):
            self._suspects.pop(file, None)
            return False
        known, since = self._suspects.get(file, (None, 0.0))
        if known != seen:
            self._suspects[file] = (seen, time.monotonic())
            return False
        heartbeat = max(self.timeout, seen.timeout or 0.0) / HEARTBEATS
        return time.monotonic() - since >= _WATCHED_HEARTBEATS * heartbeat


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
    """What stands in a lease file; None without one."""
    try:
        # Opened anew each time: NFS asks the server about a file when it is opened, and else believes what it knew.
        with file.open("rb") as opened:
            content, changed_ns = opened.read(), os.fstat(opened.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    try:
        said = json.loads(content)
        return _Seen(str(said["id"]), ProcessName.from_json(said), float(said["stale_after_s"]), changed_ns)
    except (ValueError, KeyError, TypeError):
        # Being written, or left by somebody who died before it was.
        return _Seen("", None, None, changed_ns)


def _age_s(file: Path, seen: _Seen) -> float:
    """How long ago a lease was renewed, by the clock that files in its folder get their times from. [s]"""
    probe = file.with_name(f"{file.name}.{secrets.token_hex(4)}.now")
    try:
        probe.touch(exist_ok=False)
        return (probe.stat().st_mtime_ns - seen.changed_ns) / 1e9
    finally:
        probe.unlink(missing_ok=True)

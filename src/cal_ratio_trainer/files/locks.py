"""Locks between processes: who makes a file, so that several can share one list of work."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to take the lock of the file `path` without waiting.

    The lock is a hidden file beside it, `.NAME.lock`, that is removed afterwards. It ends with the process that holds
    it, however that ends.

    Yields:
        True where it was free and is held during the block; False where another process holds it.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_file = path.with_name(f".{path.name}.lock")
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Removed while it is held, so that nobody can have taken it in between.
        with suppress(OSError):
            lock_file.unlink(missing_ok=True)
        lock.release()

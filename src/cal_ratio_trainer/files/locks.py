"""Who makes a file, so that several processes, on several machines, can share one list of work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cal_ratio_trainer.files.leases import DEFAULT_TIMEOUT_S, leased

_WAIT_S = 0.05


@contextmanager
def held(path: Path, timeout: float = DEFAULT_TIMEOUT_S) -> Iterator[bool]:
    """Try to be the one that makes the file `path`; does not wait while another process is alive and makes it.

    The claim is a lease, a hidden file beside it (see `files.leases`), that is removed afterwards. That of a process
    that was killed is free at once on its own machine, and on others when it has not been renewed for `timeout`
    seconds.

    Yields:
        True where it was free and is held during the block; False where another process holds it.

    Raises:
        OSError: the folder cannot be written.
    """
    with leased(path, timeout) as lease:
        yield lease is not None


@contextmanager
def held_in_turn(path: Path) -> Iterator[None]:
    """As `held`, but waits until it is free.

    Raises:
        OSError: the folder cannot be written.
    """
    while True:
        with held(path) as free:
            if free:
                yield
                return
        time.sleep(_WAIT_S)

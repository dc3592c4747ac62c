"""Threads and processes of a command: number of cores, end of worker processes with their parent, prefetching."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import ModuleType
from typing import TypeVar


def available_cores() -> int:
    """Number of cores that this process may use: a batch system often gives fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def end_with_parent() -> None:
    """For the start of a worker process: from now on it ends when its parent does, however that ends.

    A pool tells its workers to stop only while it lives; those of a process that was killed would wait for work for
    ever, and keep their memory and their locks.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_its_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_its_end, daemon=True, name="end with parent").start()


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Worker processes that are started in this block never see ^C, from their first moment on.

    A terminal sends it to all processes of a command. Their parent ends them; by themselves they would each say where
    they were.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # It is started with the first worker otherwise, and unblocks the signal afterwards.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_main_module() -> Iterator[None]:
    """Worker processes that start in this block do not import the main module, as spawned ones otherwise do.

    In a user's script without `if __name__ == "__main__":` the import would start the work again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


Item = TypeVar("Item")

_END = object()


def prefetched(make: Callable[[], Iterator[Item]]) -> Generator[Item, None, None]:
    """The items of an iterator, made in a thread, one ahead of their use.

    Args:
        make: gives the iterator; it is called, used and closed in that thread, for what it opens may belong to one.

    Raises:
        Whatever the iterator raises, when its turn comes.
    """
    with ThreadPoolExecutor(max_workers=1) as maker:
        items = maker.submit(make).result()
        try:
            following: Future[Item | object] = maker.submit(next, items, _END)
            while True:
                item = following.result()
                if item is _END:
                    return
                following = maker.submit(next, items, _END)
                yield item  # type: ignore[misc]  # not the mark of the end
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                maker.submit(close).result()

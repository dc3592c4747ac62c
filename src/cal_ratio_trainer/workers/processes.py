"""Cores and threads of a process: how many cores it may use, and prefetching in a thread."""

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar


def available_cores() -> int:
    """Number of cores that this process may use: a batch system often gives fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


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

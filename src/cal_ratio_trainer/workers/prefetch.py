"""The next thing is made while this one is used."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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

"""Items are made one step ahead of their use."""

import threading
from collections.abc import Iterator

import pytest

from cal_ratio_trainer.workers.executor import prefetched


def test_items_come_in_order_and_all_from_one_other_thread() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for i in range(20):
            threads.add(threading.get_ident())
            yield i

    assert list(prefetched(items)) == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_comes_when_its_turn_comes() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    taken = prefetched(items)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="second"):
        next(taken)


def test_no_more_than_one_is_made_ahead_and_what_was_opened_is_closed() -> None:
    made, closed = [], threading.Event()

    def items() -> Iterator[int]:
        try:
            for i in range(100):
                made.append(i)
                yield i
        finally:
            closed.set()

    taken = prefetched(items)
    assert next(taken) == 0
    assert next(taken) == 1
    taken.close()
    assert closed.is_set()
    assert len(made) <= 3

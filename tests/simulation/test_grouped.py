"""Things in groups of different sizes as flat arrays."""

from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.simulation.grouped import Grouped, slots, sum_by, within

counts_of_lists = st.lists(st.integers(0, 5), min_size=1, max_size=20)


def numbered(counts: list[int]) -> Grouped:
    return Grouped(np.array(counts), {"number": np.arange(sum(counts))})


def as_python(lists: Grouped) -> list[list[int]]:
    return [part.tolist() for part in np.split(lists["number"], np.cumsum(lists.counts)[:-1])]


@settings(max_examples=30)
@given(counts_of_lists, st.integers(0, 99))
def test_taking_rows_is_what_python_lists_do(counts: list[int], seed: int) -> None:
    lists = numbered(counts)
    rows = np.random.default_rng(seed).integers(0, len(counts), 7)
    assert as_python(lists.take(rows)) == [as_python(lists)[row] for row in rows]


@settings(max_examples=30)
@given(counts_of_lists, st.integers(1, 4))
def test_filtering_things_is_what_python_lists_do(counts: list[int], divisor: int) -> None:
    lists = numbered(counts)
    kept = lists["number"] % divisor == 0
    expected = [[number for number in row if number % divisor == 0] for row in as_python(lists)]
    assert as_python(lists.where(kept)) == expected


@settings(max_examples=30)
@given(counts_of_lists)
def test_slots_count_within_each_list(counts: list[int]) -> None:
    assert slots(np.array(counts)).tolist() == [slot for count in counts for slot in range(count)]
    assert within(np.array(counts), np.arange(len(counts))).tolist() == list(range(sum(counts)))


def test_sums_of_rows_include_empty_ones() -> None:
    assert sum_by(np.array([0, 0, 2]), np.array([1.0, 2.0, 5.0]), 4).tolist() == [3.0, 0.0, 5.0, 0.0]


@settings(max_examples=30)
@given(counts_of_lists, st.integers(0, 99))
def test_groups_are_merged_and_joined_as_python_lists_are(counts: list[int], seed: int) -> None:
    lists = numbered(counts)
    stop = int(np.random.default_rng(seed).integers(0, len(counts) + 1))
    sizes = np.array([stop, 0, len(counts) - stop])
    rows = as_python(lists)
    assert as_python(lists.merged(sizes)) == [list(chain(*rows[:stop])), [], list(chain(*rows[stop:]))]
    assert as_python(lists.followed_by(lists)) == [row + row for row in rows]

"""Properties of ragged arrays."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.jets import CONSTITUENTS, Constituent, Ragged
from tests.factories.jets import converted_jets

FEATURES = 3
SLOTS = 7


@st.composite
def ragged_lists(draw: st.DrawFn, most_jets: int = 12) -> Ragged:
    """Lists of up to SLOTS constituents, none of them equal to the padding row."""
    lengths = draw(st.lists(st.integers(0, SLOTS), max_size=most_jets))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    padding = np.array(draw(st.sampled_from([[0.0] * FEATURES, [-0.25, 0.0, 0.0]])), dtype=np.float32)
    values = random.uniform(1, 2, (sum(lengths), FEATURES)).astype(np.float32)
    return Ragged.from_lengths(values, np.array(lengths, dtype=np.int64), padding)


def assert_equal(first: Ragged, second: Ragged) -> None:
    """Asserts equality, bit by bit."""
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.padding, second.padding)


@given(ragged_lists())
@settings(max_examples=30, deadline=None)
def test_padding_and_dropping_the_padding_gives_the_same_lists(ragged: Ragged) -> None:
    assert_equal(Ragged.from_padded(ragged.padded(SLOTS), ragged.padding), ragged)


@given(ragged_lists(), st.integers(1, SLOTS))
@settings(max_examples=30, deadline=None)
def test_padded_slots_hold_the_first_constituents_of_each_list(ragged: Ragged, slots: int) -> None:
    padded = ragged.padded(slots)
    for jet, row in enumerate(padded):
        own = ragged.values[ragged.offsets[jet] : ragged.offsets[jet + 1]][:slots]
        np.testing.assert_array_equal(row[: len(own)], own)
        assert np.all(row[len(own) :] == ragged.padding)


@given(ragged_lists(), st.data())
@settings(max_examples=30, deadline=None)
def test_cutting_in_two_and_joining_gives_the_same_lists(ragged: Ragged, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(ragged)))
    joined = Ragged.concatenate([ragged.slice(0, cut), ragged.slice(cut, len(ragged))])
    assert_equal(joined, ragged)


@given(ragged_lists(), st.data())
@settings(max_examples=30, deadline=None)
def test_what_is_taken_does_not_depend_on_how_the_values_lie_in_memory(ragged: Ragged, data: st.DataObject) -> None:
    jets = np.array(data.draw(st.lists(st.integers(0, len(ragged) - 1)) if len(ragged) else st.just([])), np.int64)
    by_feature = Ragged(np.asfortranarray(ragged.values), ragged.offsets, ragged.padding)
    taken = ragged.take(jets)
    assert_equal(by_feature.take(jets), taken)
    own = [ragged.values[ragged.offsets[jet] : ragged.offsets[jet + 1]] for jet in jets]
    np.testing.assert_array_equal(taken.values, np.concatenate([ragged.values[:0], *own]))


@given(ragged_lists(), st.data())
@settings(max_examples=30, deadline=None)
def test_taking_a_permutation_and_then_its_inverse_gives_the_same_lists(ragged: Ragged, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(ragged)))), dtype=np.int64)
    assert_equal(ragged.take(order).take(np.argsort(order)), ragged)


@given(ragged_lists())
@settings(max_examples=30, deadline=None)
def test_owner_and_slot_name_each_constituent_once(ragged: Ragged) -> None:
    places = list(zip(ragged.owners().tolist(), ragged.slots().tolist(), strict=True))
    assert places == [(jet, slot) for jet, length in enumerate(ragged.lengths) for slot in range(length)]


def test_a_jet_may_be_taken_more_than_once() -> None:
    ragged = Ragged.from_lengths(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([1, 2]))
    assert ragged.take(np.array([1, 1])).values.tolist() == [[2, 3], [4, 5], [2, 3], [4, 5]]


def test_an_empty_slot_between_filled_ones_stays_and_holds_the_padding() -> None:
    padded = np.array([[[1, 1], [np.nan, 0], [2, 2], [0, np.nan]]], dtype=np.float32)
    ragged = Ragged.from_padded(padded, np.zeros(2, dtype=np.float32))
    assert ragged.values.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_a_nan_in_a_filled_slot_stays() -> None:
    padded = np.array([[[np.nan, 3], [0, 0]]], dtype=np.float32)
    ragged = Ragged.from_padded(padded, np.zeros(2, dtype=np.float32))
    np.testing.assert_array_equal(ragged.values, [[np.nan, 3]])


def test_lists_with_different_padding_rows_are_not_joined() -> None:
    first = Ragged.empty(2, jets=1)
    second = Ragged(first.values, first.offsets, np.ones(2, dtype=np.float32))
    with pytest.raises(ValueError, match="padding rows"):
        Ragged.concatenate([first, second])


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [([1, 2], "start at 0"), ([0, 1], "end at the number"), ([0, 2, 1, 2], "must not fall"), ([], "start at 0")],
)
def test_offsets_that_do_not_fit_are_refused(offsets: list[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Ragged(np.zeros((2, 3), np.float32), np.array(offsets, dtype=np.int64), np.zeros(3, np.float32))


def test_a_padding_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Ragged(np.zeros((0, 3), np.float32), np.zeros(1, np.int64), np.zeros(2, np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", CONSTITUENTS, ids=lambda kind: kind.name)
def test_jets_are_chosen_and_filled_alike_in_both_orders_of_memory(kind: Constituent, order: Literal["C", "F"]) -> None:
    lists = converted_jets(40).constituents[kind.name]
    ragged = Ragged(np.asarray(lists.values, order=order), lists.offsets, lists.padding)
    kept = np.arange(40) % 3 == 0
    for found, expected in (
        (ragged.where(kept), lists.take(np.flatnonzero(kept))),
        (ragged.where(~kept & kept), lists.slice(0, 0)),
        (ragged.filled(30), lists.filled(30)),
    ):
        for name in ("values", "offsets", "padding"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert ragged.where(np.ones(40, bool)) is ragged

"""Order in which the constituents of a batch are read."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.network.batch import inverse_of, pack, rows_in_whole


@given(lengths=st.lists(st.integers(0, 8), min_size=1, max_size=12), slots=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_constituent_within_the_slots_is_read_once_at_its_slot(lengths: list[int], slots: int, seed: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    jets = np.random.default_rng(seed).permutation(len(lengths)).astype(np.int64)
    rows, counts, order = pack(offsets, jets, slots)
    expected = [offsets[jet] + slot for slot in range(slots) for jet in jets[order] if slot < min(lengths[jet], slots)]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(order[inverse_of(order)], np.arange(len(jets)))
    owners = jets[np.concatenate([order[:count] for count in counts])] if counts else jets[:0]
    np.testing.assert_array_equal(np.searchsorted(offsets, rows, side="right") - 1, owners)


def test_jets_with_more_constituents_come_first() -> None:
    rows, counts, order = pack(np.array([0, 1, 4, 4, 6]), np.arange(4), 30)
    assert counts == (3, 2, 1)
    np.testing.assert_array_equal(order, [1, 3, 0, 2])
    np.testing.assert_array_equal(rows, [1, 4, 0, 2, 5, 3])


def test_jets_without_constituents_leave_nothing_to_read() -> None:
    rows, counts, _ = pack(np.zeros(4, dtype=np.int64), np.arange(3), 30)
    assert counts == ()
    assert len(rows) == 0


@given(
    lengths=st.lists(st.integers(0, 8), min_size=1, max_size=12),
    slots=st.integers(1, 6),
    seed=st.integers(0, 99),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=40, deadline=None)
def test_the_rows_of_a_share_are_found_in_the_whole(
    lengths: list[int], slots: int, seed: int, ends: tuple[float, float]
) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    jets = np.random.default_rng(seed).permutation(len(lengths)).astype(np.int64)
    first, last = (round(end * len(jets)) for end in sorted(ends))
    share = np.arange(first, last)
    whole, (own, counts, order) = pack(offsets, jets, slots)[0], pack(offsets, jets[share], slots)
    rows, of = rows_in_whole(counts, order, offsets, jets, share, slots)
    assert of == len(whole)
    np.testing.assert_array_equal(whole[rows], own)

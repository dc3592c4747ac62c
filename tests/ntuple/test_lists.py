"""Awkward arrays split into flat arrays."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_ratio_trainer.ntuple.reading import Lists, NestedLists, from_awkward

FLAT = st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=6)
NESTED = st.lists(st.lists(st.lists(st.integers(-5, 5), max_size=3), max_size=4), min_size=1, max_size=6)


@given(FLAT, st.integers(0, 5))
def test_lists_of_numbers_come_out_flat_with_their_offsets(values: list[list[int]], start: int) -> None:
    array = ak.values_astype(ak.Array([[0], *values]), np.int32)[1:][start:]
    column = from_awkward(array)
    assert isinstance(column, Lists)
    pieces = [column.values[a:b].tolist() for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
    assert pieces == values[start:]
    assert column.events().tolist() == [i for i, each in enumerate(values[start:]) for _ in each]


@given(NESTED, st.integers(0, 5))
def test_lists_of_lists_come_out_flat_with_both_offsets(values: list[list[list[int]]], start: int) -> None:
    array = ak.values_astype(ak.Array([[[0]], *values]), np.int32)[1:][start:]
    column = from_awkward(array)
    assert isinstance(column, NestedLists)
    inner = [
        column.inner.values[a:b].tolist()
        for a, b in zip(column.inner.offsets[:-1], column.inner.offsets[1:], strict=True)
    ]
    assert [inner[a:b] for a, b in zip(column.outer[:-1], column.outer[1:], strict=True)] == values[start:]


def test_one_number_an_event_stays_as_it_is() -> None:
    column = from_awkward(ak.Array(np.array([1.5, 2.5])))
    assert isinstance(column, np.ndarray)
    assert column.tolist() == [1.5, 2.5]


@pytest.mark.parametrize("array", [ak.Array([["a"], ["b"]]), ak.Array([[[[1]]]]), ak.Array([{"x": 1}])])
def test_what_holds_no_numbers_is_refused(array: ak.Array) -> None:
    with pytest.raises(TypeError, match="where numbers are expected"):
        from_awkward(array)


@pytest.mark.parametrize("offsets", [[0, 2, 1], [0, 1, 9]])
def test_lists_that_overlap_or_end_beyond_their_content_are_refused(offsets: list[int]) -> None:
    content = ak.contents.NumpyArray(np.arange(3.0))
    array = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(np.array(offsets)), content))
    with pytest.raises(ValueError, match="lists overlap or are longer than their content"):
        from_awkward(array)

"""Arrays in the encoding of frugally-deep."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cal_ratio_trainer.formats.fdeep_file import BadFloats, decoded_floats, encoded_floats


@given(arrays(np.float32, array_shapes(max_dims=3, max_side=30), elements=st.floats(width=32)))
@settings(max_examples=30)
def test_numbers_come_back_to_the_last_bit_in_c_order(values: np.ndarray) -> None:
    back = decoded_floats(encoded_floats(values))
    np.testing.assert_array_equal(back.view(np.uint32), np.ascontiguousarray(values).reshape(-1).view(np.uint32))
    transposed = decoded_floats(encoded_floats(values.T))
    np.testing.assert_array_equal(transposed.view(np.uint32), values.T.reshape(-1).view(np.uint32))


def test_strings_have_1024_letters_and_the_last_one_what_is_left() -> None:
    lengths = [len(string) for string in encoded_floats(np.zeros(1000, dtype=np.float32))]
    assert lengths == [1024, 1024, 1024, 1024, 1024, 216]


def test_plain_numbers_are_read_too() -> None:
    assert decoded_floats([1, 2.5]).tolist() == [1.0, 2.5]
    assert decoded_floats([]).tolist() == []


@pytest.mark.parametrize(
    ("strings", "said"),
    [
        ("AAAA", "str where a list of strings was expected"),
        (["AAAA", 1], "a list that holds other things than strings"),
        ([True, False], "a list that holds other things than strings"),
        ([1, 10**400], "a whole number that is too large"),
        (["AA!A"], "no base64"),
        (["AAA"], "no base64"),
        (["AAAA"], "3 bytes are no whole number of floats"),
    ],
)
def test_what_is_no_array_is_refused(strings: Any, said: str) -> None:
    with pytest.raises(BadFloats, match=re.escape(said)):
        decoded_floats(strings)

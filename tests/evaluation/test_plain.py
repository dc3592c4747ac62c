import json
import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.plain import from_plain, rounded, to_plain


class Side(IntEnum):
    LEFT = 1


@dataclass(frozen=True)
class Inner:
    value: float
    side: Side


@dataclass(frozen=True, eq=False)
class Outer:
    name: str
    numbers: NDArray[np.float64]
    counts: NDArray[np.int64]
    inner: tuple[Inner, ...]
    perhaps: Inner | None
    later: int = 7


def test_every_kind_of_field_comes_back() -> None:
    made = Outer(
        "a", np.array([[1.5, math.nan], [math.inf, -math.inf]]), np.array([3, 4]), (Inner(math.nan, Side.LEFT),), None
    )
    text = json.dumps(to_plain(made), allow_nan=False)
    again = from_plain(Outer, json.loads(text))
    np.testing.assert_array_equal(again.numbers, made.numbers)
    assert again.numbers.dtype == np.float64
    np.testing.assert_array_equal(again.counts, made.counts)
    assert again.counts.dtype == np.int64
    assert math.isnan(again.inner[0].value)
    assert again.inner[0].side is Side.LEFT
    assert (again.name, again.perhaps, again.later) == ("a", None, 7)


def test_a_field_that_came_later_has_its_default() -> None:
    plain = to_plain(Outer("a", np.zeros(1), np.zeros(1, dtype=np.int64), (), Inner(1.0, Side.LEFT), later=9))
    assert from_plain(Outer, plain).later == 9
    del plain["later"]
    assert from_plain(Outer, plain).later == 7
    del plain["name"]
    with pytest.raises(KeyError, match="name"):
        from_plain(Outer, plain)


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no plain form"):
        to_plain((1, {2}))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-250, max_value=1e250), st.integers(1, 15))
@settings(max_examples=200, deadline=None)
def test_rounding_gives_the_number_that_its_digits_say(value: float, digits: int) -> None:
    (result,) = rounded(np.array([value]), digits)
    assert result == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits))
    assert rounded(np.array([result]), digits)[0] == pytest.approx(result, rel=1e-15)


def test_rounded_numbers_are_short_as_text() -> None:
    shares = np.random.default_rng(1).random(1000) ** 4
    texts = [repr(value).split("e")[0].replace(".", "").lstrip("0") for value in rounded(shares, 7).tolist()]
    assert max(len(text) for text in texts) == 7
    np.testing.assert_array_equal(
        rounded(np.array([0.0, math.inf, 123456.0, -2 / 3]), 3), [0, math.inf, 123000, -0.667]
    )

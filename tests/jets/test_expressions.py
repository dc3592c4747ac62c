"""Conditions of users, compared with pandas' query."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.jets.expressions import ExpressionError, parse_condition

FRAME = pd.DataFrame(
    {
        "a": np.arange(12),
        "b": np.linspace(-2, 2, 12),
        "c": np.array([0, 1, 2] * 4, dtype=np.int8),
        "n": np.where(np.arange(12) % 3 == 0, np.nan, 1.0),
    }
)
NAMES = [str(name) for name in FRAME]
COLUMNS: dict[str, Any] = {name: FRAME[name].to_numpy() for name in NAMES}


@st.composite
def numbers(draw: st.DrawFn, depth: int = 2) -> str:
    """Arithmetic on columns and numbers; never on numbers alone, where pandas raises for a division by 0."""
    leaf = st.one_of(st.sampled_from(NAMES), st.integers(-3, 9).map(lambda x: f"({x} + 0 * a)"))
    if depth == 0 or draw(st.booleans()):
        return draw(leaf)
    sign = draw(st.sampled_from(["+", "-", "*", "/", "//", "%"]))
    return f"({draw(numbers(depth - 1))} {sign} {draw(numbers(depth - 1))})"


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    """Comparisons joined by and, or, not, & and |."""
    if depth == 0 or draw(st.booleans()):
        sign = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
        # pandas refuses conditions on numbers alone.
        return f"a + {draw(numbers())} {sign} {draw(numbers())}"
    first, second = draw(conditions(depth - 1)), draw(conditions(depth - 1))
    word = draw(st.sampled_from(["and", "or", "&", "|"]))
    return draw(st.sampled_from([f"({first}) {word} ({second})", f"not ({first})", f"~({first})"]))


@given(conditions())
@settings(max_examples=30, deadline=None)
def test_conditions_mean_what_they_mean_in_pandas(text: str) -> None:
    with np.errstate(all="ignore"):
        expected = FRAME.query(text, engine="python").index
    np.testing.assert_array_equal(np.flatnonzero(parse_condition(text).holds(COLUMNS)), expected)


@pytest.mark.parametrize(
    "text",
    [
        "a % 2 == 1",
        "a>3 & b<1",
        "a>3 | b<-1 & c==1",
        "2 < a <= 5 != b",
        "c in [0, 2]",
        "c not in [0, 2] and a > 1",
        "c == [0, 1]",
        "c != [0, 1]",
        "a ** 2 > 20",
        "-b > 1",
        "abs(b) < 1",
        "(a > 2) & ~(c == 1)",
        "a / 0 > 1",
        "a % 0 == 0",
        "a > 1e0",
        "n == 1",
        "n != 1",
    ],
)
def test_the_ways_to_write_a_condition_agree_with_pandas(text: str) -> None:
    expected = FRAME.query(text, engine="python").index
    np.testing.assert_array_equal(np.flatnonzero(parse_condition(text).holds(COLUMNS)), expected)


def test_short_and_unsigned_numbers_do_not_wrap_around() -> None:
    columns: dict[str, Any] = {"u": np.array([1, 9], dtype=np.uint64), "s": np.array([100, 1], dtype=np.int8)}
    assert parse_condition("u - 5 < 0").holds(columns).tolist() == [True, False]
    assert parse_condition("s * 10 == 1000").holds(columns).tolist() == [True, False]


def test_event_numbers_beyond_2_to_the_53_are_told_apart() -> None:
    columns = {"eventNumber": np.array([2**53, 2**53 + 1], dtype=np.uint64)}
    assert parse_condition(f"eventNumber == {2**53 + 1}").holds(columns).tolist() == [False, True]


def test_a_condition_on_nothing_holds_for_all_rows() -> None:
    assert parse_condition("1 < 2").holds(COLUMNS).tolist() == [True] * 12
    assert parse_condition("True").holds(COLUMNS).all()


def test_the_columns_that_are_needed_are_known_before() -> None:
    assert parse_condition("abs(a) > 1 and 2 * jet_pt > c").columns == {"a", "jet_pt", "c"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "a number where a comparison was expected"),
        ("a and b > 1", "'a' is a number"),
        ("not a", "'a' is a number"),
        ("aa > 1", r"no column aa \(did you mean a\?\)"),
        ("a > 1 and", "cannot be read"),
        ("", "cannot be read"),
        ("a = 1", "cannot be read"),
        ("a; b", "cannot be read"),
        ("@x > 1", "cannot be read"),
        ("a.b > 1", "'a.b' is not allowed"),
        ("a[0] > 1", "not allowed"),
        ("__import__('os').system('true')", "not allowed"),
        ("abs(a, b) > 1", "functions are abs"),
        ("abs(x=a) > 1", "functions are abs"),
        ("delta_phi(a) > 1", "functions are abs"),
        ("(lambda: 1)()", "not allowed"),
        ("[x for x in a]", "not allowed"),
        ("a if b else c", "not allowed"),
        ("'x' == a", "'x' is no number"),
        ("1j < a", "is no number"),
        ("a in b", "'in' needs a list"),
        ("a < [1]", "'in' needs a list"),
        ("[1, 2]", "can only follow 'in'"),
        ("f'{a}' == 1", "not allowed"),
        ("(a := 1) > 0", "not allowed"),
        ("+".join(["a"] * 600) + " > 1", "too many parts"),
        ("not " * 60 + "a > 1", "too deeply"),
        ("-" * 1900 + "a > 1", "too deeply|cannot be read"),
        ("(" * 500 + "a" + ")" * 500 + " > 1", "cannot be read"),
        ("a > 1" + " " * 2000, "longer than 2000"),
        ("a > 1\x00", "cannot be read"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason) as caught:
        parse_condition(text).holds(COLUMNS)
    assert harmless(text[:20]) in str(caught.value)


def test_large_powers_take_no_time() -> None:
    assert parse_condition("9 ** 9 ** 9 ** 9 > a").holds(COLUMNS).all()
    assert parse_condition("1" + "0" * 400 + " > a").holds(COLUMNS).all()


def test_a_column_of_text_cannot_stand_in_a_condition() -> None:
    with pytest.raises(ExpressionError, match="source_file holds no numbers"):
        parse_condition("source_file > 1").holds({"source_file": np.array(["a", "b"], dtype=object)})


def test_names_that_are_no_words_stand_in_backticks() -> None:
    columns: dict[str, Any] = {"pass_L1LLP-NOMATCH": np.array([0, 1]), "a": np.array([1, 1])}
    condition = parse_condition("`pass_L1LLP-NOMATCH` + `a` == 2 and a > 0")
    assert condition.columns == {"pass_L1LLP-NOMATCH", "a"}
    assert condition.holds(columns).tolist() == [False, True]
    with pytest.raises(ExpressionError, match="no column pass_L1LLP-NOMATC "):
        parse_condition("`pass_L1LLP-NOMATC` == 1").holds(columns)
    with pytest.raises(ExpressionError, match="cannot be read"):
        parse_condition("`a > 1")


def test_numbers_of_lists_are_columns_where_they_are_asked_for() -> None:
    condition = parse_condition("jet_pT[0] > 60 and `jet-eta`[1] < 1", positions=True)
    assert condition.columns == {"jet_pT[0]", "jet-eta[1]"}
    assert condition.holds({"jet_pT[0]": np.array([70.0]), "jet-eta[1]": np.array([0.0])}).tolist() == [True]
    for text in ("a[-1] > 1", "a[b] > 1", "a[0][1] > 1", "a[0:2] > 1", "(a + b)[0] > 1"):
        with pytest.raises(ExpressionError, match="is not allowed here"):
            parse_condition(text, positions=True)


def test_distances_in_phi_go_the_short_way_round() -> None:
    columns: dict[str, Any] = {"a": np.array([3.1, 0.5, np.nan]), "b": np.array([-3.1, 3.5, 0.0])}
    np.testing.assert_array_equal(parse_condition("delta_phi(a, b) < 0.1").holds(columns), [True, False, False])
    np.testing.assert_array_equal(parse_condition("2.99 < delta_phi(b, a) < 3.01").holds(columns), [False, True, False])

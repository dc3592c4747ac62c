import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cal_ratio_trainer.evaluation.intervals import clopper_pearson, share, weighted_share

TAIL = 0.158655253931457


@pytest.mark.parametrize(("passed", "total"), [(3, 10), (1, 2), (999, 1000)])
def test_each_end_leaves_the_same_tail_of_the_binomial_distribution(passed: int, total: int) -> None:
    result = share(passed, total)
    assert binom.sf(passed - 1, total, result.low) == pytest.approx(TAIL)
    assert binom.cdf(passed, total, result.high) == pytest.approx(TAIL)
    assert result.low < result.value == passed / total < result.high


def test_none_of_ten_has_an_upper_end_only() -> None:
    # (1 - high)^10 = 0.158655, high = 1 - 0.158655^0.1
    result = share(0, 10)
    assert result.low == 0
    assert result.high == pytest.approx(1 - TAIL**0.1)
    assert share(10, 10).low == pytest.approx(TAIL**0.1)
    assert share(10, 10).high == 1


def test_errors_are_the_distances_to_the_ends() -> None:
    result = share(3, 10)
    assert result.error_down == pytest.approx(0.3 - result.low)
    assert result.error_up == pytest.approx(result.high - 0.3)


def test_an_effective_count_between_two_counts_lies_between_them() -> None:
    assert share(3, 10).high < share(3.5, 10).high < share(4, 10).high


def test_a_share_of_no_jets_is_unknown() -> None:
    assert math.isnan(share(0, 0).value)
    assert math.isnan(share(0, 0).high)


def test_equal_weights_give_back_the_count() -> None:
    passes = np.array([True] * 3 + [False] * 7)
    for weight in (1.0, 0.02, 350.0):
        result = weighted_share(np.full(10, weight), passes)
        assert (result.passed, result.total) == pytest.approx((3, 10))
        assert (result.low, result.high) == pytest.approx((share(3, 10).low, share(3, 10).high))


def test_one_passing_jet_counts_as_about_one_whatever_its_weight() -> None:
    # Many others: e is small, and the weight of the passing jet determines its error.
    for weight in (0.1, 1.0, 10.0):
        weights = np.append(np.ones(10_000), weight)
        result = weighted_share(weights, np.arange(10_001) == 10_000)
        assert result.passed == pytest.approx(1, rel=0.01)
        assert result.value == pytest.approx(weight / (10_000 + weight))


def test_the_spread_of_a_weighted_efficiency_is_the_one_of_simulated_samples() -> None:
    random = np.random.default_rng(5)
    weights, passes = random.lognormal(0, 1, (4000, 400)), random.random((4000, 400)) < 0.2
    measured = (weights * passes).sum(axis=1) / weights.sum(axis=1)
    found = [weighted_share(*sample) for sample in zip(weights[:300], passes[:300], strict=True)]
    variance = np.mean([each.value * (1 - each.value) / each.total for each in found])
    assert variance == pytest.approx(measured.var(), rel=0.1)


@given(st.integers(1, 60), st.floats(1e-3, 1e3), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_scale_of_all_weights_changes_nothing(jets: int, scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights, passes = random.lognormal(0, 1, jets), random.random(jets) < 0.5
    first, second = weighted_share(weights, passes), weighted_share(scale * weights, passes)
    assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))


def test_arrays_have_the_intervals_of_their_members() -> None:
    passed, total = np.array([0.0, 3.0, 10.0, 0.0]), np.array([10.0, 10.0, 10.0, 0.0])
    low, high = clopper_pearson(passed, total)
    expected = [share(*pair) for pair in zip(passed, total, strict=True)]
    np.testing.assert_array_equal(low, [each.low for each in expected])
    np.testing.assert_array_equal(high, [each.high for each in expected])


def test_weights_that_do_not_sum_to_more_than_nothing_have_no_share() -> None:
    assert math.isnan(weighted_share(np.array([1.0, -1.0]), np.array([True, False])).value)
    assert math.isnan(weighted_share(np.zeros(0), np.zeros(0, dtype=bool)).value)

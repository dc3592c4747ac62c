import math

import pytest
from scipy.stats import binom

from cal_ratio_trainer.evaluation.intervals import share

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

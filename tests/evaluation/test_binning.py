"""Binning of variables."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.binning import bin_edges, is_logarithmic
from cal_ratio_trainer.evaluation.scored import WeightedSample

RANDOM = np.random.default_rng(1)


def edges_of(*samples: Any, max_bins: int = 40, central_share: float = 0.99) -> NDArray[np.float64]:
    """Bin edges for values of weight 1."""
    unweighted = [WeightedSample.unweighted(np.asarray(sample, dtype=np.float64)) for sample in samples]
    return bin_edges(unweighted, max_bins, central_share)


NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NUMBERS, max_size=30), max_size=4), st.integers(2, 60), st.floats(0.5, 1.0))
def test_edges_rise_and_hold_the_middle_of_any_values(samples: list[list[float]], most: int, share: float) -> None:
    arrays = [np.array(sample) for sample in samples]
    edges = edges_of(*arrays, max_bins=most, central_share=share)
    assert len(edges) >= 2
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    for sample in arrays:
        if len(sample):
            middle = float(np.quantile(sample, 0.5))
            assert edges[0] <= middle <= edges[-1]


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        (RANDOM.normal(size=20_000), 0.99),
        (RANDOM.exponential(1.0, 20_000), 0.99),
        (RANDOM.normal(1e6, 1.0, 20_000), 0.99),
        (RANDOM.lognormal(0, 3, 20_000), 0.99),
    ],
)
def test_the_range_covers_the_wanted_share(values: np.ndarray, inside: float) -> None:
    edges = edges_of(values, central_share=inside)
    assert np.mean((values >= edges[0]) & (values < edges[-1])) >= inside - 1e-3
    assert 20 <= len(edges) - 1 <= 43


def test_outliers_do_not_stretch_the_axis() -> None:
    values = np.concatenate([RANDOM.normal(0, 0.1, 9_800), np.full(200, -500.0)])
    assert edges_of(values)[0] > -2


def test_outliers_leave_no_empty_end_of_the_axis() -> None:
    # Two of four hundred angles are not wrapped: more than half a per cent.
    values = np.append(RANDOM.uniform(-0.2, 0.2, 400), [-6.2, -6.1, -6.0])
    assert edges_of(values)[0] == pytest.approx(-0.2, abs=0.02)


def test_a_small_class_is_seen_beside_a_large_one() -> None:
    edges = edges_of(RANDOM.normal(0, 1, 100_000), RANDOM.normal(20, 1, 100))
    assert edges[0] < -2
    assert edges[-1] > 21


def test_a_sample_of_one_value_does_not_decide_how_many_bins_there_are() -> None:
    values = RANDOM.normal(size=20_000)
    assert len(edges_of(values, [0.1])) == len(edges_of(values))


def test_few_jets_get_few_bins() -> None:
    assert len(edges_of(RANDOM.uniform(size=100))) - 1 < 15


def test_whole_numbers_stand_in_the_middle_of_their_bins() -> None:
    np.testing.assert_array_equal(edges_of([0, 1, 1, 3], central_share=1.0), np.arange(-0.5, 4))


def test_many_whole_numbers_share_bins_evenly() -> None:
    edges = edges_of(np.arange(1000), central_share=1.0)
    assert len(edges) - 1 <= 40
    assert set(np.diff(edges)) == {25.0}


def test_angles_that_go_round_have_the_whole_circle() -> None:
    edges = edges_of(RANDOM.uniform(-math.pi, math.pi, 10_000))
    np.testing.assert_allclose(edges[[0, -1]], [-math.pi, math.pi], rtol=1e-5)
    assert edges[0] <= -math.pi
    assert edges[-1] > math.pi


def test_orders_of_magnitude_get_bins_of_equal_ratio() -> None:
    edges = edges_of(10 ** RANDOM.uniform(-3, 3, 10_000))
    assert is_logarithmic(edges)
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


def test_edges_are_round_numbers() -> None:
    edges = edges_of(RANDOM.uniform(0.013, 0.987, 10_000), max_bins=10)
    np.testing.assert_allclose(edges, np.arange(0, 1.01, 0.1), atol=1e-12)


def test_one_value_has_a_bin_around_it_and_none_has_one_too() -> None:
    np.testing.assert_array_equal(edges_of([3, 3]), [2.5, 3.5])
    np.testing.assert_array_equal(edges_of([]), [0.0, 1.0])


def test_large_whole_numbers_have_even_bins_and_no_logarithmic_axis() -> None:
    edges = edges_of(np.arange(1, 1_000_000, 17))
    assert not is_logarithmic(edges)
    assert len(set(np.diff(edges))) == 1


@pytest.mark.parametrize("values", [(0.3, 0.1 + 0.2), (1e9 + 0.5, 1e9 + 0.5000001), (1e17, 1e17 + 16), (0.0, 5e-324)])
def test_values_that_differ_by_rounding_share_a_bin(values: tuple[float, float]) -> None:
    edges = bin_edges([WeightedSample.unweighted(np.array(values * 50))])
    assert len(edges) == 2
    assert edges[0] < min(values)
    assert max(values) < edges[1]


def test_what_weighs_nothing_decides_nothing() -> None:
    values = np.concatenate([RANDOM.normal(0, 1, 9_000), RANDOM.normal(50, 1, 1_000)])
    light = WeightedSample(values, np.where(values > 25, 1e-6, 1.0))
    assert bin_edges([light])[-1] < 10
    nothing = WeightedSample(values, np.zeros(len(values)))
    np.testing.assert_array_equal(bin_edges([nothing]), edges_of(values))


def test_negative_weights_count_by_their_size() -> None:
    values = RANDOM.normal(0, 1, 1_000)
    negative = WeightedSample(values, np.full(1_000, -2.0))
    np.testing.assert_array_equal(bin_edges([negative]), edges_of(values))

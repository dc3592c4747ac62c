"""Which bins a variable gets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.binning import BinChoice, bin_edges, is_logarithmic

RANDOM = np.random.default_rng(1)
NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NUMBERS, max_size=30), max_size=4), st.integers(2, 60), st.floats(0.5, 1.0))
def test_edges_rise_and_hold_the_middle_of_any_values(samples: list[list[float]], most: int, share: float) -> None:
    arrays = [np.array(sample) for sample in samples]
    edges = bin_edges(arrays, BinChoice(most, share))
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
    edges = bin_edges([values], BinChoice(40, inside))
    assert np.mean((values >= edges[0]) & (values < edges[-1])) >= inside - 1e-3
    assert 20 <= len(edges) - 1 <= 43


def test_outliers_do_not_stretch_the_axis() -> None:
    values = np.concatenate([RANDOM.normal(0, 0.1, 9_800), np.full(200, -500.0)])
    assert bin_edges([values], BinChoice())[0] > -2


def test_a_small_class_is_seen_beside_a_large_one() -> None:
    edges = bin_edges([RANDOM.normal(0, 1, 100_000), RANDOM.normal(20, 1, 100)], BinChoice())
    assert edges[0] < -2
    assert edges[-1] > 21


def test_a_sample_of_one_value_does_not_decide_how_many_bins_there_are() -> None:
    values = RANDOM.normal(size=20_000)
    assert len(bin_edges([values, np.array([0.1])], BinChoice())) == len(bin_edges([values], BinChoice()))


def test_few_jets_get_few_bins() -> None:
    assert len(bin_edges([RANDOM.uniform(size=100)], BinChoice())) - 1 < 15


def test_whole_numbers_stand_in_the_middle_of_their_bins() -> None:
    np.testing.assert_array_equal(bin_edges([np.array([0.0, 1.0, 1.0, 3.0])], BinChoice(40, 1.0)), np.arange(-0.5, 4))


def test_many_whole_numbers_share_bins_evenly() -> None:
    edges = bin_edges([np.arange(1000.0)], BinChoice(40, 1.0))
    assert len(edges) - 1 <= 40
    assert set(np.diff(edges)) == {25.0}


def test_angles_that_go_round_have_the_whole_circle() -> None:
    edges = bin_edges([RANDOM.uniform(-math.pi, math.pi, 10_000)], BinChoice())
    np.testing.assert_allclose(edges[[0, -1]], [-math.pi, math.pi], rtol=1e-5)
    assert edges[0] <= -math.pi
    assert edges[-1] > math.pi


def test_orders_of_magnitude_get_bins_of_equal_ratio() -> None:
    edges = bin_edges([10 ** RANDOM.uniform(-3, 3, 10_000)], BinChoice())
    assert is_logarithmic(edges)
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


def test_edges_are_round_numbers() -> None:
    edges = bin_edges([RANDOM.uniform(0.013, 0.987, 10_000)], BinChoice(10))
    np.testing.assert_allclose(edges, np.arange(0, 1.01, 0.1), atol=1e-12)


def test_one_value_has_a_bin_around_it_and_none_has_one_too() -> None:
    np.testing.assert_array_equal(bin_edges([np.array([3.0, 3.0])], BinChoice()), [2.5, 3.5])
    np.testing.assert_array_equal(bin_edges([np.zeros(0)], BinChoice()), [0.0, 1.0])

"""Weights that make spectra flat or equal, and the limit on the share of a jet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building.flattening import WeightedPoints, edges_for, flattened, like
from cal_ratio_trainer.building.weighing import capped

SEEDS = st.integers(0, 2**32 - 1)


def falling(random: np.random.Generator, jets: int) -> np.ndarray:
    """Jet pt from 40 to 500 GeV of a spectrum that falls with the power 5."""
    low, high = 40.0**-4, 500.0**-4
    return np.asarray((low - random.uniform(size=jets) * (low - high)) ** -0.25)


def chi_squared(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> float:
    """Chi-squared of the deviation from a flat distribution, with errors from the weights."""
    sums = np.histogram(values, edges, weights=weights)[0]
    errors = np.sqrt(np.histogram(values, edges, weights=weights**2)[0])
    return float(np.sum(((sums - sums.mean()) / errors) ** 2))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_weighted_spectrum_becomes_flat_and_keeps_its_sum(seed: int) -> None:
    random = np.random.default_rng(seed)
    pt = np.concatenate([random.uniform(40, 500, 3000), falling(random, 3000)])
    weights = random.exponential(1.0, len(pt)) * (100 / pt) ** 3
    flat = flattened(WeightedPoints(pt[:, None], weights))
    assert flat.sum() == pytest.approx(weights.sum())
    assert np.all(flat > 0)
    edges = np.linspace(40, 500, 13)
    assert chi_squared(pt, weights, edges) > 1000
    assert chi_squared(pt, flat, edges) < 40


def test_a_steep_spectrum_is_flat_within_the_wide_bins_of_its_tail() -> None:
    pt = falling(np.random.default_rng(1), 200_000)
    flat = flattened(WeightedPoints(pt[:, None], np.ones(len(pt))))
    tail = np.histogram(pt, [100, 120, 140, 160, 180, 200], weights=flat)[0]
    np.testing.assert_allclose(tail / tail.mean(), 1.0, atol=0.15)


def test_two_variables_become_flat_together() -> None:
    random = np.random.default_rng(3)
    pt = 40 + 60 * random.exponential(size=40_000)
    kept = pt < 300
    pt, eta = pt[kept], np.clip(random.normal(0, 1.2 + 40 / pt, len(pt)), -2.5, 2.5)[kept]
    flat = flattened(WeightedPoints(np.stack([pt, eta], axis=1), np.ones(len(pt))))
    for low, high in ((40, 100), (100, 200), (200, 300)):
        own = (pt >= low) & (pt < high) & (np.abs(eta) < 2.4)
        sums = np.histogram(eta[own], 6, weights=flat[own])[0]
        np.testing.assert_allclose(sums / sums.mean(), 1.0, atol=0.2)
    sums = np.histogram(pt, [40, 80, 120, 160, 200, 240], weights=flat)[0]
    np.testing.assert_allclose(sums / sums.mean(), 1.0, atol=0.1)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_simulation_takes_sum_and_shape_of_data(seed: int) -> None:
    random = np.random.default_rng(seed)
    simulation = WeightedPoints(random.uniform(40, 500, (4000, 1)), random.exponential(1e6, 4000))
    data = WeightedPoints(falling(random, 2000)[:, None], np.ones(2000))
    result = like(simulation, data)
    assert result.sum() == pytest.approx(2000)
    edges = np.array([40, 50, 60, 80, 110, 160])
    wanted = np.histogram(data.values[:, 0], edges)[0]
    found = np.histogram(simulation.values[:, 0], edges, weights=result)[0]
    errors = np.histogram(simulation.values[:, 0], edges, weights=result**2)[0]
    assert np.sum((found - wanted) ** 2 / (errors + wanted)) < 30


def test_simulation_is_weighed_in_two_variables() -> None:
    random = np.random.default_rng(7)
    simulation = WeightedPoints(
        np.stack([random.uniform(40, 300, 30_000), random.normal(24, 7, 30_000)], 1), np.ones(30_000)
    )
    pileup = random.normal(33, 5, 20_000)
    data = WeightedPoints(
        np.stack([40 + 2 * np.abs(pileup) + random.uniform(0, 80, 20_000), pileup], 1), np.ones(20_000)
    )
    result = like(simulation, data)
    for variable in (0, 1):
        of_simulation = np.average(simulation.values[:, variable], weights=result)
        assert of_simulation == pytest.approx(data.values[:, variable].mean(), rel=0.03)
    means = np.average(simulation.values, axis=0, weights=result)
    pt, mu = (simulation.values - means).T
    correlation = np.sum(result * pt * mu) / np.sqrt(np.sum(result * pt**2) * np.sum(result * mu**2))
    pt, mu = (data.values - data.values.mean(axis=0)).T
    assert correlation == pytest.approx(np.sum(pt * mu) / np.sqrt(np.sum(pt**2) * np.sum(mu**2)), abs=0.1)


@pytest.mark.parametrize("jets", [1, 2, 30])
def test_few_or_equal_values_change_nothing_but_the_sum(jets: int) -> None:
    weights = np.arange(1.0, jets + 1)
    same = WeightedPoints(np.full((jets, 1), 5.0), weights)
    np.testing.assert_allclose(flattened(same), weights)
    np.testing.assert_allclose(like(same, WeightedPoints(np.full((3, 1), 5.0), np.ones(3))).sum(), 3.0)


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60),
    signs=st.lists(st.sampled_from([1.0, 1.0, -1.0]), min_size=60, max_size=60),
    share=st.floats(0.001, 1.0),
)
def test_no_weight_exceeds_its_share_of_the_sum_after_it_was_lowered(
    weights: list[float], signs: list[float], share: float
) -> None:
    given = np.array(weights) * signs[: len(weights)]
    found = capped(given, share)
    sizes = np.abs(given)
    if found is None:
        assert sizes.max() <= share * sizes.sum() * (1 + 1e-9)
        return
    after = np.abs(found.weights)
    assert np.all(np.sign(found.weights) == np.sign(given))
    untouched = sizes <= found.limit
    np.testing.assert_array_equal(found.weights[untouched], given[untouched])
    assert found.jets == np.count_nonzero(~untouched)
    assert found.share_lost == pytest.approx(1 - after.sum() / sizes.sum())
    if len(given) * share > 1:
        assert after.max() == pytest.approx(share * after.sum(), rel=1e-6)
    else:
        np.testing.assert_allclose(after, sizes.min())


def test_the_largest_share_by_hand() -> None:
    # 10 becomes c = 0.4 (c + 3): c = 2.
    found = capped(np.array([1.0, 10.0, 1.0, 1.0]), 0.4)
    assert found is not None
    assert found.weights == pytest.approx([1, 2, 1, 1])
    assert found.jets == 1
    assert found.share_lost == pytest.approx(8 / 13)
    assert capped(np.array([1.0, 2.0, 1.0, 1.0]), 0.4) is None
    assert capped(np.zeros(0), 0.5) is None


@settings(max_examples=30, deadline=None)
@given(low=st.floats(-1e4, 1e4), width=st.floats(1e-3, 1e4))
def test_edges_hold_all_values_in_a_usable_number_of_bins(low: float, width: float) -> None:
    edges = edges_for(np.array([low, low + width]))
    slack = 1e-6 * (edges[1] - edges[0])
    assert edges[0] <= low + slack
    assert edges[-1] >= low + width - slack
    assert 15 <= len(edges) <= 55

"""Weighted histograms of variables, against sums made jet by jet."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.variable_histograms import Counts, VariableCounter, mean_of_centres, ratio
from cal_ratio_trainer.evaluation.variables import Variable, find_variable
from cal_ratio_trainer.jets import Jets
from tests.jets.some_jets import some_jets

EDGES = np.array([0.0, 20.0, 40.0, 60.0])


def variable(name: str) -> Variable:
    """A variable of `some_jets`."""
    found = find_variable([name], some_jets(1).scalars.column_names)
    assert found is not None
    return found


def counted(name: str, jets: Jets, weights: np.ndarray, groups: np.ndarray, batch: int = 7) -> list[Counts]:
    """Counted in small batches."""
    counter = VariableCounter(variable(name), EDGES, 2)
    for start in range(0, len(jets), batch):
        part = slice(start, start + batch)
        counter.add(jets.slice(start, start + batch), groups[part], weights[part])
    return counter.counts()


def test_a_histogram_by_hand() -> None:
    jets = some_jets(4, jet_pt=np.array([10.0, 20.0, 45.0, 60.0], dtype=np.float32))
    first, second = counted("jet_pt", jets, np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(first.sums, [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(first.squares, [0, 1, 4, 9, 0])
    np.testing.assert_array_equal(second.sums, [0, 0, 0, 0, 4])
    assert (first.jets, second.jets) == (3, 1)
    both = first + second
    contents, errors = both.normalised()
    np.testing.assert_allclose(contents, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(errors, [0.1, 0.2, 0.3])
    assert both.outside == pytest.approx((0.0, 0.4))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(0, 1000), st.sampled_from(["jet_pt", "clus_pt", "clus_eta_1", "n_tracks"]))
def test_sums_and_variances_are_those_of_jets(count: int, seed: int, name: str) -> None:
    jets = some_jets(count, seed=seed + 1)
    random = np.random.default_rng(seed)
    weights, groups = random.normal(1, 1, count), random.integers(0, 2, count)
    asked = variable(name)
    for group, counts in enumerate(counted(name, jets, weights, groups)):
        sums, squares = np.zeros(5), np.zeros(5)
        for place in np.flatnonzero(groups == group):
            values = _values_of_one_jet(asked, jets, int(place))
            entries = np.histogram(values, [-np.inf, *EDGES, np.inf])[0]
            # numpy puts the last edge into the last bin but one.
            entries[-2] -= np.sum(values == EDGES[-1])
            entries[-1] += np.sum(values == EDGES[-1])
            sums += weights[place] * entries
            squares += (weights[place] * entries) ** 2
        np.testing.assert_allclose(counts.sums, sums, atol=1e-9)
        np.testing.assert_allclose(counts.squares, squares, atol=1e-9)


def _values_of_one_jet(asked: Variable, jets: Jets, place: int) -> np.ndarray:
    kind = asked.kind
    if kind is None:
        return np.array([jets[asked.name][place]])
    ragged = jets.constituents[kind.name].slice(place, place + 1)
    if asked.shape == "count":
        return np.array([float(len(ragged.values))])
    values = ragged.values[:, kind.columns.index(asked.column)]
    return values if asked.shape == "all" else values[asked.slot : asked.slot + 1]


@pytest.mark.parametrize("name", ["jet_pt", "clus_pt"])
def test_order_and_scale_of_weights_change_nothing_that_is_drawn(name: str) -> None:
    jets = some_jets(50)
    weights, groups = np.linspace(0.1, 3, 50), np.zeros(50, dtype=np.int64)
    order = np.random.default_rng(1).permutation(50)
    one = counted(name, jets, weights, groups)[0].normalised()
    other = counted(name, jets.take(order), 17 * weights[order], groups)[0].normalised()
    np.testing.assert_allclose(one, other)


def test_constituents_of_one_jet_fluctuate_together() -> None:
    jets = some_jets(200)
    counts = counted("clus_pt", jets, np.ones(200), np.zeros(200, dtype=np.int64))[0]
    assert (counts.squares[1:-1] > counts.sums[1:-1]).all()


def test_a_ratio_by_hand() -> None:
    first = Counts(np.array([0.0, 1, 3, 0, 0]), np.array([0.0, 1, 1, 0, 0]), 4)
    reference = Counts(np.array([0.0, 5, 0, 5, 0]), np.array([0.0, 5, 0, 5, 0]), 10)
    values, errors = ratio(first, reference)
    np.testing.assert_allclose(values, [0.5, math.nan, 0.0])
    np.testing.assert_allclose(errors, [0.5, math.nan, 0.0])


@pytest.mark.parametrize("sums", [[0.0, 0, 0, 0, 0], [0.0, 1, -3, 0, 0]])
def test_without_positive_weight_there_is_nothing_to_draw(sums: list[float]) -> None:
    counts = Counts(np.array(sums), np.abs(sums), 2)
    assert np.isnan(counts.normalised()).all()
    assert counts.outside == (0.0, 0.0)
    assert np.isnan(mean_of_centres(counts, EDGES)).all()


def test_the_mean_of_whole_numbers_is_exact() -> None:
    numbers = np.array([0, 1, 1, 2, 5])
    weights = np.array([1.0, 2, 1, 1, 3])
    sums = np.bincount(numbers, weights, minlength=6)
    squares = np.bincount(numbers, weights**2, minlength=6)
    mean, error = mean_of_centres(Counts(np.pad(sums, 1), np.pad(squares, 1), 5), np.arange(7.0) - 0.5)
    assert mean == pytest.approx(np.average(numbers, weights=weights))
    assert error == pytest.approx(math.sqrt(np.sum(weights**2 * (numbers - mean) ** 2)) / weights.sum())

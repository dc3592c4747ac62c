"""Variables by name, and their values."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.evaluation.scored import WeightedSample
from cal_ratio_trainer.evaluation.variables import (
    COUNTS,
    Variable,
    VariableCounter,
    bin_edges,
    find_variable,
    is_logarithmic,
    known_names,
    values_of,
)
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.schema import MISSING_T0
from tests.factories.jets import converted_jets


def three_jets() -> Jets:
    """Jets with 2, 0 and 1 clusters, the same numbers of segments; cluster pt 10, 20 and 30."""
    lists = {}
    for kind in CONSTITUENTS:
        values = np.arange(3 * len(kind.features), dtype=np.float32).reshape(3, -1)
        values[:, 0] = [10, 20, 30]
        lists[kind.name] = Ragged.from_lengths(values, np.array([2, 0, 1]))
    lists["muon_segments"].values[:, -1] = [5.0, MISSING_T0, np.nan]
    columns = {
        "label": [0, 1, 2],
        "jet_pt": [50.0, np.inf, 70.0],
        "jet_eta": np.zeros(3),
        "jet_phi": np.zeros(3),
        "mcEventWeight": [1.0, None, 2.0],
        "source_file": ["a", "b", "c"],
        "clean": [True, False, True],
    }
    return Jets.from_columns(columns, lists)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("jet_pt", Variable("jet_pt", "jet_pt", "scalar")),
        ("jet_pT", Variable("jet_pt", "jet_pt", "scalar")),
        ("clus_pt", Variable("clus_pt", "clus_pt", "all")),
        ("clus_pt_0", Variable("clus_pt_0", "clus_pt", "slot", 0)),
        ("nn_MSeg_t0_1", Variable("MSeg_t0_1", "MSeg_t0", "slot", 1)),
        ("track_pT_19", Variable("track_pt_19", "track_pt", "slot", 19)),
        ("n_tracks", Variable("n_tracks", "n_tracks", "count")),
    ],
)
def test_old_and_new_names_are_understood(name: str, meant: Variable) -> None:
    assert find_variable([name], ["jet_pt"]) == meant


@pytest.mark.parametrize(
    "name", ["clus_pt_30", "track_pt_20", "clus_pt_x", "clus_pt_-1", "jet_mass", "", "_0", "clus_pt_²"]
)
def test_what_no_file_can_have_is_nothing(name: str) -> None:
    assert find_variable([name], ["jet_pt"]) is None


def test_the_first_name_that_the_file_has_counts() -> None:
    assert find_variable(["HT", "jet_ht", "jet_pt"], ["jet_pt", "jet_ht"]) == Variable("jet_ht", "jet_ht", "scalar")


def test_a_scalar_column_named_like_a_slot_is_that_column() -> None:
    assert find_variable(["clus_pt_0"], ["clus_pt_0"]) == Variable("clus_pt_0", "clus_pt_0", "scalar")


def test_every_known_name_is_found() -> None:
    assert all(find_variable([name], ["jet_pt"]) is not None for name in known_names(["jet_pt"]))


@pytest.mark.parametrize(
    ("name", "values", "owners"),
    [
        ("jet_pt", [50, 70], [0, 2]),
        ("mcEventWeight", [1, 2], [0, 2]),
        ("clean", [1, 0, 1], [0, 1, 2]),
        ("source_file", [], []),
        ("clus_pt", [10, 20, 30], [0, 0, 2]),
        ("clus_pt_0", [10, 30], [0, 2]),
        ("clus_pt_1", [20], [0]),
        ("clus_pt_2", [], []),
        ("n_clusters", [2, 0, 1], [0, 1, 2]),
        ("MSeg_t0", [5], [0]),
        ("MSeg_t0_1", [], []),
    ],
)
def test_values_are_those_that_are_known_finite_and_measured(name: str, values: list[float], owners: list[int]) -> None:
    jets = three_jets()
    variable = find_variable([name], jets.scalars.column_names)
    assert variable is not None
    found = values_of(variable, jets)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.jets, owners)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingColumn, match="nothing"):
        values_of(Variable("nothing", "nothing", "scalar"), three_jets())


def test_no_jets_have_no_values() -> None:
    for name in ("jet_pt", "clus_pt", "clus_pt_0", "n_clusters"):
        variable = find_variable([name], ["jet_pt"])
        assert variable is not None
        assert len(values_of(variable, Jets.empty()).values) == 0


def test_there_is_a_number_of_constituents_for_each_kind() -> None:
    assert [variable.kind for variable in COUNTS] == list(CONSTITUENTS)


EDGES = np.array([0.0, 20.0, 40.0, 60.0])


def variable(name: str) -> Variable:
    """A variable of `converted_jets`."""
    found = find_variable([name], converted_jets(1).scalars.column_names)
    assert found is not None
    return found


def counted(name: str, jets: Jets, weights: np.ndarray, groups: np.ndarray, batch: int = 7) -> list[WeightedHistogram]:
    """Histogram filled in small batches."""
    counter = VariableCounter(variable(name), EDGES, 2)
    for start in range(0, len(jets), batch):
        part = slice(start, start + batch)
        counter.add(jets.slice(start, start + batch), groups[part], weights[part])
    return counter.histograms()


def test_a_histogram_by_hand() -> None:
    jets = converted_jets(4, jet_pt=np.array([10.0, 20.0, 45.0, 60.0], dtype=np.float32))
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
    jets = converted_jets(count, seed=seed + 1)
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
    jets = converted_jets(50)
    weights, groups = np.linspace(0.1, 3, 50), np.zeros(50, dtype=np.int64)
    order = np.random.default_rng(1).permutation(50)
    one = counted(name, jets, weights, groups)[0].normalised()
    other = counted(name, jets.take(order), 17 * weights[order], groups)[0].normalised()
    np.testing.assert_allclose(one, other)


def test_constituents_of_one_jet_fluctuate_together() -> None:
    jets = converted_jets(200)
    counts = counted("track_pt", jets, np.ones(200), np.zeros(200, dtype=np.int64))[0]
    assert (counts.squares[1:-1] > counts.sums[1:-1]).all()


def test_a_ratio_by_hand() -> None:
    first = WeightedHistogram(EDGES, np.array([0.0, 1, 3, 0, 0]), np.array([0.0, 1, 1, 0, 0]), 4)
    reference = WeightedHistogram(EDGES, np.array([0.0, 5, 0, 5, 0]), np.array([0.0, 5, 0, 5, 0]), 10)
    values, errors = first.ratio_to(reference)
    np.testing.assert_allclose(values, [0.5, math.nan, 0.0])
    np.testing.assert_allclose(errors, [0.5, math.nan, 0.0])


@pytest.mark.parametrize("sums", [[0.0, 0, 0, 0, 0], [0.0, 1, -3, 0, 0]])
def test_without_positive_weight_there_is_nothing_to_draw(sums: list[float]) -> None:
    counts = WeightedHistogram(EDGES, np.array(sums), np.abs(sums), 2)
    assert np.isnan(counts.normalised()).all()
    assert counts.outside == (0.0, 0.0)
    assert np.isnan(counts.mean()).all()


def test_the_mean_of_whole_numbers_is_exact() -> None:
    numbers = np.array([0, 1, 1, 2, 5])
    weights = np.array([1.0, 2, 1, 1, 3])
    sums = np.bincount(numbers, weights, minlength=6)
    squares = np.bincount(numbers, weights**2, minlength=6)
    mean, error = WeightedHistogram(np.arange(7.0) - 0.5, np.pad(sums, 1), np.pad(squares, 1), 5).mean()
    assert mean == pytest.approx(np.average(numbers, weights=weights))
    assert error == pytest.approx(math.sqrt(np.sum(weights**2 * (numbers - mean) ** 2)) / weights.sum())


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

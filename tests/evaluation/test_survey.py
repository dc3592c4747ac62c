"""Survey of a file of jets."""

import math
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.survey import JetClass, Survey, classes_of, weights_of
from cal_ratio_trainer.evaluation.variables import Variable
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.schema import MISSING_T0
from tests.factories.jets import converted_jets

PT = Variable("jet_pt", "jet_pt", "scalar")
CLUSTER_PT = Variable("clus_pt", "clus_pt", "all")


def surveyed(*batches: Jets, rows: int | None = None, variables: tuple[Variable, ...] = (PT,)) -> Survey:
    """A survey of some batches."""
    survey = Survey(variables, sum(map(len, batches)) if rows is None else rows, "mcEventWeight")
    for jets in batches:
        survey.add(jets)
    return survey


def signal(count: int, heavy: Any, light: Any, **columns: Any) -> Jets:
    """Signal jets of given masses."""
    masses: dict[str, Any] = {"llp_mH": np.full(count, heavy, np.float32), "llp_mS": np.full(count, light, np.float32)}
    return converted_jets(count, DataType.SIGNAL, **masses, **columns)


def test_classes_with_their_weights_are_summed_over_batches() -> None:
    background = converted_jets(5, mcEventWeight=np.array([1.0, 2.0, -1.0, 0.5, 0.5]))
    survey = surveyed(background, signal(3, 125, 55), signal(2, 125, 55), signal(4, 600, 150))
    assert {key: tally.jets for key, tally in survey.classes.items()} == {
        JetClass(0): 5,
        JetClass(1, (125.0, 55.0)): 5,
        JetClass(1, (600.0, 150.0)): 4,
    }
    tally = survey.classes[JetClass(0)]
    assert (tally.sum_of_weights, tally.sum_of_squares, tally.negative) == pytest.approx((3.0, 6.5, 1))
    assert tally.effective_number == pytest.approx(9 / 6.5)


def test_masses_of_background_make_no_class_and_signal_of_unknown_mass_is_one() -> None:
    odd = converted_jets(2, llp_mH=np.array([5, 6], np.float32))
    unknown = converted_jets(2, DataType.SIGNAL, llp_mH=np.array([np.nan, 125], np.float32))
    assert set(classes_of(odd)[0]) == {JetClass(0)}
    classes, positions = classes_of(unknown)
    assert set(classes) == {JetClass(1)}
    assert len(positions) == 2


def test_each_jet_has_the_position_of_its_class() -> None:
    jets = Jets.concatenate([signal(2, 125, 55), converted_jets(2), signal(1, 60, 5)])
    classes, positions = classes_of(jets)
    assert [classes[place] for place in positions] == [
        *[JetClass(1, (125.0, 55.0))] * 2,
        *[JetClass(0)] * 2,
        JetClass(1, (60.0, 5.0)),
    ]


def test_unknown_weights_count_one_bad_ones_none_and_both_are_counted() -> None:
    jets = converted_jets(4, mcEventWeight=[2.0, None, math.inf, math.nan])
    np.testing.assert_array_equal(weights_of(jets, "mcEventWeight"), [2.0, 1.0, 0.0, 0.0])
    survey = surveyed(jets)
    assert (survey.unknown_weights, survey.bad_weights) == (1, 2)
    np.testing.assert_array_equal(weights_of(jets, "no_such_column"), np.ones(4))


def test_odd_values_are_counted_by_column() -> None:
    jets = converted_jets(6, jet_pt=np.array([50, np.nan, np.inf, 60, 70, 80], np.float32), jet_phi=np.full(6, 4.0))
    segments = jets.constituents["muon_segments"].values
    segments[:2, -1] = MISSING_T0
    segments[2, 0] = np.nan
    columns = surveyed(jets, converted_jets(4, llp_mH=[None] * 4)).columns
    assert (columns["jet_pt"].entries, columns["jet_pt"].not_finite) == (10, 2)
    assert columns["jet_phi"].beyond_pi == 6
    assert columns["MSeg_t0"].not_measured == 2
    assert columns["MSeg_t0"].high < MISSING_T0
    assert columns["MSeg_etaPos"].not_finite == 1
    assert (columns["llp_mH"].null, columns["llp_mH"].entries) == (4, 6)
    assert columns["source_file"].text
    assert not columns["jet_eta"].is_odd
    assert (columns["jet_pt"].low <= 50, columns["jet_pt"].high >= 80) == (True, True)


def test_samples_are_all_values_of_a_small_file_by_label() -> None:
    background, heavy = converted_jets(30), signal(20, 125, 55, seed=2)
    survey = surveyed(background, heavy, variables=(PT, CLUSTER_PT))
    first, second = survey.samples_of(PT)
    np.testing.assert_array_equal(first.values, background["jet_pt"])
    np.testing.assert_array_equal(first.weights, background["mcEventWeight"])
    np.testing.assert_array_equal(second.values, heavy["jet_pt"])
    assert sum(map(len, survey.samples_of(CLUSTER_PT))) == sum(
        len(jets.constituents["clusters"].values) for jets in (background, heavy)
    )


def test_samples_of_a_large_file_come_from_all_of_it() -> None:
    batches = [converted_jets(2000, seed=seed, jet_pt=np.full(2000, seed, np.float32)) for seed in range(1, 6)]
    survey = surveyed(*batches, rows=100_000)
    (sample,) = survey.samples_of(PT)
    assert set(sample.values) == {1, 2, 3, 4, 5}
    assert 0.1 < len(sample) / 10_000 < 0.3


def test_no_jets_are_no_classes() -> None:
    survey = surveyed(Jets.empty())
    assert survey.classes == {}
    assert list(survey.samples_of(PT)) == []

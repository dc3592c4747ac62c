import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstwobign

from cal_ratio_trainer.evaluation import NonFiniteInput, ScoredJets, WeightedSample
from cal_ratio_trainer.evaluation.ks import (
    KsComparison,
    KsReference,
    expected_ks,
    ks_of_control_jets,
    overtraining,
    weighted_ks,
)
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_control_jets, plausible_jets

FEW_VALUES = st.lists(st.integers(0, 6), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=float))


def weighted(values: list[float], weights: list[float]) -> WeightedSample:
    return WeightedSample(np.array(values), np.array(weights))


def test_distance_of_two_weighted_samples_by_hand() -> None:
    # first: 1/4 at 1, 3/4 at 3. second: 1/2 at 2, 1/2 at 4.
    # behind 1: 0.25 - 0; behind 2: 0.25 - 0.5; behind 3: 1 - 0.5 = 0.5; behind 4: 0.
    assert weighted_ks(weighted([3, 1], [3, 1]), weighted([2, 4], [7, 7])) == pytest.approx(0.5)


def test_equal_values_count_as_one_step() -> None:
    # both have everything at 1: read between the two jets of equal value the distance would be 1.
    assert weighted_ks(weighted([1, 1], [1, 1]), weighted([1], [1])) == 0
    # behind 1: 2/3 - 1/4 = 5/12
    assert weighted_ks(weighted([1, 1, 2], [1, 1, 1]), weighted([1, 2, 2, 2], [1] * 4)) == pytest.approx(5 / 12)


def test_samples_that_do_not_overlap_are_at_distance_one() -> None:
    assert weighted_ks(weighted([0.1, 0.2], [1, 5]), weighted([0.3], [2])) == pytest.approx(1)


def test_negative_weights_enter_with_their_sign() -> None:
    # first: sum 2; behind 1: 3/2, behind 2: 2/2. second: all at 3. Distance 3/2: above 1 is possible.
    assert weighted_ks(weighted([1, 2], [3, -1]), weighted([3], [1])) == pytest.approx(1.5)


@pytest.mark.parametrize("other", [weighted([], []), weighted([1.0], [0.0]), weighted([1, 2], [1, -2])])
def test_a_sample_without_weight_is_at_no_distance(other: WeightedSample) -> None:
    some = weighted([1.0, 2.0], [1.0, 1.0])
    assert math.isnan(weighted_ks(some, other))
    assert math.isnan(weighted_ks(other, some))


@given(FEW_VALUES, FEW_VALUES)
@settings(max_examples=30, deadline=None)
# The warning is about its p-value, which is not used.
@pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy")
def test_without_weights_it_is_the_statistic_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    ours = weighted_ks(WeightedSample.unweighted(first), WeightedSample.unweighted(second))
    assert ours == pytest.approx(ks_2samp(first, second, method="asymp").statistic)


@given(FEW_VALUES, FEW_VALUES, st.randoms(use_true_random=False), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_order_scale_and_exchange_change_nothing(
    first: np.ndarray, second: np.ndarray, random: Random, scale: float
) -> None:
    weights = 1.0 + np.arange(len(first)) % 3
    before = weighted_ks(WeightedSample(first, weights), WeightedSample.unweighted(second))
    order = np.array(random.sample(range(len(first)), len(first)))
    changed = WeightedSample(first[order], scale * weights[order])
    assert weighted_ks(changed, WeightedSample.unweighted(second)) == pytest.approx(before)
    assert weighted_ks(WeightedSample.unweighted(second), changed) == pytest.approx(before)


@given(FEW_VALUES, FEW_VALUES)
@settings(max_examples=30, deadline=None)
def test_only_the_order_of_values_counts(first: np.ndarray, second: np.ndarray) -> None:
    plain = weighted_ks(WeightedSample.unweighted(first), WeightedSample.unweighted(second))
    stretched = weighted_ks(WeightedSample.unweighted(np.exp(first)), WeightedSample.unweighted(np.exp(second)))
    assert stretched == pytest.approx(plain)


@given(FEW_VALUES)
@settings(max_examples=30, deadline=None)
def test_a_sample_is_at_no_distance_from_itself(values: np.ndarray) -> None:
    sample = WeightedSample(values, 1.0 + np.arange(len(values)))
    assert weighted_ks(sample, sample) == pytest.approx(0, abs=1e-15)


def test_the_reference_tends_to_the_moments_of_kolmogorovs_distribution() -> None:
    jets = 2e8
    reference, scale = expected_ks(jets, jets), math.sqrt(2 / jets)
    assert reference.mean == pytest.approx(kstwobign.mean() * scale, rel=1e-4)
    assert reference.spread == pytest.approx(kstwobign.std() * scale, rel=1e-4)
    assert reference.critical == pytest.approx(kstwobign.ppf(0.95) * scale, rel=1e-4)


@pytest.mark.parametrize(("first", "second"), [(100, 100), (40, 300)])
def test_the_reference_is_what_simulation_gives(first: int, second: int) -> None:
    random = np.random.default_rng(1)
    distances = np.array([_distance_of_uniform(random, first, np.ones(second)) for _ in range(2000)])
    reference = expected_ks(first, second)
    # 2000 distances give a mean to 0.7 %; the formula is within 3 % here.
    assert distances.mean() == pytest.approx(reference.mean, rel=0.03)
    assert distances.std() == pytest.approx(reference.spread, rel=0.07)
    assert np.mean(distances > reference.critical) == pytest.approx(0.05, abs=0.02)


def test_the_reference_holds_for_spread_weights_at_the_effective_number() -> None:
    random = np.random.default_rng(2)
    weights = random.lognormal(0.0, 1.0, 300)
    effective = WeightedSample(weights, weights).effective_number
    assert effective < 200
    distances = np.array([_distance_of_uniform(random, 300, weights) for _ in range(1500)])
    reference = expected_ks(300, effective)
    assert distances.mean() == pytest.approx(reference.mean, rel=0.04)
    assert distances.std() == pytest.approx(reference.spread, rel=0.08)


@pytest.mark.parametrize(("jets", "total"), [(100, 0.67), (250, 0.43), (500, 0.32), (1250, 0.20), (2500, 0.14)])
def test_sums_of_three_ranges_are_those_measured_on_real_jets(jets: int, total: float) -> None:
    # The real control region has 43, 13 and 44 % of its jets in the three ranges.
    expected = sum(expected_ks(share * jets, share * jets).mean for share in (0.43, 0.13, 0.44))
    assert expected == pytest.approx(total, abs=0.012)


def test_an_empty_sample_has_no_reference() -> None:
    reference = expected_ks(0, 100)
    assert all(math.isnan(value) for value in (reference.mean, reference.spread, reference.critical))


def test_excess_by_hand() -> None:
    reference = KsReference(mean=0.10, spread=0.02, critical=0.16)
    assert KsComparison(0.15, reference).excess == pytest.approx(2.5)


def test_ranges_outputs_and_sums_of_the_control_region_by_hand() -> None:
    # Low range: QCD output at 0.2 and 0.4 in MC, 0.3 in data: distance 1/2. The edge 0.25 belongs to the middle.
    # Middle: MC 0.5 (weight 3) and 0.7 (weight 1), data 0.6: behind 0.5: 3/4. High: MC and data equal: 0.
    qcd = np.array([0.2, 0.4, 0.3, 0.5, 0.7, 0.6, 0.1, 0.1])
    is_data = np.array([False, False, True, False, False, True, False, True])
    pt = np.array([0.0, 0.1, 0.2, 0.25, 0.3, 0.49, 0.5, 7.0])
    weights = np.array([1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    scores = np.stack([qcd, np.zeros(8), 1 - qcd], axis=1)
    result = ks_of_control_jets(ScoredJets.control(scores, is_data, weights, pt))
    assert [comparison.distance for comparison in result[Label.QCD].ranges] == pytest.approx([0.5, 0.75, 0.0])
    assert result[Label.QCD].total == pytest.approx(1.25)
    assert result[Label.SIGNAL].total == 0
    assert result[Label.BIB].total == pytest.approx(1.25)
    assert result.effective_mc == pytest.approx([2, 16 / 10, 1])
    assert result.effective_data == pytest.approx([1, 1, 1])


def test_expectation_of_the_sum_adds_and_its_spread_adds_in_quadrature() -> None:
    result = ks_of_control_jets(plausible_control_jets(3000))[Label.BIB]
    references = [comparison.reference for comparison in result.ranges]
    assert result.expected == pytest.approx(sum(reference.mean for reference in references))
    assert result.spread == pytest.approx(math.hypot(*(reference.spread for reference in references)))
    assert result.excess == pytest.approx((result.total - result.expected) / result.spread)
    assert abs(result.excess) < 3


def test_a_range_that_lacks_data_is_nan_and_so_is_the_sum() -> None:
    jets = plausible_control_jets(300)
    no_mid_data = ~(jets.is_data & (jets.scaled_pt >= 0.25) & (jets.scaled_pt < 0.5))
    result = ks_of_control_jets(
        ScoredJets.control(
            jets.scores[no_mid_data], jets.is_data[no_mid_data], jets.weights[no_mid_data], jets.scaled_pt[no_mid_data]
        )
    )
    for output in result.outputs:
        assert [math.isnan(comparison.distance) for comparison in output.ranges] == [False, True, False]
        assert math.isnan(output.total)
        assert math.isnan(output.excess)
        # A rule "keep below 0.3" must not keep such an epoch.
        assert not output.total < 0.3


def test_jets_below_the_first_range_take_no_part() -> None:
    jets = plausible_control_jets(200)
    below = jets.scaled_pt.copy()
    below[jets.scaled_pt < 0.25] = -0.01
    result = ks_of_control_jets(ScoredJets.control(jets.scores, jets.is_data, jets.weights, below))
    assert math.isnan(result[Label.QCD].ranges[0].distance)
    assert result.effective_mc[0] == 0


def test_an_empty_control_region_is_all_nan() -> None:
    result = ks_of_control_jets(
        ScoredJets.control(np.zeros((0, 3)), np.zeros(0, dtype=np.bool_), np.zeros(0), np.zeros(0))
    )
    assert all(math.isnan(output.total) for output in result.outputs)


def test_history_figures_have_flat_names() -> None:
    result = ks_of_control_jets(plausible_control_jets(500))
    figures = result.to_dict()
    assert figures["ks_bib_hist"] == result[Label.BIB].total
    assert figures["ks_bib_expected"] == result[Label.BIB].expected
    assert figures["ks_sig_mid"] == result[Label.SIGNAL].ranges[1].distance
    assert figures["ks_sig_mid_critical"] == result[Label.SIGNAL].ranges[1].reference.critical
    assert figures["ks_high_data"] == result.effective_data[2]
    assert all(isinstance(value, float) for value in figures.values())


def test_scores_of_a_network_that_diverged_are_refused() -> None:
    jets = plausible_control_jets(10)
    scores = jets.scores.copy()
    scores[4] = np.nan
    with pytest.raises(NonFiniteInput, match="3 of 30 control-region scores"):
        ks_of_control_jets(ScoredJets.control(scores, jets.is_data, jets.weights, jets.scaled_pt))


def _distance_of_uniform(random: np.random.Generator, first: int, second_weights: np.ndarray) -> float:
    second = WeightedSample(random.random(len(second_weights)), second_weights)
    return weighted_ks(WeightedSample.unweighted(random.random(first)), second)


def test_the_distance_by_hand() -> None:
    # Train 0.2, 0.6; test 0.4, 0.8: between 0.2 and 0.4 half of train is below and none of test.
    found = overtraining(jets_on_signal_output([0.2, 0.6], [], []), jets_on_signal_output([0.4, 0.8], [], []))
    comparison = found.distance(Label.SIGNAL, Label.SIGNAL)
    assert comparison.distance == pytest.approx(0.5)
    assert comparison.reference == expected_ks(2, 2)
    assert math.isnan(found.distance(Label.QCD, Label.SIGNAL).distance)
    assert found.train.linear[Label.SIGNAL].jets.tolist() == [2, 0, 0]


def test_each_label_on_each_output_is_that_of_scipy() -> None:
    train, test = (
        replace(jets, weights=np.ones(len(jets))) for jets in (plausible_jets(500, 1), plausible_jets(300, 2))
    )
    found = overtraining(train, test)
    assert len(found.distances) == 9
    for output in Label:
        for label in Label:
            first, second = train.sample(label, output), test.sample(label, output)
            expected = ks_2samp(first.values, second.values).statistic
            assert found.distance(label, output).distance == pytest.approx(expected)


def test_identical_samples_have_no_distance() -> None:
    jets = plausible_jets(200)
    assert all(each.comparison.distance == pytest.approx(0, abs=1e-12) for each in overtraining(jets, jets).distances)

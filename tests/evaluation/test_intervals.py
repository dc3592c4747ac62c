"""Shares above cuts, counted in pieces."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cal_ratio_trainer.evaluation.intervals import Group, ShareTally, clopper_pearson, selections, share, weighted_share
from cal_ratio_trainer.evaluation.scored import NonFiniteInput
from cal_ratio_trainer.jets.labels import Label

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


CHOSEN = selections((0.5, 0.9))
QCD, SIGNAL = Group("qcd", "test"), Group("sig", "test", 125.0, 55.0)


def test_counts_and_errors_of_four_jets_worked_out_by_hand() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.02, 0.95, 0.03], [0.2, 0.6, 0.2], [0.4, 0.3, 0.3]])
    tally = ShareTally(CHOSEN)
    tally.add(scores, np.array([1.0, 2.0, 1.0, 3.0]), np.array([0, 1, 1, 0]), [QCD, SIGNAL])
    signal, qcd = tally.counts[SIGNAL], tally.counts[QCD]
    # Largest QCD, signal, BIB; signal above 0.5 and 0.9.
    assert signal.passed.tolist() == [0, 2, 0, 2, 1]
    assert qcd.passed.tolist() == [2, 0, 0, 0, 0]
    assert signal.share(4).value == 0.5
    assert signal.weighted_share(4).value == pytest.approx(2 / 3)
    # e (1 - e) (2 + 1)^2 / ((1 - e)^2 2^2 + e^2 1^2) at e = 2/3.
    assert signal.weighted_share(4).total == pytest.approx(9 / 4)
    assert signal.is_weighted
    assert [qcd.share(0).low, qcd.share(0).high] == pytest.approx([0.158655**0.5, 1.0], rel=1e-4)


@given(st.integers(0, 2**32), st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_weighted_shares_have_the_intervals_of_shares_that_are_not_counted_in_pieces(seed: int, jets: int) -> None:
    rng = np.random.default_rng(seed)
    scores, weights = rng.dirichlet(np.ones(3), jets), rng.lognormal(0, 1, jets)
    tally = ShareTally(CHOSEN)
    tally.add(scores, weights, np.zeros(jets, dtype=int), [QCD])
    for place, selection in enumerate(CHOSEN):
        expected = weighted_share(weights, selection.passes(scores))
        assert astuple(tally.counts[QCD].weighted_share(place)) == pytest.approx(astuple(expected))


def test_the_first_of_equal_outputs_is_the_largest() -> None:
    third = np.full((1, 3), 1 / 3)
    assert [selection.passes(third)[0] for selection in CHOSEN] == [True, False, False, False, False]


@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_any_cutting_into_pieces_and_any_order_counts_the_same(seed: int, jets: int, piece: int) -> None:
    rng = np.random.default_rng(seed)
    scores, weights = rng.dirichlet(np.ones(3), jets), rng.integers(1, 5, jets).astype(float)
    codes, groups = rng.integers(0, 2, jets), [QCD, SIGNAL]
    whole, pieces, other = ShareTally(CHOSEN), ShareTally(CHOSEN), ShareTally(CHOSEN)
    whole.add(scores, weights, codes, groups)
    order = rng.permutation(jets)
    for start in range(0, jets, piece):
        some = order[start : start + piece]
        (pieces if start % 2 else other).add(scores[some], weights[some], codes[some], groups)
    pieces.merge(other)
    for group, counts in whole.counts.items():
        assert pieces.counts[group].jets == counts.jets
        assert pieces.counts[group].weight == counts.weight
        np.testing.assert_array_equal(pieces.counts[group].passed, counts.passed)
        np.testing.assert_array_equal(pieces.counts[group].passed_weight, counts.passed_weight)
    assert pieces.counts.keys() == whole.counts.keys()


def test_groups_add_up_by_any_of_their_properties() -> None:
    tally = ShareTally(CHOSEN)
    groups = [Group("sig", "train", 125.0, 55.0), Group("sig", "test", 125.0, 55.0), Group("sig", "test", 600.0, 50.0)]
    scores = np.tile([0.1, 0.8, 0.1], (6, 1))
    tally.add(scores, np.ones(6), np.array([0, 1, 1, 2, 2, 2]), groups)
    assert {part: counts.jets for part, counts in tally.by(lambda group: group.part).items()} == {"train": 1, "test": 5}
    assert tally.by(lambda group: group.higgs_mass)[125.0].jets == 3
    assert not tally.counts[groups[0]].is_weighted


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NonFiniteInput, match="scores"):
        ShareTally(CHOSEN).add(np.full((2, 3), np.nan), np.ones(2), np.zeros(2, dtype=int), [QCD])


def test_no_jets_have_no_share() -> None:
    tally = ShareTally(CHOSEN)
    tally.add(np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=int), [QCD])
    assert tally.counts == {}
    assert CHOSEN[3].output == Label.SIGNAL

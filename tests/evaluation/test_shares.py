"""Shares above cuts, counted in pieces."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.intervals import weighted_share
from cal_ratio_trainer.evaluation.scored import NonFiniteInput
from cal_ratio_trainer.evaluation.shares import Group, ShareTally, selections
from cal_ratio_trainer.jets.labels import Label

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

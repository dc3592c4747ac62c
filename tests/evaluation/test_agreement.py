"""Two sets of scores of the same jets."""

import math

import numpy as np
import pytest
from scipy import stats

from cal_ratio_trainer.evaluation.agreement import agreement, agreements_by_class, largest_differences
from cal_ratio_trainer.evaluation.scored import NonFiniteInput
from cal_ratio_trainer.jets.labels import Label

FIRST = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])
SECOND = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.4, 0.3, 0.3], [0.6, 0.3002, 0.0998]])


def test_differences_of_four_jets_worked_out_by_hand() -> None:
    found = agreement(FIRST, SECOND)
    signal = found[Label.SIGNAL]
    assert signal.largest == pytest.approx(0.1)
    assert signal.mean == pytest.approx((0 + 0.1 + 0 + 0.0002) / 4)
    assert signal.median == pytest.approx(0.0001)
    assert signal.beyond == (2, 1, 1)
    assert found.decisions.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert found.same_decision == 0.75
    assert found.largest == pytest.approx(0.1)
    assert signal.differences.sum() == signal.plane.sum() == 4
    # Jets 0 and 2 do not differ at all: they are in the first bin.
    assert signal.differences[0] == 2


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    first = rng.dirichlet(np.ones(3), 500)
    second = np.clip(first + rng.normal(scale=0.1, size=first.shape), 0, 1)
    for label, output in zip(Label, agreement(first, second).outputs, strict=True):
        assert output.pearson == pytest.approx(stats.pearsonr(first[:, label], second[:, label])[0])
        assert output.spearman == pytest.approx(stats.spearmanr(first[:, label], second[:, label])[0])


def test_the_order_of_the_jets_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.dirichlet(np.ones(3), 200), rng.dirichlet(np.ones(3), 200)
    order = rng.permutation(200)
    one, other = agreement(first, second), agreement(first[order], second[order])
    assert [output.mean for output in one.outputs] == pytest.approx([output.mean for output in other.outputs])
    np.testing.assert_array_equal(one.decisions, other.decisions)


def test_a_constant_output_has_no_correlation_and_no_jets_have_nothing() -> None:
    constant = np.tile([0.2, 0.5, 0.3], (5, 1))
    assert math.isnan(agreement(constant, constant)[Label.QCD].pearson)
    nothing = agreement(np.zeros((0, 3)), np.zeros((0, 3)))
    assert math.isnan(nothing.same_decision)
    assert math.isnan(nothing[Label.BIB].largest)


def test_classes_without_jets_are_left_out() -> None:
    rows = {"sig": np.array([0, 1]), "bib": np.array([], dtype=int)}
    assert [(name, found.jets) for name, found in agreements_by_class(FIRST, SECOND, rows).items()] == [("sig", 2)]


def test_jets_that_differ_most_come_first_and_equal_ones_never() -> None:
    assert largest_differences(FIRST, SECOND, 10).tolist() == [1, 2, 3]
    assert largest_differences(FIRST, SECOND, 1).tolist() == [1]
    assert largest_differences(FIRST, FIRST, 10).tolist() == []


def test_scores_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="must both be"):
        agreement(FIRST, SECOND[:2])
    with pytest.raises(NonFiniteInput):
        agreement(FIRST, np.full_like(FIRST, np.nan))


def test_scores_beyond_their_range_are_in_the_bin_at_its_end() -> None:
    first = np.array([[0.0, 1.0000001, 0.0], [0.2, 3.0, 0.1]])
    found = agreement(first, np.array([[0.0, 0.5, 0.5], [0.2, 0.7, 0.1]]))[Label.SIGNAL]
    assert found.plane.sum() == found.differences.sum() == 2
    assert found.plane[-1].sum() == 2
    assert found.differences[-1] == 1

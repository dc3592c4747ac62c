"""Figures of two networks on the same jets, with the error of the difference."""

import math

import numpy as np
import pytest
from scipy import stats

from cal_ratio_trainer.evaluation.bootstrap import Resampling
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.paired import (
    PairedFigures,
    agreement,
    agreements_by_class,
    largest_differences,
    paired_figures,
    paired_ks,
)
from cal_ratio_trainer.evaluation.roc import roc_auc, roc_curve
from cal_ratio_trainer.evaluation.scored import NonFiniteInput, ScoredJets
from cal_ratio_trainer.jets.labels import Label

RESAMPLING = Resampling(100, seed=1)


def scored(labels: np.ndarray, signal_scores: np.ndarray, weights: np.ndarray | None = None) -> ScoredJets:
    """Jets with given signal scores; QCD and BIB share the rest."""
    rest = (1 - signal_scores) / 2
    scores = np.stack([rest * 1.1, signal_scores, 1 - signal_scores - rest * 1.1], axis=1)
    return ScoredJets(scores, labels, np.ones(len(labels)) if weights is None else weights)


def sample(jets: int, separation: float, seed: int, noise: float = 0.0) -> ScoredJets:
    """Jets of the three classes; the same seed gives the same jets, noise blurs the scores."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, jets)
    hidden = rng.normal(size=jets) + separation * (labels == Label.SIGNAL) + noise * rng.normal(size=jets)
    return scored(labels, 1 / (1 + np.exp(-hidden)), rng.uniform(0.5, 1.5, jets))


def by_name(found: PairedFigures) -> dict[str, tuple[float, float, float]]:
    return {each.name: (each.first.value, each.second.value, each.difference.value) for each in found.figures}


def test_values_are_those_of_the_single_figures() -> None:
    first, second = sample(400, 2.0, 1), sample(400, 2.0, 1, noise=1.0)
    found = by_name(paired_figures(first, second, np.arange(400), RESAMPLING))
    assert found["AUC, QCD + 0.1 BIB"] == pytest.approx(
        (roc_auc(first), roc_auc(second), roc_auc(second) - roc_auc(first))
    )
    passing = [roc_curve(jets).rejection_at(0.8).background_efficiency for jets in (first, second)]
    assert found["QCD + 0.1 BIB that passes at 80 % signal"][:2] == pytest.approx(passing)
    share = np.mean(first.predictions[first.labels == Label.SIGNAL] == Label.SIGNAL)
    assert found["signal taken for signal"][0] == pytest.approx(share)


def test_the_same_scores_differ_by_nothing_at_all() -> None:
    jets = sample(300, 2.0, 1)
    found = paired_figures(jets, jets, np.arange(300) // 2, RESAMPLING)
    assert all((each.difference.low, each.difference.high) == (0.0, 0.0) for each in found.figures)
    assert all(math.isnan(each.significance) for each in found.figures)
    ratio = found.rocs[0].ratio
    np.testing.assert_allclose(ratio[np.isfinite(ratio)], 1.0)


def test_the_error_of_the_difference_is_that_of_repeated_experiments_and_below_that_of_the_figures() -> None:
    differences, errors, own = [], [], []
    for seed in range(40):
        first, second = sample(500, 2.0, seed), sample(500, 2.0, seed, noise=0.3)
        figure = paired_figures(first, second, np.arange(500), Resampling(60, seed=1)).figures[0]
        differences.append(figure.difference.value)
        errors.append((figure.difference.error_up + figure.difference.error_down) / 2)
        own.append(figure.first.error_up)
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.3)
    assert np.mean(errors) < 0.6 * np.mean(own)


def test_a_better_network_is_seen_to_be_better() -> None:
    first, second = sample(1500, 2.0, 3, noise=2.0), sample(1500, 2.0, 3)
    found = {each.name: each for each in paired_figures(first, second, np.arange(1500), RESAMPLING).figures}
    assert found["AUC, QCD only"].significance > 3
    assert found["QCD only that passes at 90 % signal"].significance < -2
    assert not found["QCD only that passes at 90 % signal"].more_is_better


def test_permuting_jets_and_scaling_weights_changes_no_value() -> None:
    first, second = sample(300, 2.0, 1), sample(300, 2.0, 1, noise=1.0)
    order = np.random.default_rng(1).permutation(300)
    shuffled = [ScoredJets(jets.scores[order], jets.labels[order], 7 * jets.weights[order]) for jets in (first, second)]
    one = by_name(paired_figures(first, second, np.arange(300), RESAMPLING))
    other = by_name(paired_figures(shuffled[0], shuffled[1], np.arange(300)[order], RESAMPLING))
    for name, values in one.items():
        assert other[name] == pytest.approx(values), name


def test_the_mixture_of_a_replica_is_that_of_its_own_class_counts() -> None:
    # All QCD and no BIB pass every cut, so the passing share of the mixture is that of QCD.
    labels = np.repeat([Label.SIGNAL, Label.QCD, Label.BIB], [40, 6, 60])
    jets = scored(labels, np.repeat([0.5, 0.9, 0.1], [40, 6, 60]))
    figures = paired_figures(jets, jets, np.arange(len(labels)), Resampling(4000, seed=2))
    (mixture,) = [each.first for each in figures.figures if each.name == "QCD + 0.1 BIB that passes at 50 % signal"]
    drawn = np.random.default_rng(3).poisson([6, 6.0 * 10], (4000, 2))
    shares = drawn[:, 0] / (drawn[:, 0] + 0.1 * drawn[:, 1])
    assert mixture.value == pytest.approx(0.5)
    assert (mixture.high - mixture.low) / 2 == pytest.approx(
        np.diff(np.quantile(shares, [0.1587, 0.8413]))[0] / 2, rel=0.1
    )


def test_a_background_that_is_not_there_has_no_figures() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    jets = scored(labels, rng.uniform(size=200))
    names = by_name(paired_figures(jets, jets, np.arange(200), RESAMPLING))
    assert "AUC, QCD only" in names
    assert "AUC, BIB only" not in names


def test_where_no_background_passes_there_is_no_ratio() -> None:
    labels = np.repeat([0, 1, 2], 50)
    perfect = scored(labels, np.where(labels == 1, 0.9, 0.1) + np.linspace(0, 0.01, 150))
    found = paired_figures(perfect, perfect, np.arange(150), RESAMPLING)
    assert np.isnan(found.rocs[0].ratio).all()


def test_intervals_of_shares_stay_where_shares_are() -> None:
    jets = sample(60, 4.0, 5)
    shares = [each for each in paired_figures(jets, jets, np.arange(60), Resampling(50, 2)).figures if each.is_share]
    assert any(each.first.low == 0.0 for each in shares)
    assert all(0.0 <= each.first.low <= each.first.value <= each.first.high <= 1.0 for each in shares)


def test_the_k_s_sum_of_two_networks() -> None:
    rng = np.random.default_rng(1)
    is_data = rng.random(800) < 0.5
    shifted = np.clip(rng.uniform(size=800) * 0.9 + 0.1 * is_data, 0, 1)
    jets = [
        ScoredJets.control(
            np.stack([1 - values, values, np.zeros(800)], axis=1), is_data, np.ones(800), rng.uniform(size=800)
        )
        for values in (rng.uniform(size=800), shifted)
    ]
    figure = paired_ks(jets[0], jets[1], np.arange(800), RESAMPLING)
    assert figure.first.value == pytest.approx(sum(output.total for output in ks_of_control_jets(jets[0]).outputs))
    assert figure.difference.value == pytest.approx(figure.second.value - figure.first.value)
    assert not figure.more_is_better


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

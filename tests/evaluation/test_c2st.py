import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from cal_ratio_trainer.evaluation.c2st import MIN_JETS, c2st_of_control_jets
from cal_ratio_trainer.evaluation.scored import ScoredJets
from tests.factories.scored_jets import plausible_control_jets


def gaussian_control_jets(jets: int, shift: float, seed: int = 3) -> ScoredJets:
    """Control jets whose QCD log-odds are Gaussian, those of data shifted by `shift` standard deviations."""
    random = np.random.default_rng(seed)
    is_data = np.arange(jets) % 2 == 1
    qcd = expit(random.standard_normal(jets) + shift * is_data)
    # The rest in fixed shares: both other outputs follow from the first.
    scores = np.column_stack([qcd, 0.3 * (1 - qcd), 0.7 * (1 - qcd)])
    return ScoredJets.control(scores, is_data, np.ones(jets), random.random(jets))


@pytest.mark.parametrize("shift", [0.5, 1.5])
def test_shifted_gaussians_have_the_auc_of_theory(shift: float) -> None:
    result = c2st_of_control_jets(gaussian_control_jets(8000, shift)).overall
    assert result.auc == pytest.approx(norm.cdf(shift / math.sqrt(2)), abs=3 * result.error + 0.003)
    assert result.excess > 10


def test_identical_distributions_cannot_be_told_apart() -> None:
    excesses = []
    for seed in range(10):
        result = c2st_of_control_jets(plausible_control_jets(1200, seed), seed)
        excesses += [figure.excess for figure in (result.overall, *result.ranges)]
        assert result.overall.expected == pytest.approx(0.5, abs=0.01)
    assert abs(np.mean(excesses)) < 0.6
    assert 0.6 < np.std(excesses) < 1.4


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_difference_that_no_single_output_shows_is_found_as_by_scikit_learn() -> None:
    random = np.random.default_rng(5)
    is_data = np.arange(6000) % 2 == 1
    first, other = random.standard_normal((2, 6000))
    # Of data both outputs are correlated, of MC they are not; each by itself is the same.
    log_odds = np.column_stack([first, np.where(is_data, 0.5 * first + math.sqrt(0.75) * other, other)]) - 2
    scores = np.column_stack([1 - expit(log_odds).sum(axis=1), expit(log_odds)])
    jets = ScoredJets.control(np.abs(scores), is_data, np.ones(6000), random.random(6000))
    result = c2st_of_control_jets(jets)

    inputs = StandardScaler().fit_transform(np.column_stack([log_odds, jets.scaled_pt]))
    fold, judged = np.arange(6000) // 2 % 5, np.zeros(6000)
    for number in range(5):
        network = MLPClassifier((32, 32), max_iter=10, random_state=1, tol=0).fit(
            inputs[fold != number], is_data[fold != number]
        )
        judged[fold == number] = network.predict_proba(inputs[fold == number])[:, 1]
    reference = c2st_auc(judged, is_data)
    assert result.overall.excess > 5
    assert result.overall.auc > reference - 0.01


def c2st_auc(scores: np.ndarray, is_data: np.ndarray) -> float:
    """AUC of data against MC by pairs, through ranks."""
    ranks = np.argsort(np.argsort(scores)) + 1.0
    data = int(is_data.sum())
    return float((ranks[is_data].sum() - data * (data + 1) / 2) / (data * (len(scores) - data)))


def test_weights_undo_a_difference_and_make_one() -> None:
    jets = gaussian_control_jets(4000, 0.6)
    log_odds = np.log(jets.scores[:, 0] / (1 - jets.scores[:, 0]))
    # The ratio of the two densities, which makes of MC what data are.
    ratio = np.exp(0.6 * log_odds - 0.18)
    assert abs(c2st_of_control_jets(replace(jets, weights=np.where(jets.is_data, 1.0, ratio))).overall.excess) < 3
    assert c2st_of_control_jets(jets).overall.excess > 10


def test_negative_weights_enter_with_their_sign() -> None:
    jets, more = gaussian_control_jets(4000, 0.0), gaussian_control_jets(2000, 1.5, seed=4)
    # MC gets jets of another distribution, and as many with negative weights, which take them away again.
    signs = np.where(more.is_data, np.where(np.arange(2000) % 4 == 1, 0.8, -0.8), 0.0)
    both = concatenated(jets, replace(more, labels=np.zeros(2000, np.int8), weights=signs))
    assert abs(c2st_of_control_jets(both).overall.excess) < 3
    assert c2st_of_control_jets(replace(both, weights=np.abs(both.weights))).overall.excess > 5


def concatenated(first: ScoredJets, second: ScoredJets) -> ScoredJets:
    """Jets of both."""
    return ScoredJets.control(
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.is_data, second.is_data]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.scaled_pt, second.scaled_pt]),
    )


def taken(jets: ScoredJets, positions: np.ndarray) -> ScoredJets:
    """Jets at some positions."""
    return ScoredJets.control(
        jets.scores[positions], jets.is_data[positions], jets.weights[positions], jets.scaled_pt[positions]
    )


def test_a_seed_gives_the_same_result_and_another_one_other_folds() -> None:
    jets = plausible_control_jets(600)
    first = c2st_of_control_jets(jets, 7)
    assert c2st_of_control_jets(jets, 7) == first
    assert c2st_of_control_jets(jets, 8) != first
    # The scale of the weights of a kind does not matter; a power of 2 leaves every digit.
    scaled = replace(jets, weights=jets.weights * np.where(jets.is_data, 8.0, 0.25))
    assert c2st_of_control_jets(scaled, 7) == first


def test_repeated_jets_of_one_event_stand_in_one_fold() -> None:
    jets = plausible_control_jets(400)
    repeated = np.repeat(np.arange(400), 4)
    four_times = replace(taken(jets, repeated), events=repeated)
    by_event = c2st_of_control_jets(four_times).overall
    by_jet = c2st_of_control_jets(replace(four_times, events=None)).overall
    # A copy of a jet in the training tells its label.
    assert abs(by_event.excess) < 3 < by_jet.excess
    assert by_event.error > 1.7 * by_jet.error


def test_of_more_jets_whole_events_are_drawn() -> None:
    jets = replace(plausible_control_jets(900), events=np.repeat(np.arange(300), 3))
    assert c2st_of_control_jets(jets, max_jets=500).jets == 498
    assert c2st_of_control_jets(jets).jets == 900


def test_too_few_jets_give_no_result() -> None:
    nothing = c2st_of_control_jets(plausible_control_jets(0))
    assert nothing.jets == 0
    assert all(math.isnan(value) for value in nothing.to_dict().values())
    few = plausible_control_jets(400)
    of_data = np.flatnonzero(few.is_data)[: MIN_JETS - 1]
    kept = np.sort(np.concatenate([of_data, np.flatnonzero(~few.is_data)]))
    assert math.isnan(c2st_of_control_jets(taken(few, kept)).overall.auc)
    cancelling = replace(few, weights=np.where(few.is_data, 1.0, -1.0))
    assert math.isnan(c2st_of_control_jets(cancelling).overall.excess)


def test_scores_of_0_and_1_and_a_rounding_beyond_are_certain() -> None:
    jets = gaussian_control_jets(400, 0.0)
    certain = np.where(jets.is_data[:, None], [1.0000001, -1e-9, 0.0], [0.0, 0.0, 1.0])
    assert c2st_of_control_jets(replace(jets, scores=certain)).overall.auc == pytest.approx(1)


def test_jets_that_are_all_the_same_cannot_be_told_apart() -> None:
    jets = plausible_control_jets(400)
    same = replace(jets, scores=np.tile([1.0, 0.0, 0.0], (400, 1))).with_columns(scaled_pt=np.full(400, 0.3))
    assert abs(c2st_of_control_jets(same).overall.excess) < 3


def test_ranges_of_pt_are_judged_by_themselves() -> None:
    jets = gaussian_control_jets(4000, 0.0)
    shifted = gaussian_control_jets(4000, 1.0)
    high = jets.scaled_pt >= 0.5
    result = c2st_of_control_jets(replace(jets, scores=np.where(high[:, None], shifted.scores, jets.scores)))
    assert [figure.excess > 10 for figure in result.ranges] == [False, False, True]
    assert result.ranges[2].auc > result.overall.auc
    names = [name for name in result.to_dict() if name.endswith("auc")]
    assert names == ["c2st_auc", "c2st_low_auc", "c2st_mid_auc", "c2st_high_auc"]
    assert all(one.low < other.low for one, other in pairwise(result.pt_ranges))

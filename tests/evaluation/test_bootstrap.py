"""Errors from bootstrap samples of the events."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.evaluation.bootstrap import Resampled, Resampling, resampled_aucs, resampled_ks
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import BACKGROUNDS, QCD_ONLY, roc_auc
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label


def main_jets(rng: np.random.Generator, labels: np.ndarray, steps: int | None = None) -> ScoredJets:
    score = np.clip(0.3 + 0.3 * (labels == Label.SIGNAL) + 0.15 * rng.normal(size=len(labels)), 0, 1)
    score = score if steps is None else np.round(score * steps) / steps
    return ScoredJets(np.stack([1 - score, score, 0 * score], axis=1), labels, rng.uniform(0.5, 1.5, len(labels)))


def control_jets(rng: np.random.Generator, jets: int, shift: float, steps: int = 1000) -> ScoredJets:
    is_data = rng.random(jets) < 0.5
    score = np.round(steps / (1 + np.exp(-rng.normal(size=jets) - shift * is_data))) / steps
    scores = np.stack([0.7 * (1 - score), score, 0.3 * (1 - score)], axis=1)
    return ScoredJets.control(scores, is_data, rng.uniform(0.5, 1.5, jets), rng.uniform(0, 1, jets))


def repeated_main(jets: ScoredJets, times: np.ndarray) -> ScoredJets:
    scores, labels, weights = (np.repeat(column, times, axis=0) for column in (jets.scores, jets.labels, jets.weights))
    return ScoredJets(scores, labels, weights)


def repeated_control(jets: ScoredJets, times: np.ndarray) -> ScoredJets:
    scores, weights, pt = (np.repeat(column, times, axis=0) for column in (jets.scores, jets.weights, jets.scaled_pt))
    return ScoredJets.control(scores, np.repeat(jets.is_data, times), weights, pt)


def drawn(events: np.ndarray, resampling: Resampling) -> np.ndarray:
    return np.concatenate(list(resampling.drawn(events)))


@given(seed=st.integers(0, 10_000), jets=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_replica_has_the_figures_of_a_sample_in_which_each_event_stands_as_often_as_it_was_drawn(
    seed: int, jets: int
) -> None:
    rng = np.random.default_rng(seed)
    main, control = main_jets(rng, rng.integers(0, 3, jets), steps=8), control_jets(rng, jets, 0.5, steps=8)
    events = rng.integers(0, max(1, jets // 2), jets)
    resampling = Resampling(5, seed)
    aucs, ks = resampled_aucs(main, events, resampling, BACKGROUNDS), resampled_ks(control, events, resampling)
    for replica, times in enumerate(drawn(events, resampling)):
        again = [roc_auc(repeated_main(main, times), background) for background in BACKGROUNDS]
        assert [auc.replicas[replica] for auc in aucs] == pytest.approx(again, nan_ok=True, abs=1e-12)
        outputs = ks_of_control_jets(repeated_control(control, times)).outputs
        assert ks.replicas[replica] == pytest.approx(sum(each.total for each in outputs), nan_ok=True, abs=1e-12)


def test_the_error_of_the_auc_is_that_of_delong() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([Label.SIGNAL, Label.QCD], [600, 900])
    jets = main_jets(rng, labels)
    jets = ScoredJets(jets.scores, labels, np.ones(len(labels)))
    (auc,) = resampled_aucs(jets, np.arange(len(labels)), Resampling(1500, 1), (QCD_ONLY,))
    # E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837: the variance of the placements.
    signal, qcd = jets.scores[:600, Label.SIGNAL], jets.scores[600:, Label.SIGNAL]
    won = (signal[:, None] > qcd[None, :]) + 0.5 * (signal[:, None] == qcd[None, :])
    delong = math.sqrt(won.mean(axis=1).var(ddof=1) / 600 + won.mean(axis=0).var(ddof=1) / 900)
    # 1500 replicas give a standard deviation to 2 %, and the quantiles to 3 %.
    assert auc.replicas.std() == pytest.approx(delong, rel=0.07)
    assert (auc.interval.high - auc.interval.low) / 2 == pytest.approx(delong, rel=0.09)


def test_jets_that_come_in_pairs_are_drawn_in_pairs() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([Label.SIGNAL, Label.QCD], 400)
    single = main_jets(rng, labels)
    twice = repeated_main(single, np.full(len(labels), 2))
    resampling = Resampling(600, 2)
    (error,) = resampled_aucs(single, np.arange(800), resampling, (QCD_ONLY,))
    (by_event,) = resampled_aucs(twice, np.repeat(np.arange(800), 2), resampling, (QCD_ONLY,))
    (by_jet,) = resampled_aucs(twice, np.arange(1600), resampling, (QCD_ONLY,))
    assert by_event.replicas == pytest.approx(error.replicas)
    assert by_jet.replicas.std() == pytest.approx(by_event.replicas.std() / math.sqrt(2), rel=0.1)


def test_the_error_of_the_ks_sum_is_how_much_it_moves_from_sample_to_sample() -> None:
    rng = np.random.default_rng(5)
    sums, errors = [], []
    for seed in range(60):
        ks = resampled_ks(control_jets(rng, 900, 0.4), np.arange(900), Resampling(60, seed))
        sums.append(ks.value)
        errors.append((ks.interval.high - ks.interval.low) / 2)
    # 60 samples give a standard deviation to 9 %.
    assert np.mean(errors) == pytest.approx(np.std(sums), rel=0.3)


def test_the_difference_of_two_networks_on_the_same_events_is_better_known_than_either() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 800)
    first = main_jets(rng, labels)
    second = ScoredJets(np.clip(first.scores + 0.01 * rng.normal(size=(800, 1)), 0, 1), labels, first.weights)
    events, resampling = np.arange(800), Resampling(300, 1)
    one, other = (resampled_aucs(jets, events, resampling, (QCD_ONLY,))[0] for jets in (first, second))
    difference = one.minus(other)
    assert difference.value == pytest.approx(one.value - other.value)
    assert difference.error_up < 0.3 * one.interval.error_up


def test_many_jets_are_drawn_in_pieces_and_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    events = np.array([5, 5, 7, 9, 7])
    whole = drawn(events, Resampling(20, 3))
    monkeypatch.setattr("cal_ratio_trainer.evaluation.bootstrap._VALUES_AT_A_TIME", 15)
    pieces = list(Resampling(20, 3).drawn(events))
    assert [len(piece) for piece in pieces] == [3, 3, 3, 3, 3, 3, 2]
    assert (np.concatenate(pieces) == whole).all()
    assert (whole[:, [0, 2]] == whole[:, [1, 4]]).all()
    assert (drawn(events, Resampling(20, 4)) != whole).any()


def test_a_figure_that_most_replicas_lack_has_no_interval() -> None:
    assert math.isnan(Resampled(0.5, np.array([math.nan, math.nan, 0.4])).interval.low)
    assert math.isnan(Resampled(0.5, np.zeros(0)).interval.high)
    known = Resampled(0.5, np.array([0.4, 0.6, math.nan])).interval
    assert known.low < 0.5 < known.high
    assert known.error_down == pytest.approx(known.error_up)

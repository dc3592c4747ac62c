"""Decreases of AUC and rejection with their errors."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.bootstrap import Resampling
from cal_ratio_trainer.evaluation.importance import Importance, Importances, JudgedScores, decreases, events_of
from cal_ratio_trainer.evaluation.plain import from_plain, to_plain
from cal_ratio_trainer.evaluation.roc import QCD_ONLY, roc_auc, roc_curve
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets


def with_noise(jets: ScoredJets, seed: int) -> ScoredJets:
    """The same jets with worse scores on the signal output."""
    noisy = jets.scores.astype(np.float64)
    noisy[:, Label.SIGNAL] += np.random.default_rng(seed).normal(0, 0.25, len(jets))
    return replace(jets, scores=noisy)


def test_equal_scores_decrease_nothing_exactly() -> None:
    jets = plausible_jets(300)
    judged = JudgedScores.of(jets)
    for found in decreases(judged, [JudgedScores.of(jets) for _ in range(3)], events_of(jets, np.arange(300))):
        assert (found.value, found.error, found.permutation_error) == (0.0, 0.0, 0.0)


def test_decreases_of_four_jets_are_those_of_counting_pairs() -> None:
    # Of four pairs of signal and background all are right before, two after: AUC 1 and 1/2.
    before = jets_on_signal_output([0.9, 0.8], [0.2, 0.1], [])
    after = jets_on_signal_output([0.9, 0.1], [0.2, 0.8], [])
    auc, lost = decreases(JudgedScores.of(before), [JudgedScores.of(after)], events_of(before, np.arange(4)))
    assert auc.value == 0.5
    assert math.isnan(auc.permutation_error)
    # No background passes before.
    assert math.isnan(lost.value)
    assert math.isnan(lost.error)


def test_loss_of_rejection_is_the_mean_over_the_permutations() -> None:
    jets = plausible_jets(2000)
    some = [with_noise(jets, seed) for seed in (1, 2)]
    rejection = [roc_curve(each).rejection_at(0.9).value for each in (jets, *some)]
    _, lost = decreases(JudgedScores.of(jets), list(map(JudgedScores.of, some)), events_of(jets, np.arange(2000)))
    expected = [1 - each / rejection[0] for each in rejection[1:]]
    assert lost.value == pytest.approx(np.mean(expected))
    assert lost.permutation_error == pytest.approx(abs(expected[0] - expected[1]) / 2)


def test_errors_are_those_of_samples_drawn_anew_event_by_event() -> None:
    # Two jets of each event; the shares of the classes in the background are fixed, as the errors take them.
    jets = plausible_jets(2000)
    worse, events = with_noise(jets, 1), np.arange(2000) // 2
    judged = [JudgedScores.of(each, QCD_ONLY) for each in (jets, worse)]
    event = np.unique(
        np.concatenate([events[jets.positions[Label.SIGNAL]], events[jets.positions[Label.QCD]]]), return_inverse=True
    )[1]
    auc, lost = decreases(judged[0], judged[1:], event)
    drawn_aucs, drawn_losses = [], []
    for drawn in next(Resampling(150, 7).drawn(events)):
        again = [replace(each, weights=each.weights * drawn) for each in (jets, worse)]
        aucs = [roc_auc(each, QCD_ONLY) for each in again]
        passing = [roc_curve(each, QCD_ONLY).rejection_at(0.9).background_efficiency for each in again]
        drawn_aucs.append(aucs[0] - aucs[1])
        drawn_losses.append(1 - passing[0] / passing[1])
    # The error of a standard deviation from 150 samples is 6 %; the slope of the ROC curve is estimated too.
    assert auc.error == pytest.approx(np.std(drawn_aucs), rel=0.15)
    assert lost.error == pytest.approx(np.std(drawn_losses), rel=0.25)


def test_figures_are_json_and_come_back() -> None:
    jets = plausible_jets(200)
    pair = decreases(JudgedScores.of(jets), [JudgedScores.of(with_noise(jets, 1))], events_of(jets, np.arange(200)))
    one = Importance("clus_time", "clusters", *pair)
    found = Importances(200, 1, 1, 0.9, math.inf, (one,), (one,))
    plain = json.loads(json.dumps(to_plain(found), allow_nan=False))
    again = from_plain(Importances, plain)
    assert again.inputs[0].auc.value == pair[0].value
    assert math.isinf(again.rejection)
    assert math.isnan(again.inputs[0].auc.permutation_error)

import math

import numpy as np
import pytest

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.classification import (
    confusion_matrix,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
)
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.jets.labels import Label

QCD, SIGNAL, BIB = [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]


def test_confusion_and_accuracy_by_hand() -> None:
    scores = np.array([QCD, QCD, SIGNAL, SIGNAL, BIB, QCD])
    labels = np.array([0, 1, 1, 1, 2, 2], dtype=np.int8)
    matrix = confusion_matrix(ScoredJets(scores, labels, np.arange(6.0)))
    np.testing.assert_array_equal(matrix.counts, [[1, 0, 0], [1, 2, 0], [1, 0, 1]])
    assert matrix.accuracy == 4 / 6
    np.testing.assert_allclose(matrix.shares, [[1.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.0], [0.5, 0.0, 0.5]])


def test_a_label_without_jets_has_no_shares() -> None:
    matrix = confusion_matrix(ScoredJets(np.array([QCD]), np.array([0]), np.ones(1)))
    assert np.isnan(matrix.shares[1]).all()
    assert matrix.accuracy == 1
    assert math.isnan(confusion_matrix(ScoredJets(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0))).accuracy)


TAKEN, MISSED = [0.2, 0.5, 0.3], [0.5, 0.3, 0.2]


def jets(rows: list[tuple[list[float], Label, float, float, float]]) -> ScoredJets:
    scores, labels, weights, mh, ms = (np.array(column) for column in zip(*rows, strict=True))
    return ScoredJets(scores, labels, weights, mh, ms)


def test_efficiency_of_each_mass_point_by_hand() -> None:
    result = signal_efficiencies(
        jets(
            [
                (TAKEN, Label.SIGNAL, 1, 600, 50),
                (TAKEN, Label.SIGNAL, 9, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 55),
                (MISSED, Label.SIGNAL, 1, 125, 5),
                (TAKEN, Label.QCD, 1, 125, 55),
                (TAKEN, Label.BIB, 1, 0, 0),
            ]
        )
    )
    assert [(point.higgs_mass, point.scalar_mass) for point in result] == [(125, 5), (125, 55), (600, 50)]
    assert [point.efficiency for point in result] == [share(0, 1), share(1, 3), share(1, 1)]


def test_false_positives_by_count_and_by_weight() -> None:
    qcd, bib = false_positives(
        jets(
            [
                (TAKEN, Label.QCD, 1, 0, 0),
                (MISSED, Label.QCD, 1, 0, 0),
                (MISSED, Label.QCD, 2, 0, 0),
                (TAKEN, Label.BIB, 1, 0, 0),
                (TAKEN, Label.SIGNAL, 1, 0, 0),
            ]
        )
    )
    assert (qcd.label, bib.label) == (Label.QCD, Label.BIB)
    assert qcd.by_count == share(1, 3)
    # One weight of four passes: var = ((3/4)^2 1 + (1/4)^2 (1 + 4)) / 16 = 14/256; (1/4 3/4) / var effective jets.
    assert qcd.by_weight.value == pytest.approx(1 / 4)
    assert qcd.by_weight.total == pytest.approx(3 / 16 * 256 / 14)
    assert bib.by_count == share(1, 1)


def test_jets_of_unknown_mass_are_in_the_total_only() -> None:
    signal = jets([(TAKEN, Label.SIGNAL, 1, np.nan, np.nan), (MISSED, Label.SIGNAL, 1, 125, 5)])
    assert [point.efficiency.total for point in signal_efficiencies(signal)] == [1]
    assert signal_efficiency(signal) == share(1, 2)


def test_no_masses_and_no_jets() -> None:
    without = ScoredJets(np.array([TAKEN]), np.array([Label.SIGNAL]), np.ones(1))
    assert signal_efficiencies(without) == ()
    assert all(math.isnan(result.by_weight.value) for result in false_positives(without))
    assert all(math.isnan(result.by_count.value) for result in false_positives(without))

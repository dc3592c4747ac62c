import math

import numpy as np

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.classification import confusion_matrix

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

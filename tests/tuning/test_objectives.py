"""Objectives of epochs and trials, with answers worked out by hand."""

import math

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.tuning.objectives import Point, best_point, front, recommended, rejection_columns
from tests.factories.runs import history_row


def test_the_objectives_of_an_epoch_are_figures_of_its_row() -> None:
    row = history_row(0.95, 0.63, expected=0.45, spread=0.09) | {"val_auc_error": 0.01, "c2st_excess": 3.0}
    assert Point.of(row, 4, "auc", "c2st") == Point(0.95, 0.01, 3.0, 4)
    by_ks = Point.of(row, 4, "auc", "ks")
    assert by_ks is not None
    assert by_ks.excess == pytest.approx(2.0)
    assert Point.of(row, 4, "rejection", "ks") is None
    assert Point.of(row | {"c2st_excess": math.nan}, 4, "auc", "c2st") is None


def test_one_network_clearly_beats_another_only_in_both_objectives_and_by_two_errors() -> None:
    good = Point(0.98, 0.003, 1.0, 0)
    # Errors of the differences: .005 and 1.41.
    assert good.clearly_beats(Point(0.969, 0.004, 4.0, 0))
    assert not good.clearly_beats(Point(0.971, 0.004, 4.0, 0))
    assert not good.clearly_beats(Point(0.969, 0.004, 3.7, 0))
    # An agreement better than that of identical distributions is no merit.
    assert not Point(0.98, 0.003, -2.0, 0).clearly_beats(Point(0.9, 0.004, 2.0, 0))


def test_the_recommended_point_has_the_highest_figure_in_errors_minus_excess() -> None:
    points = [Point(0.990, 0.002, 9.0, 0), Point(0.986, 0.002, 2.0, 1), Point(0.980, 0.002, -1.0, 2)]
    assert front(points) == [0, 1, 2]
    # 495 - 9, 493 - 2, 490 - 0.
    assert recommended(points) == 1
    assert recommended([*points, Point(0.987, 0.01, 1.0, 3)]) == 3
    assert recommended([]) is None


def test_a_training_counts_with_an_epoch_whose_objectives_are_both_known() -> None:
    rows = [history_row(auc, 0.45) | {"val_auc_error": 0.01} for auc in (0.90, 0.96, 0.95)]
    rows[0]["c2st_excess"] = rows[2]["c2st_excess"] = 1.0
    assert best_point(rows, "auc", "c2st") == Point(0.95, 0.01, 1.0, 2)
    assert best_point(rows[1:2], "auc", "c2st") is None


def test_the_rejection_of_an_epoch_has_an_error_also_where_no_background_passes() -> None:
    labels = np.repeat([1, 0, 2], 100)
    scores = np.zeros((300, 3), dtype=np.float32)
    scores[:, 1] = np.where(labels == 1, 0.9, 0.1)
    scores[100:110, 1] = 0.95
    found = rejection_columns(ScoredJets(scores, labels, np.ones(300)))
    # 10 of 100 QCD jets and no BIB jet pass: 10 of 110 with BIB counting a tenth.
    assert found["val_rejection_90"] == pytest.approx(11.0)
    assert 1 < found["val_rejection_90_error"] < 5
    scores[100:, 1] = 0.1
    found = rejection_columns(ScoredJets(scores, labels, np.ones(300)))
    assert 20 < found["val_rejection_90"] < 120
    assert found["val_rejection_90_error"] == found["val_rejection_90"] / 2

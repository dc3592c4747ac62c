"""Weights of each class in the loss."""

from typing import Literal

import numpy as np
import pytest

from cal_ratio_trainer.datasets.data_table import class_shares, unfair_share
from cal_ratio_trainer.datasets.weights import (
    evaluation_weights,
    file_weights,
    loss_weights,
    matched_control_weights,
)
from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets import Jets, Label
from tests.factories.jets import synthetic_jets

LABELS = np.array([0, 0, 1, 1, 2, 2], dtype=np.int8)
WEIGHTS = np.array([10.0, 30.0, 1.0, 1.0, 2.0, 2.0])
ALL = np.ones(6, dtype=bool)


def jets_with(weights: list[float]) -> Jets:
    return synthetic_jets(np.zeros(len(weights), dtype=int), 1).with_columns({"mcEventWeight": np.array(weights)})


def test_weights_of_the_file_are_taken_as_they_are() -> None:
    np.testing.assert_array_equal(loss_weights(WEIGHTS, LABELS, ALL, "file"), WEIGHTS)


def test_balanced_classes_have_the_same_sum_and_mean_one() -> None:
    balanced = loss_weights(WEIGHTS, LABELS, ALL, "balanced")
    # 6 jets, 3 classes: each class sums to 2; QCD keeps its ratio 1 : 3.
    np.testing.assert_allclose(balanced, [0.5, 1.5, 1.0, 1.0, 1.0, 1.0])


def test_balancing_looks_at_the_training_part_only() -> None:
    trained = np.array([True, False, True, True, True, True])
    balanced = loss_weights(WEIGHTS, LABELS, trained, "balanced")
    # 5 trained jets, 3 classes: the one trained QCD jet has 5/3, the other three times as much.
    np.testing.assert_allclose(balanced[:2], [5 / 3, 5])


@pytest.mark.parametrize("choice", ["file", "balanced"])
def test_weights_that_sum_to_nothing_are_refused(choice: Literal["file", "balanced"]) -> None:
    with pytest.raises(ValueError, match="jets to train on sum to 0; expected more than 0"):
        loss_weights(np.zeros(6), LABELS, ALL, choice)
    np.testing.assert_array_equal(loss_weights(np.zeros(6), LABELS, ALL, "none"), np.ones(6))


def test_for_evaluation_qcd_sums_to_the_same_as_signal() -> None:
    np.testing.assert_allclose(evaluation_weights(WEIGHTS, LABELS), [0.5, 1.5, 1.0, 1.0, 2.0, 2.0])


def test_control_mc_sums_to_the_same_as_data() -> None:
    labels = np.array([0, 0, 2, 2, 2], dtype=np.int8)
    np.testing.assert_allclose(matched_control_weights(np.array([1.0, 3.0, 1.0, 1.0, 1.0]), labels)[:2], [0.75, 2.25])


def test_a_control_region_without_data_is_refused() -> None:
    with pytest.raises(ValueError, match="0 for data"):
        matched_control_weights(np.ones(2), np.zeros(2, dtype=np.int8))


@pytest.mark.parametrize("bad", ["error", "drop", "abs", "keep"])
def test_good_weights_pass_whatever_is_set(bad: Literal["error", "drop", "abs", "keep"]) -> None:
    np.testing.assert_array_equal(file_weights(jets_with([1.0, 2.0]), "mcEventWeight", bad, "a file"), [1.0, 2.0])


def test_bad_weights_are_refused_with_file_column_and_counts() -> None:
    with pytest.raises(InputFileError, match=r"a file: mcEventWeight has 1 negative and 2 non-finite values"):
        file_weights(jets_with([1.0, -2.0, np.nan, np.inf]), "mcEventWeight", "error", "a file")


def test_what_is_done_with_bad_weights_is_chosen() -> None:
    jets = jets_with([1.0, -2.0, np.nan])
    np.testing.assert_array_equal(file_weights(jets, "mcEventWeight", "drop", "f"), [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(file_weights(jets, "mcEventWeight", "abs", "f"), [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(file_weights(jets_with([1.0, -2.0]), "mcEventWeight", "keep", "f"), [1.0, -2.0])
    with pytest.raises(InputFileError, match="non-finite"):
        file_weights(jets, "mcEventWeight", "keep", "f")


def test_a_weight_column_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(MissingColumn, match=r"mcEventWeigt \(did you mean mcEventWeight\?\)"):
        file_weights(jets_with([1.0]), "mcEventWeigt", "error", "a file")


def test_shares_are_worked_out_by_class() -> None:
    rows = class_shares(WEIGHTS, LABELS)
    assert [row.label for row in rows] == list(Label)
    assert rows[0].sum_of_weights == 40
    assert rows[0].share == pytest.approx(40 / 46)
    # (10 + 30)^2 / (10^2 + 30^2)
    assert rows[0].effective_number == pytest.approx(1.6)


def test_a_class_that_counts_over_a_hundred_times_as_much_is_said_with_the_remedy() -> None:
    assert unfair_share(class_shares(WEIGHTS, LABELS)) is None
    sentence = unfair_share(class_shares(WEIGHTS * np.where(LABELS == 0, 100, 1), LABELS))
    assert sentence is not None
    assert "QCD" in sentence
    assert "loss_weights: balanced" in sentence


def test_a_column_of_text_is_no_weights() -> None:
    jets = jets_with([1.0, 2.0]).with_columns({"campaign": np.array(["mc20a", "mc20d"])})
    with pytest.raises(InputFileError, match="a file: column campaign holds no numbers, so it cannot be weights"):
        file_weights(jets, "campaign", "error", "a file")

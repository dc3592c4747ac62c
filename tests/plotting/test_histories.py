import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from cal_ratio_trainer.plotting import DEMO, write_all
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings

from .recording import legend_texts, recorded

EARLIER_KEYS = (
    *("ks_qcd_hist", "ks_sig_hist", "ks_bib_hist", "adv_loss", "adv_acc", "val_adv_loss", "val_adv_acc"),
    *("original_lossf", "original_acc", "val_original_lossf", "val_original_acc"),
    *("original_adv_lossf", "original_adv_acc", "val_original_adv_lossf", "val_original_adv_acc"),
)
MANUAL_NAMES = [
    *("adv_acc", "ks_bib", "ks_qcd", "ks_sig", "main_adv_acc", "main_network_acc", "main_nn_loss", "test_adv_acc"),
    *("test_adv_loss", "test_main_adv_loss", "train_adv_loss", "train_main_adv_loss"),
]


def drawn_values(axes: Axes) -> list[list[float]]:
    return [list(np.asarray(line.get_ydata(), dtype=float)) for line in axes.lines]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_earlier_programs_history_gives_the_manuals_files(tmp_path: Path, epochs: int) -> None:
    history = {key: [0.5 + 0.1 * epoch for epoch in range(epochs)] for key in EARLIER_KEYS}
    written = write_all(history_drawings(history), tmp_path, DEMO)
    assert sorted(path.stem for path in written) == MANUAL_NAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_every_line_holds_its_values_from_epoch_zero() -> None:
    drawn = recorded(history_drawings({"original_lossf": [3.0, 2.0], "val_original_lossf": [4.0, 1.0]}))
    axes = drawn["main_nn_loss"]
    assert drawn_values(axes) == [[3, 2], [4, 1]]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0, 1], [0, 1]]
    assert legend_texts(axes) == ["Training", "Validation"]
    assert axes.get_xlabel() == "Epoch"


def test_all_values_and_references_are_inside_the_frame() -> None:
    history = {"adv_acc": [0.6, 0.7], "val_adv_acc": [0.5, 0.9], "val_adv_loss": [0.01, 3.0]}
    drawn = recorded(history_drawings(history, HistoryReferences(control_majority=0.3)))
    for name, low, high in (("adv_acc", 0.3, 0.9), ("test_adv_loss", 0.01, 3.0)):
        bottom, top = drawn[name].get_ylim()
        assert bottom < low < high < top
    assert drawn["test_adv_loss"].get_yscale() == "log"


def test_a_value_of_every_fifth_epoch_is_joined_and_has_a_band_throughout() -> None:
    gap = [math.nan] * 4
    history = {
        "c2st_auc": [*gap, 0.56, *gap, 0.53, math.nan, 0.51],
        "c2st_expected": [*gap, 0.5, *gap, 0.5, math.nan, 0.5],
        "c2st_spread": [*gap, 0.01, *gap, 0.01, math.nan, 0.02],
    }
    axes = recorded(history_drawings(history))["c2st"]
    (line,) = axes.lines
    assert np.asarray(line.get_xdata()).tolist() == [4, 9, 11]
    assert drawn_values(axes) == [[0.56, 0.53, 0.51]]
    (band,) = axes.patches
    assert isinstance(band, StepPatch)
    assert list(band.get_data()[0]) == pytest.approx([0.51] * 11 + [0.52])
    assert axes.get_xlim() == (-0.5, 11.5)
    assert legend_texts(axes) == ["Classifier, 5 folds", "Identical distributions ± 1σ"]


def test_the_adversarys_loss_is_held_against_that_of_no_knowledge() -> None:
    drawn = recorded(history_drawings({"adv_loss": [0.7, 0.6]}))
    drawn |= recorded(history_drawings({"val_adv_loss": [0.7, 0.6]}, HistoryReferences(uninformed_loss=1.5)))
    assert drawn_values(drawn["train_adv_loss"])[1] == [math.log(2)] * 2
    assert drawn_values(drawn["test_adv_loss"])[1] == [1.5] * 2
    assert legend_texts(drawn["test_adv_loss"]) == ["Validation", "No knowledge: ln 2 × mean weight (1.5)"]


def test_training_and_validation_losses_are_held_against_their_own_mean_weights() -> None:
    history = {"adv_loss": [0.7], "val_adv_loss": [0.7], "original_adv_lossf": [0.7]}
    own = recorded(history_drawings(history, HistoryReferences(uninformed_loss=0.68, uninformed_training_loss=0.71)))
    drawn = {name: drawn_values(axes)[1][0] for name, axes in own.items()}
    assert drawn == {"train_adv_loss": 0.71, "train_main_adv_loss": 0.71, "test_adv_loss": 0.68}
    of_an_earlier_run = recorded(history_drawings(history, HistoryReferences(uninformed_loss=0.68)))
    assert drawn_values(of_an_earlier_run["train_adv_loss"])[1] == [0.68] * 2


def test_an_accuracy_that_hardly_moves_does_not_fill_the_frame() -> None:
    drawn = recorded(history_drawings({"val_adv_acc": [0.5, 0.501, 0.5], "val_original_acc": [0.5, 0.9]}))
    bottom, top = drawn["test_adv_acc"].get_ylim()
    assert bottom < 0.492 < 0.509 < top
    assert np.mean([bottom, top]) == pytest.approx(0.5005)


def test_the_ks_sum_stands_beside_the_band_of_identical_distributions() -> None:
    history = {"ks_bib_hist": [0.5, 0.4], "ks_bib_expected": [0.3, 0.2], "ks_bib_spread": [0.1, 0.05]}
    drawn = recorded(history_drawings(history, HistoryReferences(kept_below=0.3)))
    axes = drawn["ks_bib"]
    (band,) = axes.patches
    high, _, low = band.get_data()  # type: ignore[attr-defined]
    assert list(low) == pytest.approx([0.2, 0.15])
    assert list(high) == pytest.approx([0.4, 0.25])
    assert drawn_values(axes)[1] == [0.3, 0.3]
    assert "Identical distributions ± 1σ" in legend_texts(axes)


def test_nan_and_infinity_are_gaps() -> None:
    drawn = recorded(history_drawings({"val_auc": [0.9, math.nan, math.inf, 0.95]}))
    axes = drawn["val_auc"]
    assert np.isnan(drawn_values(axes)[0]).tolist() == [False, True, True, False]
    assert axes.get_ylim()[1] < 1.1


def test_a_value_between_gaps_stays_visible_in_a_long_history() -> None:
    values = [0.5] * 50 + [math.nan, 0.6, math.nan] + [0.5] * 50 + [math.nan, 0.7]
    drawn = recorded(history_drawings({"val_auc": values}))
    assert drawn["val_auc"].lines[0].get_markevery() == [51, 104]


def test_a_history_of_gaps_says_so() -> None:
    drawn = recorded(history_drawings({"ks_bib_hist": [math.nan] * 2}, HistoryReferences(kept_below=0.3)))
    assert [text.get_text() for text in drawn["ks_bib"].texts] == ["no finite values"]


def test_what_is_not_in_the_history_is_not_drawn() -> None:
    assert history_drawings({"seconds": [1.0], "adv_loss": []}) == []


def test_without_what_identical_distributions_give_the_legend_has_no_band() -> None:
    unknown = [math.nan, math.nan]
    history = {"ks_bib_hist": [0.5, 0.4], "ks_bib_expected": unknown, "ks_bib_spread": unknown}
    assert legend_texts(recorded(history_drawings(history))["ks_bib"]) == ["Sum of three $p_T$ ranges"]
    known = {"ks_bib_hist": [0.5, 0.4], "ks_bib_expected": [0.3, 0.3], "ks_bib_spread": [0.1, 0.1]}
    assert "Identical distributions ± 1σ" in legend_texts(recorded(history_drawings(known))["ks_bib"])


def test_references_are_stored_under_the_names_of_earlier_versions() -> None:
    references = HistoryReferences(uninformed_loss=0.7, kept_below=0.3)
    assert HistoryReferences.from_dict({"clueless_loss": 0.7, "kept_below": 0.3}) == references
    assert HistoryReferences.from_dict({}) == HistoryReferences(uninformed_loss=None)

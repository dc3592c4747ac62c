import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.plotting import DEMO, write_all
from cal_ratio_trainer.plotting.catalogue import EPOCH_FIGURES, FINAL_FIGURES, final_drawings
from cal_ratio_trainer.plotting.histories import HISTORY_FIGURES
from tests.factories.scored_jets import at_mistag, jets_on_signal_output, plausible_control_jets, plausible_jets

HISTORIES = {"adv_acc", "main_adv_acc", "main_network_acc", "main_nn_loss", "test_adv_loss", "test_main_adv_loss"}
HISTORIES |= {"train_adv_loss", "train_main_adv_loss", "ks_qcd", "ks_sig", "ks_bib"}


def documented() -> set[str]:
    """The names of figures in the table of the page on the folder of a run."""
    text = (Path(__file__).parents[2] / "docs" / "run.md").read_text("utf-8")
    rows = text.partition("| **each epoch** ")[2].partition("\n\n")[0].splitlines()
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_page_on_the_folder_of_a_run_has_every_figure_of_the_catalogue_and_no_other() -> None:
    outputs, ranges = r"\b(qcd|sig|bib)(?=_predictions)|(?<=_)(qcd|sig|bib)(?=_predictions)", "(low|mid|high)(?=Pt_)"
    of_epochs = {re.sub(ranges, "<range>", re.sub(outputs, "<output>", each.name)) for each in EPOCH_FIGURES}
    names = {f"<nnn>_{name}" for name in of_epochs} | {each.name for each in HISTORY_FIGURES}
    assert documented() == names | {"auc_ks"} | {each.name for each in FINAL_FIGURES}


@pytest.fixture(scope="module")
def figures() -> TestFigures:
    return evaluate_test_sample(plausible_jets(800), plausible_control_jets(400), plausible_jets(800, 9))


def test_every_final_plot_of_the_earlier_program_is_there(figures: TestFigures, real: Path) -> None:
    listing = (real / "reference" / "output_listing_of_earlier_program.txt").read_text()
    files = [line.split(": ", 1)[1].strip() for line in listing.splitlines()]
    plots = {name.removesuffix(".png").removesuffix("_None").rstrip("_") for name in files if name.endswith(".png")}
    wanted = {name for name in plots if not name[:3].isdigit()} - HISTORIES - {"SoverB_scan_mH0.0"}
    assert len(wanted) == 19
    assert wanted <= {each.name for each in final_drawings(figures)}


def test_every_figure_can_be_drawn_from_saved_figures_of_merit_alone(figures: TestFigures, tmp_path: Path) -> None:
    first = write_all(final_drawings(figures), tmp_path / "first", DEMO)
    again = write_all(final_drawings(TestFigures.from_dict(figures.to_dict())), tmp_path / "again", DEMO)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert len({path.name for path in first}) == len(first)


@pytest.mark.parametrize(("signal", "qcd", "bib"), [([], [], []), ([0.9], [], []), ([], [0.1], []), ([], [], [0.2])])
def test_a_sample_without_some_class_leaves_figures_all_the_same(
    signal: list[float], qcd: list[float], bib: list[float], tmp_path: Path
) -> None:
    jets = jets_on_signal_output(signal, qcd, bib)
    assert len(write_all(final_drawings(evaluate_test_sample(jets, train=jets)), tmp_path, DEMO)) >= 15


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_below_0_bring_shares_out_of_their_intervals_and_leave_all_figures(seed: int, tmp_path: Path) -> None:
    jets, control = plausible_jets(120, seed), plausible_control_jets(400)
    signs = np.where(np.random.default_rng(seed).random(len(jets)) < 0.4, -1.0, 1.0)
    jets = replace(jets, weights=jets.weights * signs)
    figures = at_mistag(evaluate_test_sample(jets, control), jets, 0.2)
    shares = [share for each in figures.dependences for share in each.value[np.isfinite(each.value)]]
    assert min(shares) < 0 or max(shares) > 1
    drawings = final_drawings(figures)
    assert len(write_all(drawings, tmp_path, DEMO)) == len(drawings)

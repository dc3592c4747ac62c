"""Content of the figures that compare two sets of scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cal_ratio_trainer.evaluation.bootstrap import Resampling
from cal_ratio_trainer.evaluation.histograms import histograms_by_class
from cal_ratio_trainer.evaluation.ks import PT_RANGES, ControlRegionKs, ks_of_control_jets
from cal_ratio_trainer.evaluation.paired import RocPair, agreement, paired_figures
from cal_ratio_trainer.evaluation.roc import QCD_ONLY, roc_curve
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.plotting import DEMO, write_all
from cal_ratio_trainer.plotting.score_comparison import (
    Names,
    agreement_drawings,
    draw_roc_pair,
    ks_drawing,
    roc_drawings,
)
from cal_ratio_trainer.plotting.scores import score_report_drawings
from tests.factories.scored_jets import plausible_jets
from tests.plotting.recording import legend_texts, legend_title, recorded
from tests.plotting.test_images import TOLERANCE, at_half_size

NAMES = Names("model/0/best", "model/1/best")


def main_jets(seed: int) -> ScoredJets:
    """Jets of three classes with random scores."""
    rng = np.random.default_rng(seed)
    return ScoredJets(rng.dirichlet(np.ones(3), 300), np.arange(300) % 3, np.ones(300))


def roc_pairs() -> tuple[RocPair, ...]:
    """The curves of two random networks."""
    return paired_figures(main_jets(1), main_jets(2), np.arange(300), Resampling(20, 1)).rocs


def control_ks(seed: int) -> ControlRegionKs:
    """Distances of random control jets."""
    rng = np.random.default_rng(seed)
    jets = ScoredJets.control(rng.dirichlet(np.ones(3), 300), rng.random(300) < 0.5, np.ones(300), rng.random(300))
    ranges = tuple(replace(each, gev=(500 * each.low, 500 * each.high)) for each in PT_RANGES)
    return ks_of_control_jets(jets, ranges)


def test_every_figure_is_written_under_its_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    found = agreement(rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.ones(3), 50))
    drawings = [
        *roc_drawings(roc_pairs(), NAMES),
        ks_drawing(control_ks(1), control_ks(2), NAMES),
        *agreement_drawings(found, NAMES, "main_"),
    ]
    files = write_all(drawings, tmp_path, DEMO)
    assert [file.stem for file in files] == [
        *("roc_qcd_0_1_bib", "roc_qcd_only", "roc_bib_only", "ks"),
        *("main_correlation_qcd", "main_correlation_sig", "main_correlation_bib", "main_differences"),
    ]
    assert all(file.stat().st_size > 5000 for file in files)


@pytest.mark.parametrize("name", ["roc_qcd_only", "ks", "main_correlation_sig", "main_differences"])
@pytest.mark.mpl_image_compare(tolerance=TOLERANCE, style="default", savefig_kwargs={"dpi": 100})
def test_compared_scores_look_as_they_did(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    monkeypatch.setattr(Text, "draw", lambda self, renderer: None)
    jets = [plausible_jets(1500, seed) for seed in (3, 4)]
    # The second network has the scores of the first with noise.
    both = 0.7 * jets[0].scores + 0.3 * jets[1].scores
    second = ScoredJets(both, jets[0].labels, jets[0].weights)
    drawings = [
        *roc_drawings(paired_figures(jets[0], second, np.arange(1500), Resampling(50, 1)).rocs, NAMES),
        ks_drawing(control_ks(1), control_ks(2), NAMES),
        *agreement_drawings(agreement(jets[0].scores, second.scores), NAMES, "main_"),
    ]
    (path,) = next(each for each in drawings if each.name == name).write(tmp_path, DEMO)
    return at_half_size(path)


def test_a_figure_looks_the_same_whatever_was_drawn_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    planes = agreement_drawings(agreement(rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.ones(3), 50)), NAMES, "")
    ks = ks_drawing(control_ks(1), control_ks(2), NAMES)
    (before,) = planes[0].write(tmp_path, DEMO)
    content = before.read_bytes()
    write_all([ks, *planes[1:], *roc_drawings(roc_pairs(), NAMES)], tmp_path, DEMO)
    planes[0].write(tmp_path, DEMO)
    assert before.read_bytes() == content


def test_a_roc_figure_names_both_the_background_and_the_counts() -> None:
    pair = roc_pairs()[1]
    figure = Figure()
    main, ratio = figure.subplots(2)
    draw_roc_pair(main, ratio, pair, NAMES)
    assert legend_texts(main) == [
        f"{NAMES.first} (AUC {pair.first.auc:.4f})",
        f"{NAMES.second} (AUC {pair.second.auc:.4f})",
    ]
    assert legend_title(main) == ["Signal against QCD only: 100 signal, 100 QCD, 0 BIB jets"]
    assert main.get_yscale() == "log"
    low, high = ratio.get_ylim()
    assert low < 1 < high


def test_a_ratio_beyond_the_lower_panel_is_an_arrow_at_its_edge() -> None:
    ones = np.ones(4)
    pair = replace(
        roc_pairs()[1],
        signal_efficiency=np.array([0.1, 0.3, 0.5, 0.7]),
        ratio=np.array([9.0, 40.0, 1.1, 0.02]),
        low=0.01 * ones,
        high=90 * ones,
    )
    main, ratio = Figure().subplots(2)
    draw_roc_pair(main, ratio, pair, NAMES)
    low, high = ratio.get_ylim()
    arrows = {line.get_marker(): line for line in ratio.lines if line.get_marker() in ("^", "v")}
    assert [list(part) for part in arrows["^"].get_data()] == [[0.3], [high]]
    assert [list(part) for part in arrows["v"].get_data()] == [[0.7], [low]]
    assert (low, high) == pytest.approx((1 / 30, 30))


def test_ratios_far_from_1_have_a_logarithmic_axis_and_those_near_it_a_linear_one() -> None:
    for ratios, scale in (([0.8, 1.1], "linear"), ([1.0, 5.0], "log"), ([0.3, 0.9], "log")):
        known = np.array(ratios)
        pair = replace(roc_pairs()[1], signal_efficiency=np.array([0.4, 0.6]), ratio=known, low=known, high=known)
        main, ratio = Figure().subplots(2)
        draw_roc_pair(main, ratio, pair, NAMES)
        low, high = ratio.get_ylim()
        assert ratio.get_yscale() == scale
        assert low < min(ratios) <= max(ratios) < high


def test_a_roc_without_any_passing_background_says_so() -> None:
    labels = np.repeat([0, 1, 2], 20)
    signal = np.where(labels == 1, 0.9, 0.05) + np.linspace(0, 0.01, 60)
    jets = ScoredJets(np.stack([1 - signal, signal, np.zeros(60)], axis=1), labels, np.ones(60))
    pair = paired_figures(jets, jets, np.arange(60), Resampling(5, 1)).rocs[0]
    main, ratio = Figure().subplots(2)
    draw_roc_pair(main, ratio, pair, NAMES)
    assert "no background passes" in ratio.texts[0].get_text()


def test_curves_of_no_jets_are_drawn_all_the_same() -> None:
    nothing = roc_curve(ScoredJets(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0)), QCD_ONLY)
    main, ratio = Figure().subplots(2)
    draw_roc_pair(main, ratio, replace(roc_pairs()[1], first=nothing, second=nothing), NAMES)
    assert legend_texts(main) == [f"{name} (AUC nan)" for name in (NAMES.first, NAMES.second)]


def test_the_k_s_figure_has_both_and_what_identical_distributions_give_in_gev() -> None:
    first, second = control_ks(1), control_ks(2)
    axes = recorded([ks_drawing(first, second, NAMES)])["ks"]
    assert legend_texts(axes) == [NAMES.first, NAMES.second, "Identical distributions ± 1σ"]
    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    for ks, values in zip((first, second), drawn, strict=True):
        np.testing.assert_allclose(values, [each.distance for output in ks.outputs for each in output.ranges])
    assert [text.get_text() for text in axes.texts[-3:]] == ["< 125", "125–250", "> 250"]
    assert axes.get_xlabel().strip() == "Jet $p_T$ [GeV]"


def test_jets_without_labels_are_one_class() -> None:
    rng = np.random.default_rng(3)
    histograms = histograms_by_class(rng.dirichlet(np.ones(3), 50), np.ones(50), {"jets": np.arange(50)})
    drawn = recorded(score_report_drawings(histograms, "main_unlabelled_"))
    assert next(iter(drawn)) == "main_unlabelled_qcd_linear"
    assert len(drawn) == 6
    assert legend_texts(drawn["main_unlabelled_sig_log"]) == ["All jets (50 jets)"]


def test_data_and_simulation_have_their_ratio_below_and_classes_of_jets_have_none() -> None:
    rng = np.random.default_rng(3)
    outputs, kinds = rng.dirichlet(np.ones(3), 50), np.arange(50) % 2
    of_control = histograms_by_class(outputs, np.ones(50), {"mc": kinds == 0, "data": kinds == 1})
    of_main = histograms_by_class(outputs, np.ones(50), {"qcd": kinds == 0, "sig": kinds == 1})
    for histograms, with_ratio in ((of_control, True), (of_main, False)):
        drawings = score_report_drawings(histograms, "main_")
        assert [each.with_ratio for each in drawings] == [with_ratio] * 6
    scales = {name: axes.get_yscale() for name, axes in recorded(score_report_drawings(of_control, "")).items()}
    assert (scales["qcd_linear"], scales["qcd_log"]) == ("linear", "log")

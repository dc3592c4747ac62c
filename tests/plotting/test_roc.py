import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from cal_ratio_trainer.evaluation.roc import QCD_ONLY, roc_curve
from cal_ratio_trainer.evaluation.significance import significance_scan
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.plotting.roc import draw_curve, draw_scan
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

from .recording import final, legend_texts, legend_title, recorded


@pytest.fixture(scope="module")
def figures() -> TestFigures:
    return evaluate_test_sample(plausible_jets(2000))


def test_all_flavours_have_names_like_those_of_the_manual(figures: TestFigures) -> None:
    assert [each.name for each in final(figures, "roc_curve")] == [
        "roc_curve_atlas_rej_bib",
        "roc_curve_atlas_rej_bib_mH125.0",
        "roc_curve_atlas_rej_bib_mH600.0",
        "roc_curve_atlas_rej_qcd",
        "roc_curve_atlas_rej_qcd_mH125.0",
        "roc_curve_atlas_rej_qcd_mH600.0",
        "roc_curve_qcd_and_bib",
    ]


def test_the_compound_is_called_a_mixture_and_says_its_counts(figures: TestFigures) -> None:
    axes = recorded(final(figures, "roc_curve"))["roc_curve_atlas_rej_bib"]
    curve = figures.roc
    assert axes.get_ylabel() == "Rejection 1/ε of the mixture QCD + 0.1 BIB"
    assert legend_title(axes)[:2] == [
        f"{curve.signal_jets:,} signal, {curve.qcd_jets:,} QCD, {curve.bib_jets:,} BIB jets",
        "The curve depends on these numbers; bands and bars: 68 %",
    ]
    assert legend_texts(axes)[0] == f"all masses, AUC {curve.auc:.3f}"


def test_the_curve_is_the_rejection_over_the_signal_efficiency(figures: TestFigures) -> None:
    axes = recorded(final(figures, "roc_curve"))["roc_curve_atlas_rej_qcd_mH600.0"]
    (curve,) = [each for each in figures.qcd_rocs if each.name == "mH600.0"]
    some = curve.background_efficiency > 0
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), curve.signal_efficiency[some])
    np.testing.assert_array_equal(line.get_ydata(), 1 / curve.background_efficiency[some])
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert axes.get_ylabel() == "Rejection 1/ε of QCD"
    assert legend_texts(axes)[:2] == [
        f"$m_H$ = 600 GeV, AUC {curve.auc:.2f}",
        f"all masses, AUC {figures.rocs[1].auc:.3f}",
    ]


def test_the_pure_curves_share_a_frame_and_differ_without_colour(figures: TestFigures) -> None:
    axes = recorded(final(figures, "roc_curve"))["roc_curve_qcd_and_bib"]
    against_qcd, against_bib = (line for line in axes.lines if line.get_label() in legend_texts(axes)[:2])
    assert str(against_qcd.get_label()).startswith("against QCD")
    assert str(against_bib.get_label()).startswith("against BIB")
    assert against_qcd.get_linestyle() != against_bib.get_linestyle()
    assert against_qcd.get_marker() != against_bib.get_marker()


def test_where_no_background_passes_an_arrow_points_up_from_the_lower_end() -> None:
    curve = roc_curve(jets_on_signal_output([0.9, 0.8, 0.7, 0.1], [0.5, 0.2], []), QCD_ONLY)
    assert math.isinf(curve.rejection_at(0.7).value)
    axes = recorded([Drawing("curve", draw_curve, (curve, None))])["curve"]
    arrows = [line for line in axes.lines if line.get_marker() in (6, 10)]
    # At 50 and 70 % nothing passes; at 80 and 90 % half of QCD does.
    assert [list(np.asarray(line.get_xdata())) for line in arrows if len(np.asarray(line.get_xdata()))] == [[0.5, 0.7]]


def test_the_band_ends_in_the_frame(figures: TestFigures) -> None:
    drawn = recorded(final(figures, "roc_curve"))
    for curve, name in ((figures.rocs[0], "roc_curve_atlas_rej_bib"), (figures.rocs[1], "roc_curve_atlas_rej_qcd")):
        low, _ = curve.background_interval
        decades = math.log10(drawn[name].get_ylim()[1])
        assert math.log10(1 / low[low > 0].min()) <= decades


@pytest.mark.parametrize(("signal", "qcd", "bib"), [([], [0.1], [0.2]), ([0.4], [], []), ([], [], [])])
def test_a_sample_that_lacks_a_class_is_drawn_all_the_same(
    signal: list[float], qcd: list[float], bib: list[float]
) -> None:
    drawn = recorded(final(evaluate_test_sample(jets_on_signal_output(signal, qcd, bib)), "roc_curve"))
    assert legend_texts(drawn["roc_curve_atlas_rej_bib"])[0] == "all masses: no jets"


def test_scans_have_the_manuals_names(figures: TestFigures) -> None:
    assert [each.name for each in final(figures, "SoverB")] == [
        "SoverB_scan",
        "SoverB_scan_QCD only",
        "SoverB_scan_BIB only",
        "SoverB_scan_mH125.0",
        "SoverB_scan_mH600.0",
    ]


def test_both_panels_show_the_same_scan_on_scales_of_their_own(figures: TestFigures) -> None:
    scan = figures.scans[0]
    axes, below = Figure().subplots(2, sharex=True)
    draw_scan(axes, below, scan)
    inside = scan.cuts < 1
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), 1 - scan.cuts[inside])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), scan.significance[inside])
    np.testing.assert_allclose(below.lines[0].get_ydata(), scan.efficiency_ratio[inside])
    assert "relative" in axes.get_ylabel()
    assert axes.get_xlim()[0] < 1 - scan.cuts[-1]


def test_maximum_area_and_counts_are_in_the_legend(figures: TestFigures) -> None:
    scan = figures.scans[3]
    axes, below = Figure().subplots(2, sharex=True)
    draw_scan(axes, below, scan)
    first, second = legend_title(axes)
    assert first == f"$m_H$ = 125 GeV, {scan.signal_jets:,} jets; QCD and BIB, {scan.background_jets:,.0f} jets"
    assert second.startswith(f"Area {scan.area:.3g};")
    error = scan.error[np.argmax(scan.significance)]
    assert 1 < error < 10, "two digits of the error are one decimal"
    assert legend_texts(axes)[0] == (
        f"maximum {scan.maximum:.1f} ± {error:.1f} at 1 − cut = {1 - scan.cut_at_maximum:.2g}"
    )


@pytest.mark.parametrize(("signal", "background"), [(3, 5), (0, 40), (3, 0)])
def test_too_few_jets_are_said_and_break_nothing(signal: int, background: int) -> None:
    scan = significance_scan(jets_on_signal_output([0.9] * signal, [0.1] * background, []))
    axes, below = Figure().subplots(2, sharex=True)
    draw_scan(axes, below, scan)
    if background < 11:
        assert axes.texts[0].get_text() == "no cut leaves more than 10 background jets"

import numpy as np
import pytest
from matplotlib.figure import Figure

from cal_ratio_trainer.evaluation.significance import significance_scan
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.plotting.significance import draw_scan
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

from .recording import final, legend_texts, legend_title


@pytest.fixture(scope="module")
def figures() -> TestFigures:
    return evaluate_test_sample(plausible_jets(3000))


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
    assert "relative, this test sample" in axes.get_ylabel()
    assert axes.get_xlim()[0] < 1 - scan.cuts[-1]


def test_maximum_area_and_counts_are_in_the_legend(figures: TestFigures) -> None:
    scan = figures.scans[3]
    axes, below = Figure().subplots(2, sharex=True)
    draw_scan(axes, below, scan)
    first, second = legend_title(axes)
    assert first == f"$m_H$ = 125 GeV, {scan.signal_jets:,} jets; QCD and BIB, {scan.background_jets:,.0f} jets"
    assert second.startswith(f"area {scan.area:.4g};")
    assert legend_texts(axes)[0] == f"maximum {scan.maximum:.4g} at cut {scan.cut_at_maximum:.5f}"


@pytest.mark.parametrize(("signal", "background"), [(3, 5), (0, 40), (3, 0)])
def test_too_few_jets_are_said_and_break_nothing(signal: int, background: int) -> None:
    scan = significance_scan(jets_on_signal_output([0.9] * signal, [0.1] * background, []))
    axes, below = Figure().subplots(2, sharex=True)
    draw_scan(axes, below, scan)
    if background < 11:
        assert axes.texts[0].get_text() == "no cut leaves more than 10 background jets"

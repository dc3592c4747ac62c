from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.efficiencies import ConfusionMatrix
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.efficiencies import draw_cells, draw_confusion
from tests.factories.scored_jets import at_mistag, jets_on_signal_output, plausible_jets

from .recording import final, legend_texts, legend_title, recorded

KINDS = ("signal_llp", "bkg_false", "signal_efficiency", "mistag")


@pytest.fixture(scope="module")
def figures() -> TestFigures:
    jets = plausible_jets(2000)
    return at_mistag(evaluate_test_sample(jets), jets, 0.05)


def test_what_is_known_of_the_jets_decides_on_the_figures(figures: TestFigures) -> None:
    assert [each.name for each in final(figures, *KINDS)] == [
        "signal_llp_efficiencies",
        "bkg_falsePositives",
        "signal_efficiency_Lxy",
        "signal_efficiency_Lz",
        "signal_efficiency_pt",
        "signal_efficiency_eta",
        "mistag_pt",
        "mistag_eta",
        "mistag_phi",
    ]
    unknown = evaluate_test_sample(jets_on_signal_output([0.9], [0.1], [0.2]))
    assert [each.name for each in final(unknown, *KINDS)] == ["bkg_falsePositives"]


def test_each_mass_point_has_a_cell_with_its_efficiency_and_jets(figures: TestFigures) -> None:
    axes = recorded(final(figures, *KINDS))["signal_llp_efficiencies"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["125", "600"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["5", "55"]
    by_place = {text.get_position(): text.get_text() for text in axes.texts}
    for point in figures.efficiencies:
        place = ([125.0, 600.0].index(point.higgs_mass), [5.0, 55.0].index(point.scalar_mass))
        share = point.efficiency
        assert by_place[place].startswith(f"{100 * share.value:.1f}$^{{+{100 * share.error_up:.1f}}}")
        assert by_place[place].endswith(f"{share.total:,.0f} jets")


def test_false_positives_stand_by_weight_and_by_count(figures: TestFigures) -> None:
    axes = recorded(final(figures, *KINDS))["bkg_falsePositives"]
    values = [container.lines[0].get_ydata()[0] for container in axes.containers]  # type: ignore[attr-defined]
    by_weight, by_count = values[:2], values[2:]
    assert list(by_weight) == pytest.approx([100 * each.by_weight.value for each in figures.false_positives])
    assert list(by_count) == pytest.approx([100 * each.by_count.value for each in figures.false_positives])
    assert axes.get_ylim()[0] < 0, "a point at 0 and the two lines beside it would lie on the axis"


def test_the_efficiency_has_the_working_point_beside_it(figures: TestFigures) -> None:
    axes = recorded(final(figures, *KINDS))["signal_efficiency_Lxy"]
    (shown,) = [each for each in figures.dependences if each.quantity == "Lxy"]
    points: list[float] = list(axes.containers[0].lines[0].get_ydata())  # type: ignore[attr-defined]
    assert points == pytest.approx(list(shown.value))
    assert axes.get_xlim() == (1200, 4000)
    point = figures.working_point
    (line,) = legend_title(axes)
    assert line == f"Signal output > {point.cut:.4g}, which {100 * point.qcd.value:.2g} % of QCD pass; bars: 68 %"
    assert legend_texts(axes)[1] == f"Signal ({shown.jets:,} jets)"


def test_a_bin_of_which_nothing_passes_has_an_upper_end_only() -> None:
    jets = jets_on_signal_output([0.9], [0.8, 0.1, 0.1], [])
    jets = jets.with_columns(pt=np.array([50.0, 45.0, 45.0, 110.0]))
    figures = at_mistag(evaluate_test_sample(jets), jets, 0.34)
    axes = recorded(final(figures, *KINDS))["mistag_pt"]
    (shown,) = [each for each in figures.dependences if each.label == Label.QCD]
    points, limits = axes.containers
    assert list(points.lines[0].get_ydata()) == [0.5]  # type: ignore[attr-defined]
    (arrow,) = limits.lines[1]  # type: ignore[attr-defined]
    none = (shown.passed == 0) & (shown.total > 0)
    assert list(arrow.get_ydata()) == pytest.approx(list(0.55 * shown.interval[1][none]))
    assert legend_title(axes)[0].endswith("arrow: no jet passes")


def test_backgrounds_stand_side_by_side_and_differ_without_colour(figures: TestFigures) -> None:
    axes = recorded(final(figures, *KINDS))["mistag_eta"]
    qcd, bib = (axes.containers[i].lines[0] for i in (0, 2))  # type: ignore[attr-defined]
    assert qcd.get_marker() != bib.get_marker()
    assert axes.get_yscale() == "log"
    assert not set(qcd.get_xdata()) & set(bib.get_xdata())


def table(rows: int, columns: int, text: str) -> tuple[Any, ...]:
    shares = np.linspace(0, 1, rows * columns).reshape(rows, columns)
    return shares, [[text] * columns] * rows, "r" * rows, "c" * columns


def test_a_cell_without_a_share_is_empty() -> None:
    cells = table(1, 2, "x")
    cells[0][0, 0] = np.nan
    axes = recorded([Drawing("cells", draw_cells, cells)])["cells"]
    assert [text.get_position() for text in axes.texts] == [(1, 0)]


def test_ticks_lie_below_the_cells_and_cross_no_number() -> None:
    figure = Drawing("cells", draw_cells, table(1, 2, "x")).figure(DEMO)
    (axes,) = figure.axes
    (cells,) = axes.collections
    assert axes.xaxis.get_zorder() < cells.get_zorder() < axes.texts[0].get_zorder()
    assert cells.get_zorder() < axes.spines["left"].get_zorder()


def test_text_is_white_on_dark_cells_and_black_on_pale_ones() -> None:
    axes = recorded([Drawing("cells", draw_cells, table(1, 5, "x"))])["cells"]
    assert [text.get_color() for text in axes.texts] == ["black"] * 4 + ["white"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (9, 6), (12, 9)])
@pytest.mark.parametrize("text", ["97.1$^{+1.6}_{-2.7}$\n1,105 jets", "94.7 %\n+0.5 −0.5\n1,941 jets"])
def test_texts_stay_in_their_cells(rows: int, columns: int, text: str) -> None:
    from cal_ratio_trainer.plotting import drawing

    with drawing._settings():
        figure = drawing._canvas(False).figure
        (axes,) = figure.axes
        drawing._empty(axes)
        draw_cells(axes, *table(rows, columns, text))
        frame = axes.get_window_extent()
        boxes = [written.get_window_extent(figure.canvas.get_renderer()) for written in axes.texts]
        drawing._empty(axes)
    smallest = (rows, columns) == (12, 9)
    for box in boxes:
        # Twelve rows of three lines are at the smallest readable size, and may touch.
        assert box.width < frame.width / columns * (1.1 if smallest else 1)
        assert box.height < frame.height / rows * (1.3 if smallest else 1)


def test_figures_drawn_after_cells_have_their_ticks_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from cal_ratio_trainer.plotting import drawing

    plain = Drawing("plain", _line, ())
    drawing._canvas.cache_clear()
    (before,) = plain.write(tmp_path / "before", DEMO)
    Drawing("cells", draw_cells, table(3, 3, "x")).write(tmp_path, DEMO)
    (after,) = plain.write(tmp_path / "after", DEMO)
    assert before.read_bytes() == after.read_bytes()


def _line(axes) -> None:  # type: ignore[no-untyped-def]
    axes.plot([0, 1], [0, 1])


def test_signal_stands_in_the_upper_left_and_rows_are_shares_of_a_label() -> None:
    # In the order of labels: QCD, signal, BIB.
    counts = np.array([[50, 40, 10], [3, 7, 0], [0, 0, 0]])
    axes = recorded([Drawing("confusion_matrix", draw_confusion, (ConfusionMatrix(counts),))])["confusion_matrix"]
    texts = {text.get_position(): text.get_text().split("\n") for text in axes.texts}
    assert (texts[(0, 2)][0], texts[(0, 2)][2]) == ("70.0 %", "7 jets")
    assert (texts[(1, 2)][0], texts[(1, 2)][2]) == ("30.0 %", "3 jets")
    assert (texts[(0, 1)][0], texts[(2, 1)][0]) == ("40.0 %", "10.0 %")
    # A label without jets has empty cells.
    assert not any(place[1] == 0 for place in texts)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["BIB", "QCD", "Signal"]
    assert axes.get_xlabel() == "Largest output (right for 51.8 % of all jets)"

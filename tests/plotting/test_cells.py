import numpy as np
import pytest

from cal_ratio_trainer.evaluation.classification import ConfusionMatrix
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.cells import Cells, draw_cells, draw_confusion

from .recording import recorded


def table(rows: int, columns: int, text: str) -> Cells:
    shares = np.linspace(0, 1, rows * columns).reshape(rows, columns)
    texts = tuple(tuple(text for _ in range(columns)) for _ in range(rows))
    return Cells(shares, texts, tuple("r" * rows), tuple("c" * columns))


def test_a_cell_without_a_share_is_empty() -> None:
    cells = table(1, 2, "x")
    cells.shares[0, 0] = np.nan
    axes = recorded([Drawing("cells", draw_cells, (cells,))])["cells"]
    assert [text.get_position() for text in axes.texts] == [(1, 0)]


def test_text_is_white_on_dark_cells_and_black_on_pale_ones() -> None:
    axes = recorded([Drawing("cells", draw_cells, (table(1, 5, "x"),))])["cells"]
    assert [text.get_color() for text in axes.texts] == ["black"] * 4 + ["white"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (9, 6), (12, 9)])
@pytest.mark.parametrize("text", ["97.1$^{+1.6}_{-2.7}$\n1,105 jets", "94.7 %\n+0.5 −0.5\n1,941 jets"])
def test_texts_stay_in_their_cells(rows: int, columns: int, text: str) -> None:
    from cal_ratio_trainer.plotting import drawing

    with drawing._settings():
        figure = drawing._canvas("one panel").figure
        (axes,) = figure.axes
        drawing._empty(axes)
        draw_cells(axes, table(rows, columns, text))
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
    Drawing("cells", draw_cells, (table(3, 3, "x"),)).write(tmp_path, DEMO)
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

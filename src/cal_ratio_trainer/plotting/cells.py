"""Tables of shares as coloured cells with numbers in them, the confusion matrix among them; darker is more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.classification import ConfusionMatrix, MassPointEfficiency
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.style import CLASS_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIN_TEXT, _MAX_TEXT = 7.0, 17.0


@dataclass(frozen=True, eq=False)
class Cells:
    """Content of the cells.

    Attributes:
        shares: [rows, columns] in [0, 1]; NaN leaves a cell empty.
        texts: a row of texts for each row of cells, lines parted by newlines.
        rows: names of the rows, from below.
        columns: names of the columns, from the left.
        palest: the share of a white cell; shares span the colours from there to 1.
    """

    shares: NDArray[np.float64]
    texts: tuple[tuple[str, ...], ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    palest: float = 0.0


def draw_cells(axes: "Axes", cells: Cells) -> None:
    """Fills the whole frame with the cells."""
    import matplotlib

    rows, columns = cells.shares.shape
    # The darkest blues would swallow black tick marks and make white text needed in too many cells.
    colours = matplotlib.colormaps["Blues"]
    darkest = cells.palest + 1.25 * (1 - cells.palest)
    axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(cells.shares),
        cmap=colours,
        vmin=cells.palest,
        vmax=darkest,
        edgecolors="white",
        linewidth=2,
    )
    size = _text_size(rows, columns, cells.texts)
    for row, column in zip(*np.nonzero(np.isfinite(cells.shares)), strict=True):
        is_dark = cells.shares[row, column] - cells.palest > 0.6 * (darkest - cells.palest)
        axes.text(
            column,
            row,
            cells.texts[row][column],
            ha="center",
            va="center",
            fontsize=size,
            color="white" if is_dark else "black",
        )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), cells.columns)
    axes.set_yticks(range(rows), cells.rows)
    axes.minorticks_off()


def draw_mass_points(axes: "Axes", points: tuple[MassPointEfficiency, ...]) -> None:
    """Draws a cell for each (mH, mS) with efficiency, error and number of jets; darker is better.

    Args:
        axes: to draw on.
        points: at least one.
    """
    columns = sorted({point.higgs_mass for point in points})
    rows = sorted({point.scalar_mass for point in points})
    shares = np.full((len(rows), len(columns)), np.nan)
    texts = [["" for _ in columns] for _ in rows]
    for point in points:
        row, column = rows.index(point.scalar_mass), columns.index(point.higgs_mass)
        shares[row, column] = point.efficiency.value
        each = point.efficiency
        errors = f"$^{{+{100 * each.error_up:.1f}}}_{{-{100 * each.error_down:.1f}}}$"
        texts[row][column] = f"{100 * each.value:.1f}{errors}\n{each.total:,.0f} jets"
    row_names, column_names = (tuple(f"{mass:g}" for mass in masses) for masses in (rows, columns))
    # A step of ten below the lowest: differences are seen, and no cell is lost on white paper.
    palest = max(float(np.floor(10 * np.nanmin(shares)) / 10) - 0.1, 0.0)
    draw_cells(axes, Cells(shares, tuple(tuple(row) for row in texts), row_names, column_names, palest))
    axes.set_xlabel("$m_H$ [GeV]; in the cells: % of jets whose largest output is signal")
    axes.set_ylabel("$m_S$ [GeV]")


def _letters(line: str) -> float:
    # Of an error above another one, in mathematical text, half of the letters count, and each for less.
    plain, _, raised = line.partition("$")
    return len(plain) + 0.35 * max(len(raised) - len("^{}_{}$"), 0)


def _text_size(rows: int, columns: int, texts: Sequence[Sequence[str]]) -> float:
    lines = [line for row in texts for text in row for line in text.split("\n")]
    longest = max((_letters(line) for line in lines), default=1)
    deepest = max((text.count("\n") + 1 for row in texts for text in row), default=1)
    # The frame is about 475 points wide and 345 high; a letter is 0.6 of the size wide, a line 1.3 high.
    fits = min(475 / columns / (0.62 * longest), 345 / rows / (1.5 * deepest))
    return float(np.clip(fits, _MIN_TEXT, _MAX_TEXT))


# As in every table of this program: signal first to the eye, then its backgrounds.
_ORDER = (Label.SIGNAL, Label.QCD, Label.BIB)


def draw_confusion(axes: "Axes", confusion: ConfusionMatrix) -> None:
    """Draws the confusion matrix, one row per label, from above signal, QCD, BIB; each row sums to 100 %.

    Args:
        axes: to draw on.
        confusion: counts by label and largest output.
    """
    from_below = _ORDER[::-1]
    chosen = np.ix_(from_below, _ORDER)
    counts = confusion.counts[chosen]
    totals = confusion.counts.sum(axis=1)[list(from_below)]
    texts = tuple(
        tuple(_text(int(count), int(total)) for count in row) for row, total in zip(counts, totals, strict=True)
    )
    names = tuple(CLASS_STYLES[label.output].title for label in _ORDER)
    draw_cells(axes, Cells(confusion.shares[chosen], texts, names[::-1], names))
    axes.set_xlabel(f"Largest output (right for {100 * confusion.accuracy:.1f} % of all jets)")
    axes.set_ylabel("Label")


def _text(count: int, total: int) -> str:
    result = share(count, total)
    errors = f"+{100 * result.error_up:.1f} −{100 * result.error_down:.1f}"
    return f"{100 * result.value:.1f} %\n{errors}\n{count:,} jets"

"""Shares of jets classified as signal by background, kinematics, decay and mass, and the confusion matrix."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.efficiencies import (
    ConfusionMatrix,
    Dependence,
    FalsePositives,
    MassPointEfficiency,
    WorkingPoint,
)
from cal_ratio_trainer.evaluation.histograms import MAIN_CLASSES
from cal_ratio_trainer.evaluation.intervals import Share, share
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import legend_above
from cal_ratio_trainer.plotting.style import CLASS_STYLES, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes


AXIS_TITLES = {
    "Lxy": "True decay $L_{xy}$ [mm], |η| < 1.4",
    "Lz": "True decay |$L_z$| [mm], |η| ≥ 1.4",
    "pt": "Jet $p_T$ [GeV]",
    "eta": "Jet η",
    "phi": "Jet φ [rad]",
    "cluster_mass": "Mass of the jet's clusters [GeV]",
    "cluster_width": "Width of the jet's clusters",
    "mH": "$m_H$ [GeV]",
}
"""Titles of axes by quantity."""

POINT: dict[str, Any] = {"linestyle": "none", "markersize": 6, "elinewidth": 1.5, "markeredgewidth": 1.5, "zorder": 3}
"""Style of points with errors."""


def draw_false_positives(axes: "Axes", results: tuple[FalsePositives, ...]) -> None:
    """The share of each background's jets whose largest output is signal, by weight and by count.

    Args:
        axes: to draw on.
        results: a background each.
    """
    from matplotlib.ticker import NullLocator

    kinds: tuple[tuple[str, float, dict[str, Any]], ...] = (
        ("by_weight", -0.12, {"marker": "o"}),
        ("by_count", 0.12, {"marker": "s", "markerfacecolor": "white"}),
    )
    top = 0.0
    for kind, shift, style in kinds:
        for place, result in enumerate(results):
            each: Share = getattr(result, kind)
            if np.isfinite(each.value):
                errors = 100 * np.array([[each.error_down], [each.error_up]])
                colour = CLASS_STYLES[result.label.output].colour
                look = {"color": colour, "capsize": 4, **POINT, **style}
                axes.errorbar([place + shift], [100 * each.value], yerr=errors, **look)
                top = max(top, 100 * each.high)
    axes.set_xlim(-0.6, len(results) - 0.4)
    # The axis begins below 0, so that a point at 0 is not cut.
    height = 1.06 * top or 1
    axes.set_ylim(-0.03 * height, height)
    axes.set_xticks(range(len(results)), [CLASS_STYLES[result.label.output].title for result in results])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Background")
    axes.set_ylabel("Largest output is signal [% of jets]")
    lines = [
        f"{CLASS_STYLES[each.label.output].title}: {_per_cent(each.by_weight)} % by weight (filled), "
        f"{_per_cent(each.by_count)} % by count (open; {each.by_count.total:,.0f} jets)"
        for each in results
    ]
    legend_above(axes, "\n".join(lines))


def draw_signal_efficiency(axes: "Axes", shown: tuple[Dependence, ...], point: WorkingPoint) -> None:
    """The share of signal jets that pass the working point in bins of one quantity.

    Args:
        axes: to draw on.
        shown: of signal.
        point: the cut.
    """
    for each in shown:
        _draw_points(axes, each)
    axes.axhline(point.signal.value, color=GREY, linestyle=":", label=f"all signal jets: {_per_cent(point.signal)} %")
    # The axis begins below 0, so that points at 0 are not cut.
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_ylabel("Signal efficiency")
    _finish(axes, shown, point)


def draw_mistags(axes: "Axes", shown: tuple[Dependence, ...], point: WorkingPoint) -> None:
    """The share of QCD and of BIB that passes the working point; an arrow is the upper end where no jet does.

    Args:
        axes: to draw on.
        shown: a background each.
        point: the cut.
    """
    for number, each in enumerate(shown):
        # Side by side in their bin.
        shift = (number - (len(shown) - 1) / 2) * 0.4
        _draw_points(axes, each, shift)
        draw_limits(axes, each, *_places(each, shift), CLASS_STYLES[each.label.output].colour)
    axes.axhline(point.mistag, color=GREY, linestyle=":", label=f"asked for: {100 * point.mistag:g} % of QCD")
    axes.set_yscale("log")
    highest = max((float(np.nanmax(each.interval[1], initial=0.0)) for each in shown), default=0.0)
    axes.set_ylim(point.mistag / 30, max(1.5 * highest, 5 * point.mistag))
    axes.set_ylabel("Mistag rate")
    _finish(axes, shown, point, ", arrow: no jet passes")


def _draw_points(axes: "Axes", each: Dependence, shift: float = 0.0) -> None:
    value, (low, high) = each.value, each.interval
    some = value > 0 if each.label != Label.SIGNAL else np.isfinite(value)
    places, to_edges = _places(each, shift)
    style = CLASS_STYLES[each.label.output]
    beyond = f", {each.outside:,} beyond the axis" if each.outside else ""
    axes.errorbar(
        places[some],
        value[some],
        xerr=to_edges[:, some],
        # Weights below 0 bring a share out of its interval.
        yerr=np.maximum([(value - low)[some], (high - value)[some]], 0),
        **POINT,
        **style.points,
        label=f"{style.title} ({each.jets:,} jets{beyond})",
    )


def draw_limits(
    axes: "Axes", each: Dependence, places: NDArray[np.float64], to_edges: NDArray[np.float64], colour: str
) -> None:
    """Arrows down from the upper end of the interval in the bins that have jets, of which none passes.

    Args:
        axes: to draw on.
        each: a background.
        places: [bins] positions.
        to_edges: [2, bins] lengths of the horizontal bars to the left and to the right.
        colour: of the arrows.
    """
    none = (each.total > 0) & (each.passed <= 0)
    high = each.interval[1][none]
    axes.errorbar(
        places[none],
        high,
        xerr=to_edges[:, none],
        yerr=0.45 * high,
        uplims=True,
        linestyle="none",
        marker="none",
        color=colour,
        elinewidth=1,
        alpha=0.7,
    )


def _places(each: Dependence, shift: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of points in their bins, `shift` half widths from the centre, and distances to the edges, [2, bins]."""
    left, right = each.edges[:-1], each.edges[1:]
    places = (left + right) / 2 + shift * (right - left) / 2
    return places, np.stack([places - left, right - places])


def _finish(axes: "Axes", shown: tuple[Dependence, ...], point: WorkingPoint, arrows: str = "") -> None:
    axes.set_xlim(shown[0].edges[0], shown[0].edges[-1])
    axes.set_xlabel(AXIS_TITLES[shown[0].quantity])
    title = f"Signal output > {point.cut:.4g}, which {100 * point.qcd.value:.2g} % of QCD pass; bars: 68 %{arrows}"
    legend_above(axes, title)


def _per_cent(share: Share) -> str:
    if not np.isfinite(share.value):
        return "unknown"
    return f"{100 * share.value:.1f} +{100 * share.error_up:.1f} −{100 * share.error_down:.1f}"


_MIN_TEXT, _MAX_TEXT = 7.0, 17.0


def draw_cells(
    axes: "Axes",
    shares: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    palest: float = 0.0,
) -> Any:
    """Fills the whole frame with coloured cells; darker is more. Returns the mesh, for a colour bar.

    Args:
        axes: to draw on.
        shares: [rows, columns] in [0, 1]; NaN leaves a cell empty.
        texts: a row of texts for each row of cells; newlines separate lines.
        row_names: from below.
        column_names: from the left.
        palest: the share of a white cell; shares span the colours from there to 1.
    """
    import matplotlib
    from matplotlib.colors import ListedColormap

    rows, columns = shares.shape
    # The darkest blues would swallow black tick marks and make white text needed in too many cells.
    colours = ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0, 0.8, 256)))
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(shares),
        cmap=colours,
        vmin=palest,
        vmax=1.0,
        edgecolors="white",
        linewidth=2,
    )
    size = _text_size(rows, columns, texts)
    for row, column in zip(*np.nonzero(np.isfinite(shares)), strict=True):
        is_dark = shares[row, column] - palest > 0.75 * (1 - palest)
        axes.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=size,
            color="white" if is_dark else "black",
        )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), column_names)
    axes.set_yticks(range(rows), row_names)
    axes.minorticks_off()
    # Ticks would cross the numbers.
    axes.set_axisbelow(True)
    return mesh


def draw_mass_points(axes: "Axes", points: tuple[MassPointEfficiency, ...]) -> None:
    """Draws a cell for each (mH, mS) with efficiency, error and number of jets, and a colour bar; darker is better.

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
    row_names, column_names = ([f"{mass:g}" for mass in masses] for masses in (rows, columns))
    # The scale begins a step of 10 % below the lowest share, so that no cell is white.
    palest = max(float(np.floor(10 * np.nanmin(shares)) / 10) - 0.1, 0.0)
    mesh = draw_cells(axes, shares, texts, row_names, column_names, palest)
    axes.set_xlabel("$m_H$ [GeV]")
    axes.set_ylabel("$m_S$ [GeV]")
    legend_above(axes, "In a cell: % of the jets whose largest output is signal, with 68 % interval; number of jets")
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, width - 0.1, height))
    # Not by `Figure.colorbar`, which would leave traces on the axes that the next figure is drawn on.
    bar, shades = axes.inset_axes((1.025, 0.0, 0.035, 1.0)), np.linspace(palest, 1.0, 257)
    bar.pcolormesh((0, 1), shades, (shades[:-1, None] + shades[1:, None]) / 2, cmap=mesh.cmap, vmin=palest, vmax=1.0)
    bar.set_xticks([])
    ticks = np.arange(math.ceil(10 * palest - 1e-6), 11) / 10
    bar.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks], fontsize=12)
    bar.yaxis.tick_right()
    bar.minorticks_off()


def _letters(line: str) -> float:
    # Of an error above another one, in mathematical text, half of the letters count, and each for less.
    plain, _, raised = line.partition("$")
    return len(plain) + 0.35 * max(len(raised) - len("^{}_{}$"), 0)


def _text_size(rows: int, columns: int, texts: Sequence[Sequence[str]]) -> float:
    lines = [line for row in texts for text in row for line in text.split("\n")]
    longest = max((_letters(line) for line in lines), default=1)
    deepest = max((text.count("\n") + 1 for row in texts for text in row), default=1)
    # The frame is at least 415 points wide and 320 high; a letter is 0.6 of the size wide, a line 1.3 high.
    fits = min(415 / columns / (0.62 * longest), 320 / rows / (1.5 * deepest))
    return float(np.clip(fits, _MIN_TEXT, _MAX_TEXT))


def draw_confusion(axes: "Axes", confusion: ConfusionMatrix) -> None:
    """Draws the confusion matrix, one row per label, from above signal, QCD, BIB; each row sums to 100 %.

    Args:
        axes: to draw on.
        confusion: counts by label and largest output.
    """
    from_below = MAIN_CLASSES[::-1]
    chosen = np.ix_(from_below, MAIN_CLASSES)
    counts = confusion.counts[chosen]
    totals = confusion.counts.sum(axis=1)[list(from_below)]
    texts = [[_text(int(count), int(total)) for count in row] for row, total in zip(counts, totals, strict=True)]
    names = [CLASS_STYLES[label.output].title for label in MAIN_CLASSES]
    draw_cells(axes, confusion.shares[chosen], texts, names[::-1], names)
    axes.set_xlabel(f"Largest output (right for {100 * confusion.accuracy:.1f} % of all jets)")
    axes.set_ylabel("Label")


def _text(count: int, total: int) -> str:
    result = share(count, total)
    errors = f"+{100 * result.error_up:.1f} −{100 * result.error_down:.1f}"
    return f"{100 * result.value:.1f} %\n{errors}\n{count:,} jets"

"""Distributions of the three outputs by class, and of train and test, drawn from saved histograms alone."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.evaluation.histograms import (
    LOGIT_EDGES,
    Doubles,
    ScoreHistogram,
    ScoreHistograms,
    WeightedHistogram,
)
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, KsComparison, KsReference, OutputKs, PtRange
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import CLASS_STYLES, GREY, output_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LOWEST_DRAWN = 1e-6
LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_RATIO_TICKS, _MAX_RATIO = (0.5, 1.0, 1.5), 2.0


def control_text(heading: str, ks: ControlRegionKs | None, output: Label, suffix: str = "") -> str:
    """Heading and K-S distances of one output, in the pt range that `suffix` names ('lowPt') or in all of them."""
    if ks is None:
        return heading
    for pt_range, comparison in zip(ks.pt_ranges, ks[output].ranges, strict=True):
        if f"{pt_range.name}Pt" == suffix:
            return f"{heading}, {pt_range_title(pt_range)}\nK-S {_ks_words(comparison)}"
    return f"{heading}\n{ks_text(ks[output])}"


def pt_range_title(pt_range: PtRange) -> str:
    """A range of jet pt as it stands on a figure: in GeV where they are known, by its name otherwise."""
    if pt_range.gev is None:
        return f"{pt_range.name} $p_T$"
    low, high = pt_range.gev
    if not low > 0:
        return f"$p_T$ < {high:g} GeV"
    return f"$p_T$ > {low:g} GeV" if math.isinf(high) else f"{low:g} < $p_T$ < {high:g} GeV"


def draw_scores(axes: "Axes", histogram: ScoreHistogram, y_is_log: bool, text: str = "") -> None:
    """Draws one output, each class normalised to 1, with statistical errors.

    Simulation is filled or steps, data are points. The axis fits the bins: ln(p / (1 - p)), p, or, of a file of an
    earlier version, log p.

    Args:
        axes: to draw on.
        histogram: the output's contents by class.
        y_is_log: the vertical axis is logarithmic.
        text: written above the legend.
    """
    edges = _set_x(axes, histogram.edges)
    for name in histogram.classes:
        _draw_class(axes, edges, histogram[name], name)
    _set_y(axes, [histogram[name].normalised() for name in histogram.classes], y_is_log)
    axes.set_xlabel(output_title(histogram.output))
    axes.set_ylabel("Fraction of jets / bin")
    legend_above(axes, text)


def draw_data_and_simulation(
    axes: "Axes", below: "Axes", histogram: ScoreHistogram, text: str = "", y_is_log: bool = True
) -> None:
    """Draws one output of control-region data and simulation, and below it their ratio.

    The band there has the simulation's error, the error bars that of the data. A triangle at the edge of the lower
    panel is a ratio beyond it.

    Args:
        axes: main panel.
        below: lower panel.
        histogram: the output's contents by class: 'data' and 'mc'.
        text: written above the legend.
        y_is_log: the vertical axis of the main panel is logarithmic.
    """
    draw_scores(axes, histogram, y_is_log, text)
    below.set_xlabel(axes.get_xlabel())
    axes.set_xlabel("")
    edges = _set_x(below, histogram.edges)
    data, simulation = histogram["data"], histogram["mc"]
    _, band = simulation.ratio_to(simulation)
    band = np.nan_to_num(band)
    # Data in a bin without simulation have no ratio.
    ratio, error = data.ratio_to(simulation)
    some = ratio > 0
    centres = _centres(edges)
    _add_band(below, edges, 1 + band, np.maximum(1 - band, 0.0), CLASS_STYLES["mc"].colour)
    below.axhline(1.0, color=GREY, linewidth=1, zorder=1)
    inside = some & (ratio <= _MAX_RATIO)
    _draw_points(below, centres[inside], ratio[inside], error[inside], CLASS_STYLES["data"].points, None)
    beyond = some & (ratio > _MAX_RATIO)
    below.plot(
        centres[beyond], np.full(int(beyond.sum()), 0.95 * _MAX_RATIO), "^", color="black", markersize=5, zorder=3
    )
    below.set_ylim(0, _MAX_RATIO)
    below.set_yticks(_RATIO_TICKS)
    below.set_ylabel("Data / MC")


def ks_text(ks: OutputKs) -> str:
    """The K-S distances of one output, summed over the pt ranges and in each, from low to high pt."""
    total = KsComparison(ks.total, KsReference(ks.expected, ks.spread, math.nan))
    ranges = ", ".join("-" if math.isnan(each.distance) else f"{each.distance:.2f}" for each in ks.ranges)
    return f"K-S summed over $p_T$ ranges {_ks_words(total)}; low to high: {ranges}"


def _ks_words(measured: KsComparison) -> str:
    if math.isnan(measured.distance):
        return "unknown"
    reference = measured.reference
    digits = 3 if reference.spread < 0.01 else 2
    return f"{measured.distance:.{digits}f} (identical: {reference.mean:.{digits}f} ± {reference.spread:.{digits}f})"


def logit_positions(edges: Doubles) -> Doubles:
    """Positions of edges from 0 to 1 in ln(p / (1 - p)); the bins at both ends get the width of the others."""
    log_odds = np.log(edges[1:-1] / (1 - edges[1:-1]))
    width = log_odds[1] - log_odds[0]
    positions: Doubles = np.concatenate([[log_odds[0] - width], log_odds, [log_odds[-1] + width]])
    return positions


def _set_x(axes: "Axes", edges: Doubles) -> Doubles:
    """Scale, limits and ticks of the axis on which the bins are equally wide; returns its positions of the edges."""
    if np.array_equal(edges, LOGIT_EDGES):
        from matplotlib.ticker import FixedLocator

        positions = logit_positions(edges)
        axes.set_xlim(positions[0], positions[-1])
        axes.set_xticks([math.log(tick / (1 - tick)) for tick in LOGIT_TICKS], [f"{tick:g}" for tick in LOGIT_TICKS])
        low = np.outer([1e-4, 1e-3, 1e-2], np.arange(2, 10)).ravel()
        minor = np.concatenate([low, np.arange(2, 9) / 10, 1 - low])
        axes.xaxis.set_minor_locator(FixedLocator(np.log(minor / (1 - minor)).tolist()))
        return positions
    if np.allclose(np.diff(edges), edges[1] - edges[0]):
        axes.set_xlim(0.0, 1.0)
        return edges
    positive: Doubles = np.maximum(edges, edges[1] / 2)
    axes.set_xscale("log")
    axes.set_xlim(positive[0], 1.0)
    return positive


def _set_y(axes: "Axes", shares: list[tuple[Doubles, Doubles]], y_is_log: bool) -> None:
    """Limits that fit contents and errors, at steps, so that the figures of many epochs have the same ones."""
    contents = np.concatenate([each for each, _ in shares] or [np.zeros(0)])
    highest = float(np.nanmax(np.concatenate([np.add(*each) for each in shares] or [np.zeros(0)]), initial=0.0))
    filled = contents[contents > 0]
    lowest = float(filled.min()) if len(filled) else 0.1
    steps = (1, 2, 5, 10) if y_is_log else (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    wanted = (1.3 if y_is_log else 1.05) * (highest if highest > 0 else 1.0)
    power = 10.0 ** math.floor(math.log10(wanted))
    top = next(step for step in steps if step * power >= wanted * (1 - 1e-9)) * power
    if y_is_log:
        axes.set_yscale("log")
        # At least a factor 2 below the smallest content, so that no point is cut in half.
        axes.set_ylim(max(10.0 ** math.floor(math.log10(lowest / 2)), _LOWEST_DRAWN), top)
    else:
        axes.set_ylim(0.0, top)


def _draw_class(axes: "Axes", edges: Doubles, histogram: WeightedHistogram, name: str) -> None:
    """One class of jets, normalised to 1: an area or steps with the band of the errors, or points with error bars."""
    style = CLASS_STYLES[name]
    title = f"{style.title} ({histogram.jets:,} jets)"
    contents, errors = histogram.normalised()
    if style.is_data:
        filled = contents > 0
        _draw_points(axes, _centres(edges)[filled], contents[filled], errors[filled], style.points, title)
        return
    from matplotlib.colors import to_rgba
    from matplotlib.patches import StepPatch

    lowest = _LOWEST_DRAWN / 10
    look: dict[str, Any] = {"edgecolor": style.colour, "linewidth": 1.5, "linestyle": style.line}
    face = to_rgba(style.colour, 0.3) if style.is_area else "none"
    # Limits are set, not looked for: `axes.stairs` would take as long for that as the whole area takes to draw.
    axes.add_artist(StepPatch(contents, edges, baseline=lowest, fill=True, facecolor=face, label=title, **look))
    _add_band(axes, edges, contents + errors, np.maximum(contents - errors, lowest), style.colour)


def _add_band(axes: "Axes", edges: Doubles, high: Doubles, low: Any, colour: str) -> None:
    from matplotlib.patches import StepPatch

    axes.add_artist(StepPatch(high, edges, baseline=low, fill=True, color=colour, alpha=0.3, linewidth=0))


def _draw_points(axes: "Axes", x: Doubles, y: Doubles, dy: Doubles, style: dict[str, Any], label: str | None) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D

    # As `axes.errorbar` does it, without looking for limits that are set anyway: in a third of the time.
    points = Line2D(x, y, linestyle="none", markersize=5, markeredgewidth=1, zorder=3.1, **style)
    ends: Any = np.stack([np.stack([x, y - dy], axis=1), np.stack([x, y + dy], axis=1)], axis=1)
    bars = LineCollection(ends, colors=style["color"], linewidths=1, zorder=3)
    axes.add_artist(bars)
    axes.add_artist(points)
    axes.add_container(ErrorbarContainer((points, (), (bars,)), has_yerr=True, label=label))


def _centres(edges: Doubles) -> Doubles:
    """Middles of the bins on a linear axis; on the logarithmic one of earlier versions nearly so."""
    return (edges[:-1] + edges[1:]) / 2


def score_report_drawings(histograms: ScoreHistograms, prefix: str) -> list[Drawing]:
    """Each output in both binnings: <prefix><output>_linear and <prefix><output>_log; of data and MC with their ratio.

    Args:
        histograms: of the outputs by class.
        prefix: of the names.
    """
    drawings = []
    for binning, made in (("linear", histograms.linear), ("log", histograms.logit)):
        for each in made:
            name, y_is_log = f"{prefix}{each.output}_{binning}", binning != "linear"
            caption = f"{output_title(each.output)}, {'bins in log-odds' if y_is_log else 'linear bins'}"
            if {"data", "mc"} <= set(each.classes):
                content = (each, "", y_is_log)
                drawings.append(Drawing(name, draw_data_and_simulation, content, with_ratio=True, caption=caption))
            else:
                drawings.append(Drawing(name, draw_scores, (each, y_is_log, ""), caption=caption))
    return drawings


_MAX_PULL = 5.0


def draw_train_and_test(
    axes: "Axes",
    below: "Axes",
    test: ScoreHistogram,
    train: ScoreHistogram,
    distances: tuple[KsComparison, ...],
) -> None:
    """Draws one output of both parts, normalised to 1 in each class; below, their difference over its error.

    Args:
        axes: main panel.
        below: lower panel.
        test: contents of the test part by class.
        train: the same of jets that were trained on.
        distances: K-S of the two, in the order of the classes.
    """
    handles = [_draw_class_of_both(axes, below, name, test[name], train[name]) for name in test.classes]
    words = [
        f"{CLASS_STYLES[name].title}: {_ks_words(each)}" for name, each in zip(test.classes, distances, strict=True)
    ]
    below.axhspan(-1, 1, color="lightgrey", linewidth=0, zorder=0)
    below.axhline(0, color=GREY, linewidth=1, zorder=1)
    axes.set_xlim(0, 1)
    _set_y(axes, [each[name].normalised() for each in (test, train) for name in each.classes], y_is_log=True)
    below.set_ylim(-1.2 * _MAX_PULL, 1.2 * _MAX_PULL)
    below.set_yticks([-4, -2, 0, 2, 4])
    below.set_xlabel(output_title(test.output))
    below.set_ylabel("(train−test)/σ")
    axes.set_ylabel("Fraction of jets / bin")
    jets = f"Lines: {int(train.jets.sum()):,} jets trained on; points: {int(test.jets.sum()):,} test jets"
    legend_above(axes, f"{jets}\nK-S of the two:", 2, handles, words)


def _draw_class_of_both(
    axes: "Axes", below: "Axes", name: str, test: WeightedHistogram, train: WeightedHistogram
) -> tuple[Any, Any]:
    """Draws one class: train as a line, test as points, their pulls below; returns the line and the points."""
    style = CLASS_STYLES[name]
    points_style = {**style.points, "markersize": 5 if style.marker == "^" else 4}
    (contents, errors), (trained, train_errors) = test.normalised(), train.normalised()
    # Gaps in place of lines down to 0.
    line = axes.stairs(
        np.where(trained > 0, trained, np.nan),
        train.edges,
        baseline=None,
        linewidth=2,
        color=style.colour,
        linestyle=style.line,
    )
    centres, filled = (test.edges[1:] + test.edges[:-1]) / 2, contents > 0
    points = axes.errorbar(
        centres[filled], contents[filled], yerr=errors[filled], linestyle="none", elinewidth=1, **points_style
    )
    spread = np.hypot(errors, train_errors)
    some = spread > 0
    pulls = (trained - contents)[some] / spread[some]
    below.plot(centres[some], np.clip(pulls, -_MAX_PULL, _MAX_PULL), linestyle="none", **points_style)
    return line, points

"""Distributions of the three outputs by class, and of train and test, drawn from saved histograms alone."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import ScoreHistogram, ScoreHistograms, WeightedHistogram
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, KsComparison, KsReference, OutputKs, PtRange
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.style import CLASS_STYLES, GREY, LEGEND_BOX, output_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = Literal["upper left", "upper center", "upper right"]

_LOWEST_DRAWN = 1e-6
_FIRST_VISIBLE_SCORE = 2e-5


@dataclass(frozen=True)
class ScoreAxes:
    """The kind of a score plot: its axes, as in the earlier program."""

    x_is_log: bool
    x_low: float
    y_is_log: bool
    y_high: float


def logarithmic_axes(output: str) -> ScoreAxes:
    """Axes for the logarithmic binning: y to 2, x linear but for BIB's output."""
    return ScoreAxes(x_is_log=output == "bib", x_low=_FIRST_VISIBLE_SCORE, y_is_log=True, y_high=2.0)


def half_linear_axes(output: str) -> ScoreAxes:
    """Axes for the linear binning: x linear, y logarithmic to 50, for BIB's output to 200."""
    return ScoreAxes(x_is_log=False, x_low=0.0, y_is_log=True, y_high=200.0 if output == "bib" else 50.0)


LINEAR_AXES = ScoreAxes(x_is_log=False, x_low=0.0, y_is_log=False, y_high=1.2)


def control_text(heading: str, ks: ControlRegionKs | None, output: Label, suffix: str = "") -> str:
    """Heading and K-S distances of one output, in the pt range that `suffix` names ('lowPt') or in all of them."""
    if ks is None:
        return heading
    for pt_range, comparison in zip(ks.pt_ranges, ks[output].ranges, strict=True):
        if f"{pt_range.name}Pt" == suffix:
            return "\n".join([heading, pt_range_title(pt_range), _ks_line("K-S", comparison, "if identical: ")])
    return "\n".join([heading, ks_text(ks[output], [pt_range_title(pt_range) for pt_range in ks.pt_ranges])])


def pt_range_title(pt_range: PtRange) -> str:
    """A range of jet pt as it stands on a figure: in GeV where they are known, by its name otherwise."""
    if pt_range.gev is None:
        return f"{pt_range.name} $p_T$"
    low, high = pt_range.gev
    if not low > 0:
        return f"$p_T$ < {high:g} GeV"
    return f"$p_T$ > {low:g} GeV" if math.isinf(high) else f"{low:g} < $p_T$ < {high:g} GeV"


def draw_scores(axes: "Axes", histogram: ScoreHistogram, score_axes: ScoreAxes, text: str = "") -> None:
    """Draws one output, each class normalised to 1, with statistical errors.

    Args:
        axes: to draw on.
        histogram: the output's contents by class.
        score_axes: the kind of plot.
        text: written above the legend.
    """
    bottom = _bottom(histogram) if score_axes.y_is_log else 0.0
    for name in histogram.classes:
        style = CLASS_STYLES[name]
        title = f"{style.title} ({histogram[name].jets:,} jets)"
        contents, errors = histogram[name].normalised()
        if style.is_area:
            _draw_area(axes, histogram.edges, contents, errors, style.colour, title)
        else:
            centres = _centres(histogram.edges, score_axes)
            _draw_points(axes, centres, contents, errors, {**style.points, "marker": "o"}, title)
    _set_axes(axes, score_axes, bottom)
    axes.set_xlabel(output_title(histogram.output))
    axes.set_ylabel("Fraction of jets / bin")
    # Main plots are empty in the middle. Control jets are QCD: high on its output, low on signal's, and on the
    # logarithmic axis of BIB's they stand at the right too.
    control_place: Place = "upper right" if histogram.output == "sig" else "upper left"
    place: Place = "upper center" if "sig" in histogram.classes else control_place
    axes.legend(loc=place, fontsize=13, title=text, title_fontsize=13, alignment="left", **LEGEND_BOX)


def ks_text(ks: OutputKs, range_names: list[str]) -> str:
    """The K-S distances of one output in ranges of these names, each beside what identical distributions would give."""
    total = KsComparison(ks.total, KsReference(ks.expected, ks.spread, math.nan))
    lines = [_ks_line(name, comparison) for name, comparison in zip(range_names, ks.ranges, strict=True)]
    return "\n".join(["K-S (expected if identical)", *lines, _ks_line("sum", total)])


def _ks_line(name: str, measured: KsComparison, before_expected: str = "") -> str:
    if math.isnan(measured.distance):
        return f"{name}: unknown"
    reference = measured.reference
    return f"{name}: {measured.distance:.3f} ({before_expected}{reference.mean:.3f} ± {reference.spread:.3f})"


def _draw_area(
    axes: "Axes",
    edges: NDArray[np.float64],
    contents: NDArray[np.float64],
    errors: NDArray[np.float64],
    colour: str,
    label: str,
) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import StepPatch

    lowest = _LOWEST_DRAWN / 10
    fill: dict[str, Any] = {"facecolor": to_rgba(colour, 0.3), "edgecolor": colour, "linewidth": 1.5}
    band: dict[str, Any] = {"facecolor": to_rgba(colour, 0.3), "linewidth": 0}
    # Limits are set, not looked for: `axes.stairs` would take as long for that as the whole area takes to draw.
    axes.add_artist(StepPatch(contents, edges, baseline=lowest, fill=True, label=label, **fill))
    low: Any = np.maximum(contents - errors, lowest)
    axes.add_artist(StepPatch(contents + errors, edges, baseline=low, fill=True, **band))


def _draw_points(
    axes: "Axes",
    centres: NDArray[np.float64],
    contents: NDArray[np.float64],
    errors: NDArray[np.float64],
    style: dict[str, Any],
    label: str,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D

    filled = contents > 0
    x, y, dy = centres[filled], contents[filled], errors[filled]
    # As `axes.errorbar` does it, without looking for limits that are set anyway: in a third of the time.
    points = Line2D(x, y, linestyle="none", markersize=5, markeredgewidth=1, zorder=3.1, **style)
    ends: Any = np.stack([np.stack([x, y - dy], axis=1), np.stack([x, y + dy], axis=1)], axis=1)
    bars = LineCollection(ends, colors=style["color"], linewidths=1, zorder=3)
    axes.add_artist(bars)
    axes.add_artist(points)
    axes.add_container(ErrorbarContainer((points, (), (bars,)), has_yerr=True, label=label))


def _centres(edges: NDArray[np.float64], score_axes: ScoreAxes) -> NDArray[np.float64]:
    if not score_axes.x_is_log:
        arithmetic: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
        return arithmetic
    visible = np.maximum(edges, score_axes.x_low)
    geometric: NDArray[np.float64] = np.sqrt(visible[:-1] * visible[1:])
    return geometric


def _bottom(histogram: ScoreHistogram) -> float:
    """A power of ten at least a factor 2 below the smallest content, so that no point is cut in half."""
    contents = np.concatenate([histogram[name].normalised()[0] for name in histogram.classes])
    filled = contents[contents > 0]
    lowest = float(filled.min()) if len(filled) else 0.1
    return max(10.0 ** math.floor(math.log10(lowest / 2)), _LOWEST_DRAWN)


def _set_axes(axes: "Axes", score_axes: ScoreAxes, bottom: float) -> None:
    if score_axes.x_is_log:
        axes.set_xscale("log")
    if score_axes.y_is_log:
        axes.set_yscale("log")
    axes.set_xlim(score_axes.x_low, 1.0)
    axes.set_ylim(bottom, score_axes.y_high)


def score_report_drawings(histograms: ScoreHistograms, prefix: str, text: str = "") -> list[Drawing]:
    """Each output in both binnings: <prefix><output>_linear and <prefix><output>_log.

    Args:
        histograms: of the outputs by class.
        prefix: of the names.
        text: written above the legends.
    """
    linear = [
        Drawing(f"{prefix}{each.output}_linear", draw_scores, (each, LINEAR_AXES, text), default_ticks=True)
        for each in histograms.linear
    ]
    logarithmic = [
        Drawing(
            f"{prefix}{each.output}_log", draw_scores, (each, logarithmic_axes(each.output), text), default_ticks=True
        )
        for each in histograms.log
    ]
    return [*linear, *logarithmic]


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
    both = np.concatenate([each[name].normalised()[0] for each in (test, train) for name in each.classes])
    filled = both[both > 0]
    bottom = 10.0 ** math.floor(math.log10(filled.min() / 2)) if len(filled) else 0.1
    handles = [_draw_class_of_both(axes, below, name, test[name], train[name]) for name in test.classes]
    words = [_ks_line(CLASS_STYLES[name].title, each) for name, each in zip(test.classes, distances, strict=True)]
    below.axhspan(-1, 1, color="lightgrey", linewidth=0, zorder=0)
    below.axhline(0, color=GREY, linewidth=1, zorder=1)
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom, 500)
    axes.set_yticks([10.0**power for power in range(-5, 1) if 10.0**power >= bottom])
    below.set_ylim(-1.2 * _MAX_PULL, 1.2 * _MAX_PULL)
    below.set_yticks([-4, -2, 0, 2, 4])
    below.set_xlabel(output_title(test.output))
    below.set_ylabel("(train−test)/σ")
    axes.set_ylabel("Fraction of jets / bin")
    jets = f"lines: {int(train.jets.sum()):,} jets trained on; points: {int(test.jets.sum()):,} test jets"
    axes.legend(
        handles,
        words,
        loc="upper center",
        fontsize=13,
        title=f"{jets}\nK-S of the two (expected if identical):",
        title_fontsize=13,
        alignment="left",
        **LEGEND_BOX,
    )


def _draw_class_of_both(
    axes: "Axes", below: "Axes", name: str, test: WeightedHistogram, train: WeightedHistogram
) -> tuple[Any, Any]:
    """Draws one class: train as a line, test as points, their pulls below; returns the line and the points."""
    style = CLASS_STYLES[name]
    points_style = {**style.points, **({"marker": "^", "markersize": 5} if name == "sig" else {"markersize": 4})}
    (contents, errors), (trained, train_errors) = test.normalised(), train.normalised()
    # Gaps in place of lines down to nothing.
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

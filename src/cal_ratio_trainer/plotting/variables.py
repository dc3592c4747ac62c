"""Variables of jets, overlaid for several groups of jets, with the ratios to the first of them below."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.evaluation.histograms import Doubles, WeightedHistogram
from cal_ratio_trainer.evaluation.variables import Variable, is_logarithmic
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MAX_SERIES = 6
"""More than these cannot be told apart in one figure."""

_LOG_ABOVE_RATIO = 200.0
_LOG_RATIOS_ABOVE = 8.0
_LOWEST_SHARE = 1e-6
_MAX_TITLE = 34
_FREE_AT_EDGE = 0.12
_MAX_BAR = 1.3
_APART = 0.14
_SURE_RATIO = 0.5
_MAX_TICK = 1e5
_FEW_SERIES = 3
_SPARSE = 0.5
_DATA: dict[str, Any] = {"color": "black", "marker": "o", "linestyle": "-"}
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#8c564b", "marker": "P", "linestyle": "-"},
    {"color": RED, "marker": "s", "linestyle": "--", "markerfacecolor": "white"},
    {"color": ORANGE, "marker": "^", "linestyle": "-."},
    {"color": "#6a3d9a", "marker": "v", "linestyle": ":", "markerfacecolor": "white"},
    {"color": "#00705a", "marker": "D", "linestyle": (0, (6, 1, 1, 1, 1, 1))},
)


@dataclass(frozen=True, eq=False)
class Series:
    """Title and histogram of one group of jets; data are drawn as black points, and nothing else is."""

    title: str
    histogram: WeightedHistogram
    is_data: bool = False


@dataclass(frozen=True, eq=False)
class VariableFigure:
    """One variable of several groups of jets.

    Attributes:
        title: title of the x axis, in matplotlib's text (see `plain_text`).
        edges: [bins + 1].
        series: the groups; the first is what the others are compared with. At most `MAX_SERIES`.
        context: common property of all groups, plain text; above the legend.
        counted: name of the entries, plural.
    """

    title: str
    edges: Doubles
    series: tuple[Series, ...]
    context: str = ""
    counted: str = "jets"


def variable_drawing(name: str, figure: VariableFigure) -> Drawing:
    """The figure, with a panel of ratios where there are two groups or more.

    Raises:
        ValueError: too many groups for one figure.
    """
    if len(figure.series) > MAX_SERIES:
        raise ValueError(f"{len(figure.series)} groups of jets are too many for one figure")
    figure = _with_short_ticks(figure)
    if len(figure.series) > 1:
        return Drawing(name, draw_variable_with_ratio, (figure,), with_ratio=True)
    return Drawing(name, draw_variable, (figure,))


def _with_short_ticks(figure: VariableFigure) -> VariableFigure:
    """Large numbers in powers of a thousand; matplotlib would write the power where the title is."""
    largest = float(np.abs(figure.edges).max())
    if largest < _MAX_TICK or is_logarithmic(figure.edges):
        return figure
    power = 3 * (math.floor(math.log10(largest)) // 3)
    return replace(figure, title=f"{figure.title} / $10^{{{power}}}$", edges=figure.edges / 10.0**power)


def draw_variable_with_ratio(main: "Axes", ratios: "Axes", figure: VariableFigure) -> None:
    """Contents above, ratios to the first group below."""
    _draw_contents(main, figure)
    _draw_ratios(ratios, figure)
    ratios.set_xlabel(figure.title)


def draw_variable(axes: "Axes", figure: VariableFigure) -> None:
    """Contents alone."""
    _draw_contents(axes, figure)
    axes.set_xlabel(figure.title)


def plain_text(text: str, longest: int = _MAX_TITLE) -> str:
    """Text from files and users as matplotlib shows it letter by letter, shortened in the middle.

    >>> plain_text("a$b")
    'a\\\\$b'
    """
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    if len(visible) > longest:
        visible = f"{visible[: longest // 2]}…{visible[-(longest // 2 - 1) :]}"
    return visible.replace("$", r"\$")


def _draw_contents(axes: "Axes", figure: VariableFigure) -> None:
    highest, lowest = 0.0, math.inf
    for place, series in enumerate(figure.series):
        contents, errors = series.histogram.normalised()
        title = _legend_title(series)
        if place == 0:
            _draw_area(axes, figure.edges, contents, errors, title)
        else:
            style = _DATA if series.is_data else _STYLES[place - 1]
            _draw_steps(axes, figure.edges, contents, errors, title, style, place - 1, len(figure.series) - 1)
        filled = contents[contents > 0]
        if len(filled):
            highest = max(highest, float(np.nanmax(np.minimum(contents + errors, _MAX_BAR * contents))))
            lowest = min(lowest, float(filled.min()))
    if highest == 0:
        axes.text(0.5, 0.5, "no jets", transform=axes.transAxes, ha="center", fontsize=14)
    _set_axes(axes, figure, highest, lowest)
    axes.set_ylabel(f"Fraction of {figure.counted} / bin")
    # A leading space: matplotlib leaves out what begins with an underscore.
    legend_above(axes, plain_text(figure.context, 80), 2)


def _legend_title(series: Series) -> str:
    shares = [
        f"{'<0.1' if share < 0.001 else f'{100 * share:.1f}'} % {where}"
        for share, where in zip(series.histogram.outside, ("below", "above"), strict=True)
        if share > 0
    ]
    outside = f" ({', '.join(shares)})" if shares else ""
    number = f"{series.histogram.jets:,} jet{'' if series.histogram.jets == 1 else 's'}"
    return f" {plain_text(series.title)}: {number}{outside}"


def _draw_area(axes: "Axes", edges: Doubles, contents: Doubles, errors: Doubles, title: str) -> None:
    from matplotlib.colors import to_rgba

    known, spread = np.nan_to_num(contents), np.nan_to_num(errors)
    axes.stairs(
        known,
        edges,
        baseline=_LOWEST_SHARE / 10,
        fill=True,
        facecolor=to_rgba(BLUE, 0.25),
        edgecolor=BLUE,
        linewidth=1.5,
        label=title,
    )
    low = np.maximum(known - spread, 0.0)
    axes.stairs(known + spread, edges, baseline=low, fill=True, color=BLUE, alpha=0.35, linewidth=0)


def _draw_steps(
    axes: "Axes",
    edges: Doubles,
    contents: Doubles,
    errors: Doubles,
    title: str,
    style: dict[str, Any],
    place: int,
    others: int,
) -> None:
    # Points of many groups would cover each other; the ratios below have their errors.
    with_points = style is _DATA or others <= _FEW_SERIES
    if style is not _DATA:
        axes.stairs(
            np.nan_to_num(contents),
            edges,
            baseline=_LOWEST_SHARE / 10,
            color=style["color"],
            linestyle=style["linestyle"],
            linewidth=1 if with_points else 1.6,
        )
    if not with_points:
        # The legend shows the points of the ratios too.
        axes.plot([], [], markersize=4.5, linewidth=1.6, label=title, **style)
        return
    filled = contents > 0
    axes.errorbar(
        _beside_each_other(edges, place, others)[filled],
        contents[filled],
        yerr=errors[filled],
        markersize=4.5,
        elinewidth=1,
        markeredgewidth=1,
        zorder=3,
        label=title,
        **{**style, "linestyle": "none"},
    )


def _draw_ratios(axes: "Axes", figure: VariableFigure) -> None:
    reference = figure.series[0]
    _, own = reference.histogram.ratio_to(reference.histogram)
    band = np.nan_to_num(own)
    axes.stairs(1 + band, figure.edges, baseline=1 - band, fill=True, color=BLUE, alpha=0.3, linewidth=0)
    axes.axhline(1.0, color=GREY, linewidth=1, zorder=1)
    quotients = [series.histogram.ratio_to(reference.histogram) for series in figure.series[1:]]
    low, high = _set_ratio_range(axes, quotients)
    for place, (values, errors) in enumerate(quotients):
        style = {**(_DATA if figure.series[place + 1].is_data else _STYLES[place]), "linestyle": "none"}
        known = values > 0
        centres = _beside_each_other(figure.edges, place, len(quotients))
        axes.errorbar(
            centres[known], values[known], yerr=errors[known], markersize=4, elinewidth=1, markeredgewidth=1, **style
        )
        for beyond, edge, arrow in ((known & (values > high), high, "^"), (known & (values < low), low, "v")):
            axes.plot(
                centres[beyond],
                np.full(int(beyond.sum()), edge),
                marker=arrow,
                color=style["color"],
                linestyle="none",
                markersize=6,
                clip_on=False,
            )
    axes.set_ylabel(f"Ratio to\n{plain_text(reference.title, 16)}", fontsize=13)


def _set_ratio_range(axes: "Axes", ratios: list[tuple[Doubles, Doubles]]) -> tuple[float, float]:
    from matplotlib.ticker import MaxNLocator, NullFormatter

    values, errors = (np.concatenate(arrays) for arrays in zip(*ratios, strict=True))
    known = values[np.isfinite(values) & (values > 0)]
    # A few points with large errors should not decide the range of the axis.
    sure = values[(values > 0) & (errors < _SURE_RATIO * values)]
    known = sure if len(sure) else known
    low, high = (float(value) for value in np.quantile(known, [0.05, 0.95])) if len(known) else (0.6, 1.4)
    if max(high, 1.0) / min(low, 1.0) > _LOG_RATIOS_ABOVE:
        reach = min(max(high, 1 / low), 1e3) * 1.5
        axes.set_yscale("log")
        # A decade's label is not at the edge, where it would touch those of the panel above and of the x axis.
        reach = max(reach, 2 * 10.0 ** math.floor(math.log10(reach)))
        if reach < 10:
            # The axis holds one decade only.
            labelled = (0.2, 1, 5) if reach > 6 else (0.5, 1, 2)
            axes.set_yticks(labelled, [f"{tick:g}" for tick in labelled])
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = 1 / reach, reach
    else:
        reach = min(max(1.25 * max(abs(high - 1), abs(low - 1)), 0.1), 4.0)
        low, high = max(1 - reach, 0.0), 1 + reach
        # None at the edges, where the panel above has its lowest one and the x axis its first one; at least two.
        spare = _FREE_AT_EDGE * (high - low)
        for number in (4, 5, 6, 8):
            tried = MaxNLocator(nbins=number, steps=[1, 2, 5, 10]).tick_values(low, high)
            ticks = [float(tick) for tick in tried if low + spare <= tick <= high - spare]
            if len(ticks) > 1:
                break
        axes.set_yticks(ticks)
    axes.set_ylim(low, high)
    return low, high


def _beside_each_other(edges: Doubles, place: int, others: int) -> Doubles:
    """Horizontal positions of the points of one group in their bins, such that error bars do not overlap."""
    share = 0.5 + _APART * (place - (others - 1) / 2)
    if is_logarithmic(edges):
        logarithmic: Doubles = edges[:-1] * (edges[1:] / edges[:-1]) ** share
        return logarithmic
    linear: Doubles = edges[:-1] + np.diff(edges) * share
    return linear


def _set_axes(axes: "Axes", figure: VariableFigure, highest: float, lowest: float) -> None:
    if is_logarithmic(figure.edges):
        axes.set_xscale("log")
    axes.set_xlim(float(figure.edges[0]), float(figure.edges[-1]))
    filled = np.flatnonzero(np.sum([series.histogram.contents > 0 for series in figure.series], axis=0))
    if len(filled) and filled[-1] - filled[0] < _SPARSE * (len(figure.edges) - 1):
        first, last = max(filled[0] - 2, 0), min(filled[-1] + 3, len(figure.edges) - 1)
        axes.set_xlim(float(figure.edges[first]), float(figure.edges[last]))
    # Bins that hold one whole number each.
    if np.array_equal(figure.edges % 1, np.full(len(figure.edges), 0.5)):
        _number_whole_numbers(axes)
    if highest <= 0:
        axes.set_ylim(0, 1)
        return
    if highest / lowest > _LOG_ABOVE_RATIO:
        axes.set_yscale("log")
        bottom = max(lowest / 2, _LOWEST_SHARE)
        axes.set_ylim(bottom, 1.5 * highest)
        return
    axes.set_ylim(0, 1.06 * highest)


def _number_whole_numbers(axes: "Axes") -> None:
    """Places ticks at integers only."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_minor_locator(NullLocator())


_SCALED = "scaled to 0-1"
_SCALARS = {
    "mcEventWeight": "Event weight",
    "llp_mH": "$m_H$",
    "llp_mS": "$m_S$",
    "llp_pt": "LLP $p_T$",
    "llp_eta": r"LLP $\eta$",
    "llp_phi": r"LLP $\phi$",
    "llp_Lxy": "LLP $L_{xy}$",
    "llp_Lz": "LLP $L_z$",
}
_MAX_COLUMN = 60
_SAID_BY_TITLE = ("1", "tracks", "hits")


def axis_title(variable: Variable, unit: str, scaling: Scaling | None) -> str:
    """The title of an axis, in matplotlib's text.

    Args:
        variable: the variable.
        unit: as files say it, e.g. 'rad from the jet'; may be empty.
        scaling: the range that became 0 to 1, where all files that are shown have the same.
    """
    measured, origin = _unit_and_origin(unit)
    if unit == _SCALED and scaling is not None:
        if scaling.min_jet_pt == 0:
            return f"{_name(variable)} / {scaling.max_jet_pt:g} GeV"
        measured = f"scaled: {scaling.min_jet_pt:g}–{scaling.max_jet_pt:g} GeV to 0–1"
    title = f"{_name(variable)}{f' {origin}' if origin else ''}"
    return f"{title} [{measured}]" if measured else title


def _name(variable: Variable) -> str:
    kind = variable.kind
    feature = variable.schema.columns.get(variable.column)
    title = "" if feature is None else feature.title or plain_text(feature.name, _MAX_COLUMN)
    if kind is None:
        return title or _SCALARS.get(variable.name, plain_text(variable.name, _MAX_COLUMN))
    what = kind.name.replace("_", " ").removesuffix("s")
    if variable.shape == "count":
        return f"Number of {what}s"
    if variable.shape == "all":
        return f"{what.capitalize()} {title}"
    return f"{_ordinal(variable.slot, kind.sorted_by == 'pt')} {what} {title}"


def _ordinal(slot: int, by_pt: bool) -> str:
    if slot == 0 and by_pt:
        return "Leading"
    number = slot + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _unit_and_origin(unit: str) -> tuple[str, str]:
    """'rad from the jet' -> ('rad', 'from the jet'); '1' and what repeats the title are no unit."""
    if unit.startswith("from "):
        return "", unit
    measured, separator, origin = unit.partition(" from ")
    if separator:
        return measured, f"from {origin}"
    return ("" if unit in _SAID_BY_TITLE else plain_text(unit, _MAX_COLUMN)), ""

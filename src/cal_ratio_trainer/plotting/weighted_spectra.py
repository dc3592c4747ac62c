"""Weighted distributions: slices that add up, groups compared by shape, simulation compared with data."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.jets.labels import CLASS_NAMES
from cal_ratio_trainer.plotting.drawing import legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

_TITLES = {
    "jet_pt": r"Jet $p_T$ [GeV]",
    "jet_eta": r"Jet $\eta$",
    "jet_phi": r"Jet $\phi$ [rad]",
    "actualInteractionsPerCrossing": "Interactions per bunch crossing",
}
_DATA: dict[str, Any] = {"color": "black", "marker": "o"}
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": RED, "marker": "s", "markerfacecolor": "white"},
    {"color": BLUE, "marker": "^"},
    {"color": ORANGE, "marker": "v", "markerfacecolor": "white"},
    {"color": "#6a3d9a", "marker": "D"},
)
_HATCHES = ("", "///", "", "...", "", "xxx", "", "\\\\\\")


@dataclass(frozen=True, eq=False)
class SpectrumFigure:
    """The distributions of groups of jets in one variable.

    Attributes:
        variable: name of the column.
        edges: [bins + 1].
        groups: histograms of the groups by name.
        heading: above the legend.
        unit: of the weights, for the y axis of what is not normalised.
    """

    variable: str
    edges: FloatArray
    groups: Mapping[str, WeightedHistogram]
    heading: str
    unit: str = ""


def draw_stack(axes: "Axes", figure: SpectrumFigure) -> None:
    """Slices on top of each other, the first on the floor, and their sum with its errors; y is logarithmic."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0.95, 0.1, max(len(figure.groups), 2)))
    total = np.zeros(len(figure.edges) - 1)
    bottom = _floor(figure)
    for number, (name, group) in enumerate(figure.groups.items()):
        low, total = total, total + group.contents
        axes.stairs(
            np.maximum(total, bottom / 10),
            figure.edges,
            baseline=np.maximum(low, bottom / 10),
            fill=True,
            facecolor=shades[number],
            edgecolor="black",
            linewidth=0.6,
            hatch=_HATCHES[number % len(_HATCHES)],
            label=f"{name}: {group.jets:,} jets",
        )
    squares = np.sum([group.errors**2 for group in figure.groups.values()], axis=0)
    axes.stairs(np.maximum(total, bottom / 10), figure.edges, color="black", linewidth=1.5, label="sum, ± 1σ")
    spread = np.sqrt(squares)
    low = np.maximum(total - spread, bottom / 10)
    axes.stairs(total + spread, figure.edges, baseline=low, fill=True, color=GREY, alpha=0.5, linewidth=0)
    top = float(total.max(initial=bottom))
    axes.set_yscale("log")
    _frame(axes, figure, f"Sum of weights / {_width(figure)}{f' [{figure.unit}]' if figure.unit else ''}")
    axes.set_ylim(bottom, 2 * top)
    legend_above(axes, figure.heading, 2)


def draw_shapes(axes: "Axes", figure: SpectrumFigure) -> None:
    """Groups overlaid, each with a sum of 1; data as points alone."""
    shapes = [_shape(group) for group in figure.groups.values()]
    for place, ((name, group), (contents, errors)) in enumerate(zip(figure.groups.items(), shapes, strict=True)):
        is_data = name == CLASS_NAMES["bib"] or name.endswith(CLASS_NAMES["data"])
        style = _DATA if is_data else _STYLES[place % len(_STYLES)]
        if not is_data:
            axes.stairs(np.maximum(contents, 0), figure.edges, color=style["color"], linewidth=1)
        _points(axes, figure.edges, contents, errors, {**style, "label": f"{name}: {group.jets:,} jets"})
    _frame(axes, figure, f"Fraction of weights / {_width(figure)}")
    _set_y(axes, [contents for contents, _ in shapes], [errors for _, errors in shapes])
    legend_above(axes, figure.heading, 2)


def draw_against_data(main: "Axes", ratios: "Axes", figure: SpectrumFigure) -> None:
    """Two groups, simulation (the first) filled and data (the second) as points, and their ratio below."""
    (simulation_name, simulation), (data_name, data) = figure.groups.items()
    edges, (expected, spread), (measured, errors) = figure.edges, _shape(simulation), _shape(data)
    main.stairs(expected, edges, fill=True, color=BLUE, alpha=0.3, label=f"{simulation_name}: {simulation.jets:,} jets")
    main.stairs(
        expected + spread,
        edges,
        baseline=np.maximum(expected - spread, 0),
        fill=True,
        color=BLUE,
        alpha=0.4,
        linewidth=0,
    )
    _points(main, edges, measured, errors, {**_DATA, "label": f"{data_name}: {data.jets:,} jets"})
    _frame(main, figure, f"Fraction of weights / {_width(figure)}")
    main.set_xlabel("")
    _set_y(main, [expected, measured], [spread, errors])
    legend_above(main, figure.heading, 2)
    _draw_ratios(ratios, edges, expected, spread, measured, errors)
    ratios.set_xlabel(_TITLES.get(figure.variable, figure.variable))
    ratios.set_ylabel("Data / MC", fontsize=14)


def _shape(group: WeightedHistogram) -> tuple[FloatArray, FloatArray]:
    """Contents and errors for a sum of 1; 0 where the weights do not sum to more than 0."""
    contents, errors = group.normalised()
    return np.nan_to_num(contents), np.nan_to_num(errors)


def _draw_ratios(
    axes: "Axes",
    edges: FloatArray,
    expected: FloatArray,
    spread: FloatArray,
    measured: FloatArray,
    errors: FloatArray,
) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    known = (expected > 0) & (measured > 0)
    ratio, error, band = (
        np.divide(each, expected, out=np.zeros_like(expected), where=expected > 0)
        for each in (measured, errors, spread)
    )
    axes.axhline(1, color=GREY, linewidth=1)
    _points(axes, edges, np.where(known, ratio, 0), np.where(known, error, 0), _DATA)
    furthest = float(np.max(np.abs(np.log(ratio[known])), initial=0.0))
    if furthest > math.log(4):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_formatter(NullFormatter())
        reach = max(1.5 * math.exp(furthest), 15.0)
        axes.set_ylim(1 / reach, reach)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3, prune="upper"))
        reach = float(np.clip(1.3 * np.max(np.abs(ratio[known] - 1), initial=0.1), 0.2, 4.0))
        axes.set_ylim(max(1 - reach, 0), 1 + reach)
    low = np.maximum(1 - band, axes.get_ylim()[0])
    axes.stairs(1 + band, edges, baseline=low, fill=True, color=BLUE, alpha=0.3, linewidth=0)


def _points(axes: "Axes", edges: FloatArray, contents: FloatArray, errors: FloatArray, style: dict[str, Any]) -> None:
    filled = contents > 0
    axes.errorbar(
        ((edges[:-1] + edges[1:]) / 2)[filled],
        contents[filled],
        yerr=errors[filled],
        linestyle="none",
        markersize=5,
        elinewidth=1,
        zorder=3,
        **style,
    )


def _frame(axes: "Axes", figure: SpectrumFigure, content: str) -> None:
    axes.set_xlim(float(figure.edges[0]), float(figure.edges[-1]))
    axes.set_xlabel(_TITLES.get(figure.variable, figure.variable.replace("$", r"\$")))
    axes.set_ylabel(content)


def _width(figure: SpectrumFigure) -> str:
    """The width of the equal bins, with the unit that the variable's title has."""
    unit = re.search(r"\[(.+)\]$", _TITLES.get(figure.variable, ""))
    return f"{figure.edges[1] - figure.edges[0]:.3g}{f' {unit[1]}' if unit else ''}"


def _set_y(axes: "Axes", contents: list[FloatArray], errors: list[FloatArray]) -> None:
    """Logarithmic where contents differ by more than a factor 30."""
    together = np.concatenate(contents)
    filled = together[together > 0]
    if not len(filled):
        return
    high, low = float(np.max(together + np.concatenate(errors))), float(filled.min())
    if high / low > 30:
        bottom = 10.0 ** math.floor(math.log10(low / 1.5))
        axes.set_yscale("log")
        axes.set_ylim(bottom, 1.5 * high)
    else:
        axes.set_ylim(0, 1.06 * high)


def _floor(figure: SpectrumFigure) -> float:
    """A power of ten below the smallest bin of the sum."""
    total = np.sum([group.contents for group in figure.groups.values()], axis=0)
    filled = total[total > 0]
    return 10.0 ** math.floor(math.log10(float(filled.min()) / 2)) if len(filled) else 0.1

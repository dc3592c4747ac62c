"""Weighted distributions: slices that add up, groups compared by shape, simulation compared with data."""

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.evaluation.histograms import Doubles, Spectra, WeightedHistogram
from cal_ratio_trainer.jets.labels import CLASS_NAMES
from cal_ratio_trainer.plotting.drawing import legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def draw_stack(axes: "Axes", spectra: Spectra, heading: str, unit: str) -> None:
    """Slices on top of each other, the first on the floor, and their sum with its errors; y is logarithmic.

    Args:
        axes: of the figure.
        spectra: the distributions of the slices.
        heading: above the legend.
        unit: of the weights; may be empty.
    """
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0.95, 0.1, max(len(spectra.groups), 2)))
    total = np.zeros(len(spectra.edges) - 1)
    filled = np.sum([group.contents for group in spectra.groups.values()], axis=0)
    filled = filled[filled > 0]
    # A power of ten below the smallest bin of the sum.
    bottom = 10.0 ** math.floor(math.log10(float(filled.min()) / 2)) if len(filled) else 0.1
    for number, (name, group) in enumerate(spectra.groups.items()):
        low, total = total, total + group.contents
        axes.stairs(
            np.maximum(total, bottom / 10),
            spectra.edges,
            baseline=np.maximum(low, bottom / 10),
            fill=True,
            facecolor=shades[number],
            edgecolor="black",
            linewidth=0.6,
            hatch=_HATCHES[number % len(_HATCHES)],
            label=f"{name}: {group.jets:,} jets",
        )
    squares = np.sum([group.errors**2 for group in spectra.groups.values()], axis=0)
    axes.stairs(np.maximum(total, bottom / 10), spectra.edges, color="black", linewidth=1.5, label="sum, ± 1σ")
    spread = np.sqrt(squares)
    low = np.maximum(total - spread, bottom / 10)
    axes.stairs(total + spread, spectra.edges, baseline=low, fill=True, color=GREY, alpha=0.5, linewidth=0)
    top = float(total.max(initial=bottom))
    axes.set_yscale("log")
    _frame(axes, spectra, f"Sum of weights / {_width(spectra)}{f' [{unit}]' if unit else ''}")
    axes.set_ylim(bottom, 2 * top)
    legend_above(axes, heading, 2)


def draw_shapes(axes: "Axes", spectra: Spectra, heading: str) -> None:
    """Groups overlaid, each with a sum of 1; data as points alone."""
    shapes = [_shape(group) for group in spectra.groups.values()]
    for place, ((name, group), (contents, errors)) in enumerate(zip(spectra.groups.items(), shapes, strict=True)):
        is_data = name == CLASS_NAMES["bib"] or name.endswith(CLASS_NAMES["data"])
        style = _DATA if is_data else _STYLES[place % len(_STYLES)]
        if not is_data:
            axes.stairs(np.maximum(contents, 0), spectra.edges, color=style["color"], linewidth=1)
        _points(axes, spectra.edges, contents, errors, {**style, "label": f"{name}: {group.jets:,} jets"})
    _frame(axes, spectra, f"Fraction of weights / {_width(spectra)}")
    _set_y(axes, [contents for contents, _ in shapes], [errors for _, errors in shapes])
    legend_above(axes, heading, 2)


def draw_against_data(main: "Axes", ratios: "Axes", spectra: Spectra, heading: str) -> None:
    """Two groups, simulation (the first) filled and data (the second) as points, and their ratio below."""
    (simulation_name, simulation), (data_name, data) = spectra.groups.items()
    edges, (expected, spread), (measured, errors) = spectra.edges, _shape(simulation), _shape(data)
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
    _frame(main, spectra, f"Fraction of weights / {_width(spectra)}")
    main.set_xlabel("")
    _set_y(main, [expected, measured], [spread, errors])
    legend_above(main, heading, 2)
    _draw_ratios(ratios, edges, expected, spread, measured, errors)
    ratios.set_xlabel(_TITLES.get(spectra.variable, spectra.variable))
    ratios.set_ylabel("Data / MC", fontsize=14)


def _shape(group: WeightedHistogram) -> tuple[Doubles, Doubles]:
    """Contents and errors for a sum of 1; 0 where the weights do not sum to more than 0."""
    contents, errors = group.normalised()
    return np.nan_to_num(contents), np.nan_to_num(errors)


def _draw_ratios(
    axes: "Axes",
    edges: Doubles,
    expected: Doubles,
    spread: Doubles,
    measured: Doubles,
    errors: Doubles,
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


def _points(axes: "Axes", edges: Doubles, contents: Doubles, errors: Doubles, style: dict[str, Any]) -> None:
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


def _frame(axes: "Axes", spectra: Spectra, content: str) -> None:
    axes.set_xlim(float(spectra.edges[0]), float(spectra.edges[-1]))
    axes.set_xlabel(_TITLES.get(spectra.variable, spectra.variable.replace("$", r"\$")))
    axes.set_ylabel(content)


def _width(spectra: Spectra) -> str:
    """The width of the equal bins, with the unit that the variable's title has."""
    unit = re.search(r"\[(.+)\]$", _TITLES.get(spectra.variable, ""))
    return f"{spectra.edges[1] - spectra.edges[0]:.3g}{f' {unit[1]}' if unit else ''}"


def _set_y(axes: "Axes", contents: list[Doubles], errors: list[Doubles]) -> None:
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

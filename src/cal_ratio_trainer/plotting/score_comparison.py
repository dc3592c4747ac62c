"""Two sets of scores of the same jets: ROC curves with their ratio, K-S, correlation, differences."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.ks import ControlRegionKs, PtRange
from cal_ratio_trainer.evaluation.paired import DIFFERENCE_EDGES, SCORE_EDGES, Agreement, OutputAgreement, RocPair
from cal_ratio_trainer.evaluation.roc import RocCurve
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import BLUE, CLASS_STYLES, GREY, ORANGE, output_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FIRST: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
_SECOND: dict[str, Any] = {"color": ORANGE, "linestyle": "--"}
_LINES = {"qcd": "-", "sig": "--", "bib": ":"}
_LOWEST_EFFICIENCY = 0.2
_MAX_LINEAR_RATIO, _MAX_DRAWN_RATIO = 1.9, 30.0


@dataclass(frozen=True)
class Names:
    """Short names of the two."""

    first: str
    second: str


def roc_drawings(pairs: tuple[RocPair, ...], names: Names) -> list[Drawing]:
    """roc_<background> of each pair, with the ratio of the rejections below."""
    return [
        Drawing(
            f"roc_{_word(pair.background.name)}",
            draw_roc_pair,
            (pair, names),
            with_ratio=True,
            caption=f"ROC curves against {pair.background.name}",
        )
        for pair in pairs
    ]


def ks_drawing(first: ControlRegionKs, second: ControlRegionKs, names: Names) -> Drawing:
    """ks: the distances of both in each pt range."""
    return Drawing("ks", draw_ks_pair, (first, second, names), caption="K-S distance of data and multijet MC")


def agreement_drawings(agreement: Agreement, names: Names, prefix: str) -> list[Drawing]:
    """<prefix>correlation_<output> of each output, and <prefix>differences of all."""
    planes = [
        Drawing(
            f"{prefix}correlation_{each.output.output}",
            draw_plane,
            (each, names),
            caption=f"{output_title(each.output.output)} of both",
        )
        for each in agreement.outputs
    ]
    caption = "Absolute differences of the outputs"
    return [*planes, Drawing(f"{prefix}differences", draw_differences, (agreement, names), caption=caption)]


def draw_roc_pair(axes: "Axes", ratio_axes: "Axes", pair: RocPair, names: Names) -> None:
    """Background rejection over signal efficiency of both with 68 % bands, and the ratio with bootstrap errors.

    An arrow at the edge of the lower panel is a ratio beyond it.
    """
    highest = 10.0
    for curve, name, style in ((pair.first, names.first, _FIRST), (pair.second, names.second, _SECOND)):
        highest = max(highest, _draw_curve(axes, curve, f"{name} (AUC {curve.auc:.4f})", style))
    axes.set_yscale("log")
    axes.set_xlim(_LOWEST_EFFICIENCY, 1.0)
    axes.set_ylim(1.0, highest * 1.3)
    axes.set_ylabel("Background rejection")
    counts = f"{pair.first.signal_jets:,} signal, {pair.first.qcd_jets:,} QCD, {pair.first.bib_jets:,} BIB jets"
    title = f"Signal against {pair.background.name}: {counts}"
    legend_above(axes, title, 2)
    _draw_ratio(ratio_axes, pair)


def _draw_curve(axes: "Axes", curve: RocCurve, title: str, style: dict[str, Any]) -> float:
    """Draws it; returns the highest drawn value."""
    shown = (curve.background_efficiency > 0) & (curve.signal_efficiency >= _LOWEST_EFFICIENCY)
    if not shown.any():
        axes.plot([], [], label=title, **style)
        return 1.0
    low, high = curve.background_interval
    x, rejection = curve.signal_efficiency[shown], 1 / curve.background_efficiency[shown]
    # A share that may be 0 has no upper end of its rejection: the band ends at twice the curve.
    upper = 1 / np.maximum(low[shown], 0.5 * curve.background_efficiency[shown])
    axes.plot(x, rejection, label=title, linewidth=1.8, **style)
    axes.fill_between(x, 1 / high[shown], upper, color=style["color"], alpha=0.2, linewidth=0)
    return float(upper.max())


def _draw_ratio(axes: "Axes", pair: RocPair) -> None:
    known = np.isfinite(pair.ratio) & np.isfinite(pair.low) & np.isfinite(pair.high)
    known &= pair.signal_efficiency >= _LOWEST_EFFICIENCY
    x, value = pair.signal_efficiency[known], pair.ratio[known]
    errors = np.stack([value - np.maximum(pair.low[known], 0.0), pair.high[known] - value])
    axes.errorbar(x, value, yerr=errors, color="black", marker="o", markersize=4, linestyle="none", elinewidth=1)
    axes.axhline(1.0, color=GREY, linestyle=":", linewidth=1)
    _set_ratio_axis(axes, value, errors)
    low, high = axes.get_ylim()
    for beyond, edge, arrow in ((value > high, high, "^"), (value < low, low, "v")):
        # A ratio beyond the axis is not lost.
        style: dict[str, Any] = {"color": "black", "marker": arrow, "markersize": 7, "linestyle": "none"}
        axes.plot(x[beyond], np.full(np.count_nonzero(beyond), edge), clip_on=False, zorder=4, **style)
    axes.set_xlabel("Signal efficiency")
    axes.set_ylabel("2nd / 1st")
    if not known.any():
        axes.text(0.5, 0.5, "not known: no background passes", transform=axes.transAxes, ha="center", va="center")


def _set_ratio_axis(axes: "Axes", value: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
    """Around 1: linear as far as points and errors reach, logarithmic where ratios are above 1.9 or below 1/1.9."""
    from matplotlib.ticker import NullFormatter

    factor = math.exp(float(np.abs(np.log(value)).max(initial=0.0)))
    if factor > _MAX_LINEAR_RATIO:
        reach = min(1.3 * factor, _MAX_DRAWN_RATIO)
        axes.set_yscale("log")
        axes.set_ylim(1 / reach, reach)
        step = 2 if reach < 6 else 5 if reach < 12 else 10
        ticks = [1 / step, 1, step]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    half = min(1.2 * float(np.max(np.abs(value - 1) + errors.max(axis=0), initial=0.05)), 0.95)
    axes.set_ylim(1 - half, 1 + half)


def draw_ks_pair(axes: "Axes", first: ControlRegionKs, second: ControlRegionKs, names: Names) -> None:
    """The distance of data and MC in each pt range of each output, beside what identical distributions give."""
    ranges = len(first.pt_ranges)
    places = np.concatenate([output * (ranges + 0.7) + np.arange(ranges) for output in range(len(first.outputs))])
    of_both = [np.array([each.distance for output in ks.outputs for each in output.ranges]) for ks in (first, second)]
    references = [each.reference for output in first.outputs for each in output.ranges]
    low = np.array([each.mean - each.spread for each in references])
    high = np.array([each.mean + each.spread for each in references])
    axes.bar(places, high - low, 0.8, bottom=low, color="lightgrey", label="Identical distributions ± 1σ", zorder=1)
    first_style: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 8, "linestyle": "none"}
    second_style: dict[str, Any] = {
        "color": ORANGE,
        "marker": "s",
        "markersize": 8,
        "linestyle": "none",
        "markerfacecolor": "white",
    }
    axes.plot(places - 0.15, of_both[0], label=names.first, **first_style)
    axes.plot(places + 0.15, of_both[1], label=names.second, **second_style)
    top = float(np.nanmax(np.concatenate([*of_both, high, [0.1]])))
    for output, ks in enumerate(first.outputs):
        centre = output * (ranges + 0.7) + (ranges - 1) / 2
        axes.text(centre, 1.1 * top, output_title(ks.output.output), ha="center", fontsize=13)
    axes.set_xlim(-0.7, places[-1] + 0.7)
    axes.set_ylim(0, 1.2 * top)
    known = all(each.gev is not None for each in first.pt_ranges)
    for place, each in zip(places, first.pt_ranges * len(first.outputs), strict=True):
        # Texts, not tick labels: what is done to ticks stays with the canvas.
        axes.text(place, -0.045 * top, _short_title(each), ha="center", va="top", fontsize=10)
    axes.set_xticks([])
    axes.set_xlabel("\nJet $p_T$ [GeV]" if known else "\nJet $p_T$ range")
    axes.set_ylabel("K-S distance of data and MC")
    legend_above(axes)


def _short_title(pt_range: PtRange) -> str:
    if pt_range.gev is None:
        return pt_range.name
    low, high = pt_range.gev
    if math.isinf(high):
        return f"> {low:g}"
    return f"{low:g}–{high:g}" if low > 0 else f"< {high:g}"


def draw_plane(axes: "Axes", output: OutputAgreement, names: Names) -> None:
    """One output of both, jets in bins; darker is more, in logarithmic steps."""
    from matplotlib.colors import LogNorm

    counts: NDArray[np.float64] = np.where(output.plane > 0, output.plane, np.nan).T
    most = max(int(output.plane.max(initial=1)), 2)
    axes.pcolormesh(SCORE_EDGES, SCORE_EDGES, counts, cmap="Greys", norm=LogNorm(0.1, most), rasterized=True)
    axes.plot([0, 1], [0, 1], color=ORANGE, linestyle="--", linewidth=1.2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{output_title(output.output.output)}, first")
    axes.set_ylabel(f"{output_title(output.output.output)}, second")
    lines = [f"First: {names.first}", f"Second: {names.second}"]
    lines.append(f"Correlation {output.pearson:.3f}, of ranks {output.spearman:.3f}".replace("-", "−"))
    lines.append(f"1 (light) to {most:,} jets per bin")
    legend_above(axes, "\n".join(lines))


def draw_differences(axes: "Axes", agreement: Agreement, names: Names) -> None:
    """Draws the distribution of the differences of each output, on a logarithmic axis."""
    edges = np.concatenate([[DIFFERENCE_EDGES[1] / 3], DIFFERENCE_EDGES[1:]])
    top = 1
    for output in agreement.outputs:
        name = output.output.output
        style: dict[str, Any] = {"color": CLASS_STYLES[name].colour, "linestyle": _LINES[name]}
        axes.stairs(output.differences, edges, label=output_title(name), linewidth=1.6, **style)
        top = max(top, int(output.differences.max(initial=0)))
    axes.set_xscale("log")
    axes.set_xlim(edges[0], 1.0)
    axes.set_ylim(0, 1.08 * top)
    axes.axvline(1e-5, color=GREY, linewidth=1.2, linestyle="-.", label="Left of it: rounding")
    axes.set_xlabel("Absolute difference (first bin: below $\\mathdefault{10^{-9}}$)")
    axes.set_ylabel("Jets")
    legend_above(axes, f"{names.first}\n{names.second}\n{agreement.jets:,} jets", 4)


def _word(name: str) -> str:
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name).split()).lower()

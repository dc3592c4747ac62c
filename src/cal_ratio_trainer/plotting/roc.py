"""Figures over all cuts on the signal output, ROC curves and S/sqrt(B), and the importance of inputs for them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.importance import REJECTION_EFFICIENCY, Importance, Importances
from cal_ratio_trainer.evaluation.roc import RocCurve
from cal_ratio_trainer.evaluation.significance import SignificanceScan
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FIRST: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o"}
_SECOND: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "marker": "s"}
_MAX_BAND = 30.0
"""More than this factor above its curve a band may leave the frame."""


def draw_curve(axes: "Axes", curve: RocCurve, beside: RocCurve | None) -> None:
    """Draws one curve with its errors.

    Args:
        axes: to draw on.
        curve: against any background.
        beside: a curve of more signal, drawn thin; None for none.
    """
    _draw(axes, curve, f"{_signal_name(curve)}, AUC {_auc(curve)}", _FIRST)
    if beside is not None and len(beside.cuts):
        axes.plot(*_points(beside), color=GREY, linewidth=1, label=f"{_signal_name(beside)}, AUC {_auc(beside)}")
    counts = f"{curve.signal_jets:,} signal, {_counts(curve)} jets"
    name = curve.background.name.removesuffix(" only")
    if curve.background.qcd and curve.background.bib:
        axes.set_ylabel(f"Rejection 1/ε of the mixture {name}")
        counts = f"{counts}\nThe curve depends on these numbers"
    else:
        axes.set_ylabel(f"Rejection 1/ε of {name}")
    _finish(axes, [curve] if beside is None else [curve, beside], counts)


def draw_pure_curves(axes: "Axes", qcd: RocCurve, bib: RocCurve) -> None:
    """QCD alone and BIB alone in one frame."""
    for curve, style in ((qcd, _FIRST), (bib, _SECOND)):
        name = curve.background.name.removesuffix(" only")
        _draw(axes, curve, f"against {name} ({_counts(curve).split()[0]} jets), AUC {_auc(curve)}", style)
    axes.set_ylabel("Rejection 1/ε of one background")
    _finish(axes, [qcd, bib], f"{qcd.signal_jets:,} signal jets")


def _draw(axes: "Axes", curve: RocCurve, title: str, style: dict[str, Any]) -> None:
    if not len(curve.cuts):
        axes.plot([], [], label=f"{title.split(', AUC')[0]}: no jets", **style)
        return
    line = {name: value for name, value in style.items() if name != "marker"}
    axes.plot(*_points(curve), linewidth=2, **line)
    low, high = curve.background_interval
    some = curve.background_efficiency > 0
    axes.fill_between(
        curve.signal_efficiency[some], 1 / high[some], 1 / low[some], color=style["color"], alpha=0.25, linewidth=0
    )
    _draw_quoted(axes, curve, style)
    # One entry for line, band and points.
    axes.plot([], [], linewidth=2, label=title, **style)


def _draw_quoted(axes: "Axes", curve: RocCurve, style: dict[str, Any]) -> None:
    known = [rejection for rejection in curve.rejections if not np.isnan(rejection.value)]
    x, y, low, high = (
        np.array([(each.signal_efficiency, each.value, each.low, each.high) for each in known], dtype=np.float64)
        .reshape(-1, 4)
        .T
    )
    # Where no background passes there is a lower end only: an arrow upwards from it.
    is_limit = np.isinf(y)
    y, high = np.where(is_limit, low, y), np.where(is_limit, 1.5 * low, high)
    x_low, x_high = (np.interp(x, curve.signal_efficiency, end) for end in curve.signal_interval)
    axes.errorbar(
        x,
        y,
        xerr=(np.maximum(x - x_low, 0), np.maximum(x_high - x, 0)),
        yerr=(np.maximum(y - low, 0), np.maximum(high - y, 0)),
        lolims=is_limit,
        linestyle="none",
        marker=style["marker"],
        color=style["color"],
        markersize=6,
        elinewidth=1.5,
        capsize=3,
        zorder=3,
    )


def _points(curve: RocCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    some = curve.background_efficiency > 0
    return curve.signal_efficiency[some], 1 / curve.background_efficiency[some]


def _auc(curve: RocCurve) -> str:
    """AUC with as many digits as its standard deviation, which is at most sqrt(AUC (1 - AUC) / jets), leaves."""
    fewest = max(min(curve.signal_jets, curve.qcd_jets + curve.bib_jets), 1)
    deviation = math.sqrt(max(curve.auc * (1 - curve.auc), 1e-8) / fewest)
    return f"{curve.auc:.{math.ceil(-math.log10(deviation))}f}" if math.isfinite(curve.auc) else "unknown"


def _top(curve: RocCurve) -> float:
    """The highest that is drawn of a curve, its band and its arrows."""
    here = curve.background_efficiency > 0
    # With weights below 0 a band can be arbitrarily wide.
    low = np.maximum(curve.background_interval[0][here], curve.background_efficiency[here] / _MAX_BAND)
    limits = [1.5 * each.low for each in curve.rejections if np.isinf(each.value)]
    return float(np.max([*(1 / low), *limits], initial=1.0))


def _finish(axes: "Axes", curves: list[RocCurve], text: str) -> None:
    highest = max([16.0, *(_top(curve) for curve in curves)])
    efficiencies = np.linspace(0.005, 1, 200)
    axes.plot(efficiencies, 1 / efficiencies, color=GREY, linestyle=":", linewidth=1.5, label="no separation")
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    # Steps, so that many figures of a run have the same frame.
    power = 10.0 ** math.floor(math.log10(highest))
    axes.set_ylim(0.8, next(step * power for step in (2, 5, 10) if step * power >= highest))
    axes.set_xlabel("Signal efficiency")
    legend_above(axes, f"{text}; bands and bars: 68 %", 2)


def _signal_name(curve: RocCurve) -> str:
    return f"$m_H$ = {float(curve.name.removeprefix('mH')):g} GeV" if curve.name else "all masses"


def _counts(curve: RocCurve) -> str:
    counts = ((curve.background.qcd, curve.qcd_jets, "QCD"), (curve.background.bib, curve.bib_jets, "BIB"))
    return ", ".join(f"{jets:,} {name}" for factor, jets, name in counts if factor)


def draw_scan(axes: "Axes", below: "Axes", scan: SignificanceScan) -> None:
    """S/sqrt(B) with its error; below it eps_S/sqrt(eps_B), which is the same times a constant.

    Args:
        axes: main panel.
        below: lower panel.
        scan: signal and background that pass each cut.
    """
    from matplotlib.ticker import MaxNLocator

    values, errors = scan.significance, scan.error
    # The cut at 1 lets nothing pass and has no place on the axis.
    inside = scan.cuts < 1
    distance = 1 - scan.cuts[inside]
    for panel, scale in ((axes, 1.0), (below, scan.ratio_scale)):
        low, high = (scale * (values + sign * errors)[inside] for sign in (-1, 1))
        panel.fill_between(distance, low, high, color=BLUE, alpha=0.25, linewidth=0)
        panel.plot(distance, scale * values[inside], color=BLUE, linewidth=2)
    _mark_maximum(axes, scan)
    top = float((values + errors).max(initial=0.0)) or 1.0
    axes.set_xscale("log")
    below.set_xscale("log")
    _set_x(axes, below, float(distance.min(initial=0.5)))
    axes.set_ylim(0, 1.08 * top)
    finite = np.isfinite(scan.ratio_scale) and len(values) > 0
    below.set_ylim(0, 1.08 * top * scan.ratio_scale if finite and top * scan.ratio_scale > 0 else 1)
    # A label at the upper end would stand on the 0 of the panel above.
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, prune="upper"))
    axes.set_ylabel("S/√B (relative)")
    below.set_ylabel("$ε_S/√ε_B$")
    below.set_xlabel("1 − cut on the signal output")


def _set_x(axes: "Axes", below: "Axes", tightest: float) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_xlim(tightest / 1.6, 1)
    # An axis of few decades has labels between them too.
    between = [1.0] if tightest < 0.006 else [1.0, 2.0, 5.0] if tightest < 0.08 else [1.0, 2.0, 3.0, 5.0, 7.0]
    ticks = np.outer(10.0 ** np.arange(-4, 1), between).ravel()
    inside = ticks[(ticks > tightest / 1.5) & (ticks <= 1)]
    below.set_xticks(inside, [f"{tick:g}" for tick in inside])
    below.xaxis.set_minor_formatter(NullFormatter())


def _mark_maximum(axes: "Axes", scan: SignificanceScan) -> None:
    if not len(scan.cuts):
        axes.text(0.5, 0.3, "no cut leaves more than 10 background jets", transform=axes.transAxes, ha="center")
        legend_above(axes, _text(scan))
        return
    best, maximum = 1 - scan.cut_at_maximum, scan.maximum
    error = float(scan.error[np.argmax(scan.significance)])
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 1
    axes.plot(
        [best],
        [scan.maximum],
        color="black",
        marker="v",
        markersize=9,
        linestyle="none",
        # Not cut at the edge, where the loosest cut is the best.
        clip_on=False,
        label=f"maximum {maximum:.{digits}f} ± {error:.{digits}f} at 1 − cut = {best:.2g}",
    )
    axes.axvline(1 - scan.cuts[-1], label="limit: 10 background jets", color=GREY, linestyle=":")
    legend_above(axes, _text(scan), 2)


def _text(scan: SignificanceScan) -> str:
    background = scan.name if scan.name.endswith("only") else "QCD and BIB"
    signal = f"$m_H$ = {float(scan.name.removeprefix('mH')):g} GeV" if scan.name.startswith("mH") else "all masses"
    lines = [
        f"{signal}, {scan.signal_jets:,} jets; {background}, {scan.background_jets:,.0f} jets",
        f"Area {scan.area:.3g}; maximum of $ε_S/√ε_B$ {scan.maximum_efficiency_ratio:.3g}",
    ]
    return "\n".join(lines if len(scan.cuts) else lines[:1])


MAX_BARS = 20
"""Inputs with the largest importance that are shown."""
_KIND_STYLES: dict[str, dict[str, Any]] = {
    "jet": {"color": GREY},
    "clusters": {"color": BLUE},
    "tracks": {"color": ORANGE, "hatch": "//"},
    "muon_segments": {"color": "#009e73", "hatch": ".."},
}


def importance_drawings(name: str, found: Importances) -> list[Drawing]:
    """Permutation importance of the inputs, called `name`, and of whole kinds of inputs, `name`_kinds."""
    return [
        Drawing(
            each,
            draw_importance,
            (by_auc(some)[:MAX_BARS], f"{found.jets:,} jets, AUC {found.auc:.4f}"),
            caption=caption,
        )
        for each, some, caption in (
            (name, found.inputs, "Decrease of AUC by input"),
            (f"{name}_kinds", found.kinds, "Decrease of AUC by kind of input"),
        )
    ]


def by_auc(some: Sequence[Importance]) -> list[Importance]:
    """Inputs by falling decrease of the AUC; those where it is not known last."""
    return sorted(some, key=lambda each: math.inf if math.isnan(each.auc.value) else -each.auc.value)


def draw_importance(axes: "Axes", shown: Sequence[Importance], sample: str) -> None:
    """A bar for each input: the decrease of the AUC with its error, and in words the loss of rejection.

    Args:
        axes: to draw on.
        shown: from above.
        sample: jets and AUC without permutation, for the legend.
    """
    from matplotlib.ticker import MaxNLocator, NullLocator

    shown = [each for each in shown if math.isfinite(each.auc.value)]
    high = max((each.auc.value + each.auc.error for each in shown), default=0.0) or 1.0
    low = min([0.0, *(each.auc.value - each.auc.error for each in shown)])
    size = float(np.clip(260 / max(1, len(shown)), 7, 13))
    for place, each in enumerate(shown):
        style = {"edgecolor": "white", "linewidth": 0, **_KIND_STYLES.get(each.kind, {"color": "black"})}
        axes.barh(place, each.auc.value, height=0.75, **style)
        axes.errorbar(each.auc.value, place, xerr=each.auc.error, color="black", elinewidth=1.2, capsize=2)
        axes.text(low - 0.015 * high, place, each.name, ha="right", va="center", fontsize=size)
        if math.isfinite(each.rejection.value):
            text = f"{100 * each.rejection.value:z.1f} ± {100 * each.rejection.error:.1f} %".replace("-", "−")
            beside = max(each.auc.value + each.auc.error, 0.0) + 0.015 * high
            axes.text(beside, place, text, ha="left", va="center", fontsize=size)
    # Bars of whole kinds say in their names what they are.
    kinds = dict.fromkeys(each.kind for each in shown if each.kind != each.name)
    for kind in kinds:
        axes.barh(0, 0, label=kind.replace("_", " "), **_KIND_STYLES.get(kind, {"color": "black"}))
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlim(low - 0.6 * high, 1.4 * high)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xticks([tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks([])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Decrease of AUC if the input is permuted")
    axes.set_ylabel(f"Numbers: loss of rejection at {100 * REJECTION_EFFICIENCY:.0f} %")
    legend_above(axes, sample, 4)

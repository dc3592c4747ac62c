"""S/sqrt(B) over the cut on the signal output, and beside it what does not depend on the sample's size."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.evaluation.significance import SignificanceScan
from cal_ratio_trainer.plotting.style import BLUE, GREY, LEGEND_BOX

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROOM_ABOVE = 1.65


def draw_scan(axes: "Axes", below: "Axes", scan: SignificanceScan) -> None:
    """S/sqrt(B) with its error; below it eps_S/sqrt(eps_B), which is the same times a constant.

    Args:
        axes: main panel.
        below: lower panel.
        scan: what passes each cut.
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
    axes.set_ylim(0, _ROOM_ABOVE * top)
    finite = np.isfinite(scan.ratio_scale) and len(values) > 0
    below.set_ylim(0, 1.25 * top * scan.ratio_scale if finite and top * scan.ratio_scale > 0 else 1)
    # A label at the upper end would stand on the 0 of the panel above.
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, prune="upper"))
    axes.set_ylabel("S/√B, relative, this test sample")
    below.set_ylabel("$ε_S/√ε_B$")
    below.set_xlabel("1 − cut on the signal output")


def _set_x(axes: "Axes", below: "Axes", tightest: float) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_xlim(tightest / 1.6, 1)
    # Few decades hold few labels: then others stand between them.
    between = [1.0] if tightest < 0.006 else [1.0, 2.0, 5.0] if tightest < 0.08 else [1.0, 2.0, 3.0, 5.0, 7.0]
    ticks = np.outer(10.0 ** np.arange(-4, 1), between).ravel()
    inside = ticks[(ticks > tightest / 1.5) & (ticks <= 1)]
    below.set_xticks(inside, [f"{tick:g}" for tick in inside])
    below.xaxis.set_minor_formatter(NullFormatter())


def _mark_maximum(axes: "Axes", scan: SignificanceScan) -> None:
    box: dict[str, Any] = {"title": _text(scan), "title_fontsize": 13, "alignment": "left", **LEGEND_BOX}
    if not len(scan.cuts):
        axes.text(0.5, 0.3, "no cut leaves more than 10 background jets", transform=axes.transAxes, ha="center")
        axes.legend([], [], loc="upper left", fontsize=13, **box)
        return
    best = 1 - scan.cut_at_maximum
    axes.plot(
        [best],
        [scan.maximum],
        color="black",
        marker="v",
        markersize=9,
        linestyle="none",
        # Whole at the edge too, where the loosest cut is the best.
        clip_on=False,
        label=f"maximum {scan.maximum:.4g} at cut {scan.cut_at_maximum:.5f}",
    )
    # Not into the legend, which stands in the room above.
    line: dict[str, Any] = {"ymax": 1 / _ROOM_ABOVE, "color": GREY, "linestyle": ":"}
    axes.axvline(1 - scan.cuts[-1], label="tightest cut with more than 10 background jets", **line)
    axes.legend(loc="upper left", fontsize=13, **box)


def _text(scan: SignificanceScan) -> str:
    background = scan.name if scan.name.endswith("only") else "QCD and BIB"
    signal = f"$m_H$ = {float(scan.name.removeprefix('mH')):g} GeV" if scan.name.startswith("mH") else "all masses"
    lines = [
        f"{signal}, {scan.signal_jets:,} jets; {background}, {scan.background_jets:,.0f} jets",
        f"area {scan.area:.4g};  maximum of $ε_S/√ε_B$ {scan.maximum_efficiency_ratio:.3g}",
    ]
    return "\n".join(lines if len(scan.cuts) else lines[:1])

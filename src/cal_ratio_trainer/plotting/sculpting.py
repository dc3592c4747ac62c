"""Mistag of QCD and efficiency of signal of several networks at one signal efficiency, against pt, masses and decay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.evaluation.efficiencies import Dependence
from cal_ratio_trainer.evaluation.sculpting import Sculpting
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.efficiencies import AXIS_TITLES, POINT, draw_limits
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NETWORKS = 4
"""Number of networks that one figure can tell apart."""

_COLOURS = (BLUE, ORANGE, "#6a3d9a", RED)
_MARKERS = ("o", "s", "^", "D")


@dataclass(frozen=True, eq=False)
class SculptingCurve:
    """A network at one working point in bins of one quantity.

    Attributes:
        network: its name.
        efficiency: signal efficiency of the working point. [1]
        signal: its signal efficiency in each bin; None where not known.
        qcd: its mistag of QCD; None where the quantity is one of signal alone.
    """

    network: str
    efficiency: float
    signal: Dependence | None
    qcd: Dependence | None


def sculpting_drawings(networks: Mapping[str, Sequence[Sculpting]], prefix: str = "") -> list[Drawing]:
    """A figure for each quantity and working point: mistag of QCD where it is known, and efficiency of signal.

    Args:
        networks: the first of these, by name, at the same working points.
        prefix: of the names, which are <prefix>sculpting_<quantity>_<efficiency in per cent>.
    """
    shown = dict(list(networks.items())[:MAX_NETWORKS])
    quantities = dict.fromkeys(
        each.quantity for points in shown.values() for point in points for each in point.dependences
    )
    # Efficiencies against eta are among the final figures of a training.
    quantities.pop("eta", None)
    efficiencies = dict.fromkeys(point.efficiency for points in shown.values() for point in points)
    drawings = []
    for quantity in quantities:
        for efficiency in efficiencies:
            curves = tuple(
                SculptingCurve(name, efficiency, *(_of(point, quantity, label) for label in (Label.SIGNAL, Label.QCD)))
                for name, points in shown.items()
                for point in points
                if point.efficiency == efficiency
            )
            known = [each for each in curves if each.signal is not None]
            if not known:
                continue
            name = f"{prefix}sculpting_{quantity}_{100 * efficiency:g}"
            with_qcd = any(each.qcd is not None for each in known)
            draw = draw_efficiency_and_mistag if with_qcd else draw_efficiency
            what = "mistag of QCD and efficiency of signal" if with_qcd else "efficiency of signal"
            words = {"cluster_mass": "mass of the clusters", "cluster_width": "width of the clusters"}
            caption = f"{what} against {words.get(quantity, quantity)} at {100 * efficiency:g} % signal efficiency"
            drawings.append(Drawing(name, draw, (tuple(known),), with_qcd, caption))
    return drawings


def draw_efficiency_and_mistag(axes: "Axes", below: "Axes", curves: tuple[SculptingCurve, ...]) -> None:
    """Mistag of QCD in the upper panel, signal efficiency in the lower one.

    Args:
        axes: main panel.
        below: lower panel.
        curves: a network each.
    """
    mistags = [each.qcd for each in curves if each.qcd is not None]
    values = np.concatenate([np.where(each.passed > 0, each.value, 0.5 * each.interval[1]) for each in mistags])
    some = values[values > 0]
    for number, each in enumerate(curves):
        if each.qcd is not None:
            _draw(axes, each.qcd, number, len(curves), each.network)
        if each.signal is not None:
            _draw(below, each.signal, number, len(curves))
    axes.set_yscale("log")
    low, high = (float(some.min()), float(some.max())) if len(some) else (1e-3, 1e-1)
    axes.set_ylim(low / 3, min(3 * high, 1.5))
    axes.set_ylabel("Mistag rate of QCD")
    _legend(axes, curves, ", arrow: no jet passes")
    below.axhline(curves[0].efficiency, color=GREY, linestyle=":")
    efficiencies = np.concatenate([each.signal.value for each in curves if each.signal is not None])
    below.set_ylim(min(0.5, float(np.nanmin(efficiencies, initial=0.5)) - 0.1), 1.08)
    below.set_ylabel("Signal eff.")
    _set_x(below, curves)
    axes.set_xlim(below.get_xlim())
    axes.set_xscale(below.get_xscale())


def draw_efficiency(axes: "Axes", curves: tuple[SculptingCurve, ...]) -> None:
    """Signal efficiency in bins of a quantity that only signal has.

    Args:
        axes: to draw on.
        curves: a network each.
    """
    for number, each in enumerate(curves):
        if each.signal is not None:
            _draw(axes, each.signal, number, len(curves), each.network)
    axes.axhline(curves[0].efficiency, color=GREY, linestyle=":")
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_ylabel("Signal efficiency")
    _legend(axes, curves)
    _set_x(axes, curves)


def _of(point: Sculpting, quantity: str, label: Label) -> Dependence | None:
    return next((each for each in point.dependences if (each.quantity, each.label) == (quantity, label)), None)


def _draw(axes: "Axes", each: Dependence, number: int, networks: int, title: str | None = None) -> None:
    value, (low, high) = each.value, each.interval
    some = np.isfinite(value) & ((value > 0) | (each.label == Label.SIGNAL))
    left, right = each.edges[:-1], each.edges[1:]
    # Side by side in their bin.
    place = 0.5 + 0.5 * (number - (networks - 1) / 2) / max(networks, 2)
    x = left * (right / left) ** place if each.quantity == "mH" else left + place * (right - left)
    style: dict[str, Any] = {"color": _COLOURS[number], "marker": _MARKERS[number]}
    if number % 2:
        style["markerfacecolor"] = "white"
    axes.errorbar(
        x[some],
        value[some],
        # Weights below 0 bring a share out of its interval.
        yerr=np.maximum([(value - low)[some], (high - value)[some]], 0),
        **POINT,
        **style,
        label=title,
    )
    if each.label != Label.SIGNAL:
        draw_limits(axes, each, x, np.zeros((2, len(x))), _COLOURS[number])


def _legend(axes: "Axes", curves: tuple[SculptingCurve, ...], arrows: str = "") -> None:
    legend_above(axes, f"At a signal efficiency of {100 * curves[0].efficiency:g} %; bars: 68 %{arrows}", 2)


def _set_x(axes: "Axes", curves: tuple[SculptingCurve, ...]) -> None:
    shown = next(each.signal for each in curves if each.signal is not None)
    if shown.quantity == "mH":
        axes.set_xscale("log")
    axes.set_xlim(shown.edges[0], shown.edges[-1])
    axes.set_xlabel(AXIS_TITLES[shown.quantity])

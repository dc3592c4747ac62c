"""AUC against K-S sum: every epoch of several runs, the front of those that no other beats, and errors of a few."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE, RED
from cal_ratio_trainer.plotting.variables import plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_RUNS = 10
"""Number of runs with a marker of their own; the others share one."""

_MAX_NAME = 28
"""Letters of a run's name in a legend."""

_MARKERS = "osD^vPX<>p"
_COLOURS = (BLUE, ORANGE, "#009e73", RED, "#7a5195", "#56b4e9", "#8c564b", "#cc79a7", "#4d4d4d", "#b8a000")
_TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.95, 0.995, 0.9995, 0.98, 0.998, 0.8, 0.7, 0.97, 0.985, 0.6)
"""AUC values that may stand at the axis, those that matter most first."""
_LOWEST_MISSED, _HIGHEST_MISSED = 1e-5, 0.7
_PALEST = 0.25
_KS_TITLE = "K-S sum of MC and data"
_NUMBER_PLACES = ((5, 4), (5, -14), (-17, 4), (-17, -14), (5, 16), (-17, 16), (5, -26), (-17, -26))
"""Offsets of an epoch's number from its point, the best place first. [points]"""


@dataclass(frozen=True, eq=False)
class RunEpochs:
    """The epochs of a run on the jets that they are chosen by.

    Attributes:
        name: for the legend.
        auc: [epochs], NaN where not known.
        ks: [epochs] K-S sum over outputs and pt ranges, likewise.
        recommended: the run's own recommended epoch.
    """

    name: str
    auc: NDArray[np.float64]
    ks: NDArray[np.float64]
    recommended: int | None = None


@dataclass(frozen=True, eq=False)
class ParetoPlot:
    """Every epoch of several runs.

    Attributes:
        runs: those that matter most first.
        front: (run, epoch) of those that no other beats, by falling AUC.
        recommended: (run, epoch) of the one recommended over all runs.
        identical: mean and spread of the K-S sum of identical distributions; of several where samples differ.
        ks_title: title of the y axis.
        jets: jets of the figures of merit.
        recommended_name: of the one recommended over all runs; '' where there is none.
    """

    runs: tuple[RunEpochs, ...]
    front: tuple[tuple[int, int], ...]
    recommended: tuple[int, int] | None
    identical: tuple[tuple[float, float], ...]
    ks_title: str
    jets: str = "validation"
    recommended_name: str = ""


@dataclass(frozen=True)
class MeasuredEpoch:
    """An epoch with its errors.

    Attributes:
        run: position in `ShortlistPlot.runs`.
        epoch: its number, or 'last' where that is not known.
        auc: with its interval.
        ks: K-S sum likewise.
        is_recommended: it is the one over all runs.
    """

    run: int
    epoch: int | str
    auc: Interval
    ks: Interval
    is_recommended: bool


@dataclass(frozen=True, eq=False)
class ShortlistPlot:
    """A few epochs with errors.

    Attributes:
        runs: their names, those that matter most first.
        epochs: of these runs.
        identical: as in `ParetoPlot`.
        outside: number of epochs outside the figure because their AUC is far lower.
        jets: jets of the figures of merit.
    """

    runs: tuple[str, ...]
    epochs: tuple[MeasuredEpoch, ...]
    identical: tuple[tuple[float, float], ...]
    outside: int = 0
    jets: str = "test"


@dataclass(frozen=True, eq=False)
class TrialsPlot:
    """Trials of a study: figure of merit against agreement.

    Attributes:
        figures: [trials, 2] AUC or rejection with its error.
        excess: [trials] of the measure of agreement over identical distributions, in units of their spread.
        stopped: [trials] True for trials that were stopped early.
        front: positions of those that no other beats, by falling figure.
        recommended: position of the recommended one; None without.
        first: position of the trial with the settings of the profile or config; None without.
        is_auc: the figure is the AUC.
        excess_title: title of the y axis.
    """

    figures: NDArray[np.float64]
    excess: NDArray[np.float64]
    stopped: NDArray[np.bool_]
    front: tuple[int, ...]
    recommended: int | None
    first: int | None
    is_auc: bool
    excess_title: str


def trials_drawing(name: str, plot: TrialsPlot) -> Drawing:
    """The trials of a study with errors, and the front."""
    return Drawing(name, draw_trials, (plot,), caption="Objectives of all trials with their errors")


def draw_pareto(axes: "Axes", plot: ParetoPlot) -> None:
    """Every epoch a marker by its run, pale at the beginning of the training and dark at its end."""
    for position, run in enumerate(plot.runs):
        _draw_epochs(axes, position, run, len(plot.runs))
    _draw_front(axes, plot)
    _draw_identical(axes, plot.identical)
    if plot.recommended is not None:
        chosen, epoch = plot.runs[plot.recommended[0]], plot.recommended[1]
        point = (float(_missed(chosen.auc[epoch])), float(chosen.ks[epoch]))
        _draw_star(
            axes, point, f"Recommended: {plain_text(plot.recommended_name or f'{chosen.name}/{epoch}', _MAX_NAME)}"
        )
    _set_axes(
        axes,
        np.concatenate([_missed(run.auc) for run in plot.runs]),
        np.concatenate([run.ks for run in plot.runs]),
        plot.ks_title,
    )
    axes.set_xlabel(f"AUC, signal against QCD + 0.1 BIB ({plot.jets})")
    legend_above(axes, columns=2)


def draw_shortlist(axes: "Axes", plot: ShortlistPlot) -> None:
    """Each epoch with its number and its 68 % intervals."""
    runs = dict.fromkeys(each.run for each in plot.epochs)
    for run in runs:
        _draw_measured(axes, [each for each in plot.epochs if each.run == run], plot.runs[run], run, len(plot.runs))
    _draw_identical(axes, plot.identical)
    for each in plot.epochs:
        if each.is_recommended:
            point = (float(_missed(each.auc.value)), each.ks.value)
            _draw_star(axes, point, f"Recommended: {plain_text(plot.runs[each.run], _MAX_NAME)}/{each.epoch}")
    if plot.outside:
        axes.plot([], [], linestyle="none", label=f"{plot.outside} with far lower AUC not shown")
    missed = [_missed(np.array([each.auc.low, each.auc.value, each.auc.high])) for each in plot.epochs]
    heights = [np.array([each.ks.low, each.ks.value, each.ks.high]) for each in plot.epochs]
    nothing = [np.zeros(0)]
    _set_axes(axes, np.concatenate(missed or nothing), np.concatenate(heights or nothing), _KS_TITLE)
    axes.set_xlabel(f"AUC, signal against QCD + 0.1 BIB ({plot.jets})")
    legend_above(axes, columns=2)
    _number_epochs(axes, plot.epochs)


def draw_trials(axes: "Axes", plot: TrialsPlot) -> None:
    """Each trial with its errors; an excess below 0 counts as 0 for the front."""
    low, middle, high = (plot.figures[:, 0] + sign * plot.figures[:, 1] for sign in (-1, 0, 1))
    if plot.is_auc:
        # The axis runs against the AUC: its higher end has the lower 1 - AUC.
        high, middle, low = _missed(low), _missed(middle), _missed(high)
    errors = np.stack([middle - low, high - middle])
    kinds = (("Finished", ~plot.stopped, BLUE, "o"), ("Stopped early", plot.stopped, GREY, "x"))
    for label, chosen, colour, marker in kinds:
        if chosen.any():
            axes.errorbar(
                middle[chosen],
                plot.excess[chosen],
                xerr=errors[:, chosen],
                yerr=1.0,
                linestyle="none",
                marker=marker,
                color=colour,
                elinewidth=0.7,
                label=label,
            )
    axes.axhspan(-1.0, 1.0, color="lightgrey", linewidth=0, zorder=0.5, label="Identical distributions ± 1σ")
    if plot.front:
        front = list(plot.front)
        axes.step(
            middle[front],
            np.maximum(plot.excess[front], 0.0),
            where="post",
            color="black",
            zorder=2.2,
            label="Pareto front",
        )
    if plot.first is not None:
        mark: dict[str, Any] = {
            "marker": "D",
            "markerfacecolor": "none",
            "markeredgecolor": ORANGE,
            "markeredgewidth": 1.6,
        }
        axes.plot([middle[plot.first]], [plot.excess[plot.first]], linestyle="none", markersize=15, **mark)
        axes.plot([], [], linestyle="none", markersize=8, label="Profile or config", **mark)
    if plot.recommended is not None:
        star = (float(middle[plot.recommended]), float(plot.excess[plot.recommended]))
        _draw_star(axes, star, "Recommended")
    if plot.is_auc:
        _set_axes(
            axes, np.concatenate([low, high]), np.concatenate([plot.excess - 1, plot.excess + 1]), plot.excess_title
        )
        axes.set_xlabel("AUC, signal against QCD + 0.1 BIB (validation)")
    else:
        margin = 0.05 * float(high.max() - low.min())
        axes.set_xlim(float(low.min()) - margin, float(high.max()) + margin)
        bottom, top = min(-1.5, float(plot.excess.min()) - 1), max(2.0, float(plot.excess.max()) + 1)
        axes.set_ylim(bottom, top + 0.05 * (top - bottom))
        axes.set_xlabel("Background rejection at 90 % signal efficiency (validation)")
        axes.set_ylabel(plot.excess_title)
    legend_above(axes, columns=2)


def _missed(auc: Any) -> NDArray[np.float64]:
    """1 - AUC, whose logarithm is drawn: between good networks it is what counts."""
    return np.clip(1 - np.asarray(auc, dtype=np.float64), _LOWEST_MISSED, _HIGHEST_MISSED)


def _style(position: int) -> dict[str, Any]:
    if position >= MAX_RUNS:
        return {"marker": ".", "color": GREY}
    return {"marker": _MARKERS[position], "color": _COLOURS[position]}


def _label(position: int, name: str, runs: int) -> str | None:
    if position < MAX_RUNS:
        return plain_text(name, _MAX_NAME)
    return f"{runs - MAX_RUNS} other runs" if position == MAX_RUNS else None


def _draw_epochs(axes: "Axes", position: int, run: RunEpochs, runs: int) -> None:
    from matplotlib.colors import to_rgb

    style = _style(position)
    age = np.linspace(_PALEST, 1.0, len(run.auc))[:, None]
    colours = 1 - age * (1 - np.array(to_rgb(style["color"])))
    edges = ["black" if epoch == run.recommended else "white" for epoch in range(len(run.auc))]
    sizes = np.where(np.arange(len(run.auc)) == run.recommended, 75.0, 34.0)
    missed = _missed(run.auc)
    axes.scatter(
        missed, run.ks, s=sizes, c=colours, edgecolors=edges, linewidths=0.8, marker=style["marker"], zorder=2.5
    )
    label = _label(position, run.name, runs)
    if label:
        axes.plot([], [], linestyle="none", markersize=7, label=label, **style)


def _draw_front(axes: "Axes", plot: ParetoPlot) -> None:
    points = [(_missed(plot.runs[run].auc)[epoch], plot.runs[run].ks[epoch]) for run, epoch in plot.front]
    if points:
        x, y = np.array(points).T
        axes.step(x, y, where="post", color="black", linewidth=1.2, linestyle="-", zorder=2.2, label="Pareto front")


def _draw_identical(axes: "Axes", identical: Sequence[tuple[float, float]]) -> None:
    known = [(mean, spread) for mean, spread in identical if math.isfinite(mean) and math.isfinite(spread)]
    if not known:
        return
    low, high = min(mean - spread for mean, spread in known), max(mean + spread for mean, spread in known)
    axes.axhspan(low, high, color="lightgrey", linewidth=0, zorder=0.5, label="Identical distributions ± 1σ")
    for mean, _ in known:
        axes.axhline(mean, color=GREY, linestyle=":", linewidth=1.2, zorder=0.6)


def _draw_star(axes: "Axes", point: tuple[float, float], label: str) -> None:
    star: dict[str, Any] = {"linestyle": "none", "marker": "*", "markerfacecolor": "none", "markeredgecolor": "black"}
    axes.plot([point[0]], [point[1]], markersize=21, markeredgewidth=1.6, zorder=4, **star)
    # In the legend it has the height of a line.
    axes.plot([], [], markersize=11, label=label, **star)


def _draw_measured(axes: "Axes", epochs: Sequence[MeasuredEpoch], name: str, position: int, runs: int) -> None:
    x = np.array([_missed(each.auc.value) for each in epochs], dtype=np.float64)
    y = np.array([each.ks.value for each in epochs])
    # The axis runs against the AUC: its higher end has the lower 1 - AUC.
    left = x - _missed([each.auc.high for each in epochs])
    right = _missed([each.auc.low for each in epochs]) - x
    down, up = ([each.ks.error_down for each in epochs], [each.ks.error_up for each in epochs])
    axes.errorbar(
        x,
        y,
        xerr=np.nan_to_num([left, right]),
        yerr=np.nan_to_num([down, up]),
        linestyle="none",
        markersize=6,
        elinewidth=1,
        label=_label(position, name, runs),
        **_style(position),
    )


def _number_epochs(axes: "Axes", epochs: Sequence[MeasuredEpoch]) -> None:
    """Each number where it touches no point and no other number, as far as there is such a place."""
    inches = 72 / axes.figure.dpi
    points = [axes.transData.transform((float(_missed(each.auc.value)), each.ks.value)) * inches for each in epochs]
    taken = [np.array([x - 4, y - 4, x + 4, y + 4]) for x, y in points]
    for each, (x, y) in zip(epochs, points, strict=True):
        size = np.array([0.0, 0.0, 7.0 * len(str(each.epoch)), 11.0])
        boxes = [np.array([x + dx, y + dy, x + dx, y + dy]) + size for dx, dy in _NUMBER_PLACES]
        best = min(range(len(boxes)), key=lambda place: sum(_overlap(boxes[place], other) for other in taken))
        taken.append(boxes[best])
        axes.annotate(
            str(each.epoch),
            (float(_missed(each.auc.value)), each.ks.value),
            xytext=_NUMBER_PLACES[best],
            textcoords="offset points",
            fontsize=11,
        )


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    return float(np.prod(np.maximum(sides, 0.0)))


def _set_axes(axes: "Axes", missed: NDArray[np.float64], ks: NDArray[np.float64], ks_title: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    low, high = _limits(missed, (0.001, 0.5))
    # Limits first: a single point would leave none for the scale.
    axes.set_xlim(high * 1.25, low / 1.25)
    axes.set_xscale("log")
    ticks = [tick for tick in _TICKS if low / 1.25 <= 1 - tick <= high * 1.25] or [1 - low]
    ticks = _spread_out(ticks, low, high)
    axes.xaxis.set_major_locator(FixedLocator([1 - tick for tick in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:.4g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    bottom, top = _limits(ks, (0.0, 1.0))
    bottom = min(0.0, bottom)
    height = (top - bottom) or 0.1
    axes.set_ylim(bottom - 0.05 * height, top + 0.08 * height)
    axes.set_ylabel(ks_title)


def _limits(values: NDArray[np.float64], otherwise: tuple[float, float]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else otherwise


def _spread_out(ticks: Iterable[float], low: float, high: float) -> list[float]:
    """Rising ticks whose labels do not touch: a ninth of the axis apart."""
    width = math.log(high / low) + 2 * math.log(1.25)
    kept: list[float] = []
    for tick in ticks:
        if all(abs(math.log((1 - other) / (1 - tick))) > width / 9 for other in kept):
            kept.append(tick)
    return sorted(kept)

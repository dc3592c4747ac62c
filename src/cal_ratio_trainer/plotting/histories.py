"""How losses, accuracies and K-S distances went from epoch to epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.style import BLUE, GREY, LEGEND_BOX, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAINING: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o"}
_VALIDATION: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "marker": "s", "markerfacecolor": "white"}
_MARKED_EPOCHS = 40
_LEAST_ACCURACY_HEIGHT = 0.02
_LOG_ABOVE_RATIO = 30.0


@dataclass(frozen=True)
class HistoryReferences:
    """Values that a history is to be held against; None leaves one out.

    Attributes:
        clueless_loss: the adversary's loss when it says 1/2 for every jet of the validation part: ln 2 times the
            control jets' mean weight.
        clueless_training_loss: the same of the training part; None takes that of the validation part.
        main_majority: share of the most frequent class among the main jets of the validation part.
        control_majority: the same of the control jets.
        kept_below: weights are kept where BIB's K-S sum is below this.
    """

    clueless_loss: float | None = math.log(2)
    clueless_training_loss: float | None = None
    main_majority: float | None = None
    control_majority: float | None = None
    kept_below: float | None = None


@dataclass(frozen=True)
class _Line:
    """A value by epoch: its name in the history, and in the legend."""

    key: str
    title: str
    is_validation: bool = False


@dataclass(frozen=True)
class _HistoryPlot:
    """One figure: file name, what stands at its y axis, lines, and the field of `HistoryReferences` that belongs.

    The y axis covers `least_height` at least, so that a few jets more or less do not look like a trend.
    """

    name: str
    y_title: str
    lines: tuple[_Line, ...]
    reference: str | None = None
    least_height: float = 0.0


_NO_KNOWLEDGE = "No knowledge: ln 2 × mean weight"
_REFERENCE_TITLES = {
    "clueless_loss": _NO_KNOWLEDGE,
    "clueless_training_loss": _NO_KNOWLEDGE,
    "main_majority": "Always the largest class of validation",
    "control_majority": "Always the larger class of validation",
    "kept_below": "Weights kept below",
}


def _both(training: str, validation: str) -> tuple[_Line, ...]:
    return (_Line(training, "Training"), _Line(validation, "Validation", is_validation=True))


# "main_adv" is the adversary as the main network's update sees it, "adv" as in its own update.
_PLOTS = (
    _HistoryPlot("main_nn_loss", "Main network: cross-entropy", _both("original_lossf", "val_original_lossf")),
    _HistoryPlot(
        "main_network_acc",
        "Main network: accuracy",
        _both("original_acc", "val_original_acc"),
        "main_majority",
        _LEAST_ACCURACY_HEIGHT,
    ),
    _HistoryPlot(
        "main_adv_acc",
        "Adversary in main update: accuracy",
        _both("original_adv_acc", "val_original_adv_acc"),
        "control_majority",
        _LEAST_ACCURACY_HEIGHT,
    ),
    _HistoryPlot(
        "train_main_adv_loss",
        "Adversary in main update: loss",
        (_Line("original_adv_lossf", "Training"),),
        "clueless_training_loss",
    ),
    _HistoryPlot(
        "test_main_adv_loss",
        "Adversary in main update: loss",
        (_Line("val_original_adv_lossf", "Validation", is_validation=True),),
        "clueless_loss",
    ),
    _HistoryPlot("train_adv_loss", "Adversary: loss", (_Line("adv_loss", "Training"),), "clueless_training_loss"),
    _HistoryPlot(
        "test_adv_loss", "Adversary: loss", (_Line("val_adv_loss", "Validation", is_validation=True),), "clueless_loss"
    ),
    _HistoryPlot(
        "adv_acc",
        "Adversary: accuracy",
        _both("adv_acc", "val_adv_acc"),
        "control_majority",
        _LEAST_ACCURACY_HEIGHT,
    ),
    _HistoryPlot(
        "test_adv_acc",
        "Adversary: accuracy",
        (_Line("val_adv_acc", "Validation", is_validation=True),),
        "control_majority",
        _LEAST_ACCURACY_HEIGHT,
    ),
    _HistoryPlot("val_auc", "AUC, signal against QCD + 0.1 BIB", (_Line("val_auc", "Validation", is_validation=True),)),
)
_KS_PLOTS = tuple(
    _HistoryPlot(
        f"ks_{output}",
        f"K-S of MC and data, {title} output",
        (_Line(f"ks_{output}_hist", "Sum of three $p_T$ ranges", is_validation=True),),
        "kept_below" if output == "bib" else None,
    )
    for output, title in (("qcd", "QCD"), ("sig", "signal"), ("bib", "BIB"))
)


def history_drawings(
    history: Mapping[str, Sequence[float]], references: HistoryReferences | None = None
) -> list[Drawing]:
    """All history plots whose values are there, under the names of the manual.

    Args:
        history: values by epoch, from epoch 0; names as in the earlier program, besides them 'val_auc' and, for the
            band that identical distributions would give, 'ks_<output>_expected' and 'ks_<output>_spread'. NaN and
            infinity are gaps.
        references: what to hold the values against; None for the adversary's ln 2 only.
    """
    references = references or HistoryReferences()
    return [
        Drawing(plot.name, _draw_plot, (plot, history, references))
        for plot in (*_PLOTS, *_KS_PLOTS)
        if any(len(history.get(line.key, ())) > 0 for line in plot.lines)
    ]


def _draw_plot(
    axes: "Axes", plot: _HistoryPlot, history: Mapping[str, Sequence[float]], references: HistoryReferences
) -> None:
    values = [_finite(history.get(line.key, ())) for line in plot.lines]
    for of_line, line in zip(values, plot.lines, strict=True):
        _draw_line(axes, of_line, line)
    if not np.isfinite(np.concatenate(values)).any():
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center")
    epochs = max(len(of_line) for of_line in values)
    values.append(_draw_expectation(axes, plot.lines[0].key, history))
    if plot.reference is not None:
        values.append(_draw_reference(axes, plot.reference, references))
    _set_axes(axes, epochs, np.concatenate(values), plot.least_height)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(plot.y_title)
    axes.legend(loc="upper right", ncols=2, fontsize=13, **LEGEND_BOX)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _draw_line(axes: "Axes", values: NDArray[np.float64], line: _Line) -> None:
    style = dict(_VALIDATION if line.is_validation else _TRAINING)
    if len(values) > _MARKED_EPOCHS:
        # A value between two gaps makes no line: it keeps its marker.
        known = np.isfinite(np.concatenate([[np.nan], values, [np.nan]]))
        alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
        axes.plot(np.arange(len(values)), values, label=line.title, markersize=5, markevery=list(alone), **style)
    else:
        axes.plot(np.arange(len(values)), values, label=line.title, markersize=5, **style)


def _draw_expectation(axes: "Axes", key: str, history: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    stem = key.removesuffix("_hist")
    expected = _finite(history.get(f"{stem}_expected", ()))
    spread = _finite(history.get(f"{stem}_spread", ()))
    if len(expected) != len(spread) or not np.isfinite(expected + spread).any():
        # An imported history has no such figures: nothing is drawn, so nothing is said in the legend.
        return np.zeros(0)
    # Steps of one epoch, so that a single epoch has a band too.
    edges = np.arange(len(expected) + 1) - 0.5
    low, high = expected - spread, expected + spread
    axes.stairs(high, edges, baseline=low, fill=True, color="lightgrey", label="Identical distributions ± 1σ")
    return np.concatenate([low, high])


def _draw_reference(axes: "Axes", reference: str, references: HistoryReferences) -> NDArray[np.float64]:
    value: float | None = getattr(references, reference)
    if value is None and reference == "clueless_training_loss":
        value = references.clueless_loss
    if value is None:
        return np.zeros(0)
    title = f"{_REFERENCE_TITLES[reference]} ({value:.3g})"
    axes.axhline(value, color=GREY, linestyle=":", label=title, zorder=1)
    return np.array([value])


def _set_axes(axes: "Axes", epochs: int, values: NDArray[np.float64], least_height: float) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set_xlim(-0.5, epochs - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_minor_locator(NullLocator())
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high / low > _LOG_ABOVE_RATIO:
        axes.set_yscale("log")
        # Room above for the legend: a fifth of the frame.
        axes.set_ylim(low / 1.2, high * (high / low) ** 0.3)
        return
    height = max(high - low, 0.002 * abs(high), least_height) or 1.0
    spare = (height - (high - low)) / 2 if least_height else 0.0
    axes.set_ylim(low - spare - 0.08 * height, high + spare + 0.3 * height)

"""Losses, accuracies and K-S distances against epochs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.drawing import Drawing, legend_above
from cal_ratio_trainer.plotting.style import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAINING: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o"}
_VALIDATION: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "marker": "s", "markerfacecolor": "white"}
_MARKED_EPOCHS = 40
_MIN_ACCURACY_HEIGHT = 0.02
_LOG_ABOVE_RATIO = 30.0

_STORED_NAMES = {"uninformed_loss": "clueless_loss", "uninformed_training_loss": "clueless_training_loss"}
"""Names of earlier versions, under which run.json keeps some of the references."""


@dataclass(frozen=True)
class HistoryReferences:
    """Reference values of a history; None leaves one out.

    Attributes:
        uninformed_loss: the adversary's loss when it says 1/2 for every jet of the validation part: ln 2 times the
            control jets' mean weight.
        uninformed_training_loss: the same of the training part; None takes that of the validation part.
        main_majority: share of the most frequent class among the main jets of the validation part.
        control_majority: the same of the control jets.
        kept_below: weights are kept where BIB's K-S sum is below this.
    """

    uninformed_loss: float | None = math.log(2)
    uninformed_training_loss: float | None = None
    main_majority: float | None = None
    control_majority: float | None = None
    kept_below: float | None = None

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """References of run.json, as `runs.record.history_references` writes them; names that are missing are None."""
        return cls(**{field.name: stored.get(_STORED_NAMES.get(field.name, field.name)) for field in fields(cls)})


@dataclass(frozen=True)
class HistoryFigure:
    """Figure of one or two values by epoch.

    Attributes:
        name: of its file.
        y_title: at the y axis.
        training: name in the history of the value on the training part; None for none.
        validation: the same on the validation part.
        validation_title: in the legend.
        reference: field of `HistoryReferences` that it is compared with; None for none.
        min_height: the y axis covers at least so much, so that a few jets more or less do not look like a trend.
        joins_gaps: values are known in some epochs only: lines and bands go on between them.
    """

    name: str
    y_title: str
    training: str | None = None
    validation: str | None = None
    validation_title: str = "Validation"
    reference: str | None = None
    min_height: float = 0.0
    joins_gaps: bool = False

    @property
    def caption(self) -> str:
        """The quantity, and the part of the jets if it is known of one only."""
        parts = ", training" * (self.validation is None) + ", validation" * (self.training is None)
        return f"{self.y_title}{parts}"

    @property
    def lines(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name in the history, title and style of each value."""
        lines = ((self.training, "Training", _TRAINING), (self.validation, self.validation_title, _VALIDATION))
        return [(key, title, style) for key, title, style in lines if key is not None]


_NO_KNOWLEDGE = "No knowledge: ln 2 × mean weight"
_REFERENCE_TITLES = {
    "uninformed_loss": _NO_KNOWLEDGE,
    "uninformed_training_loss": _NO_KNOWLEDGE,
    "main_majority": "Always the largest class of validation",
    "control_majority": "Always the larger class of validation",
    "kept_below": "Weights kept below",
}


def _accuracy(name: str, whose: str, training: str | None, validation: str | None, reference: str) -> HistoryFigure:
    return HistoryFigure(
        name, f"{whose}: accuracy", training, validation, reference=reference, min_height=_MIN_ACCURACY_HEIGHT
    )


# "main_adv" is the adversary as the main network's update sees it, "adv" as in its own update.
HISTORY_FIGURES: list[HistoryFigure] = [
    HistoryFigure("main_nn_loss", "Main network: cross-entropy", "original_lossf", "val_original_lossf"),
    _accuracy("main_network_acc", "Main network", "original_acc", "val_original_acc", "main_majority"),
    _accuracy(
        "main_adv_acc", "Adversary in main update", "original_adv_acc", "val_original_adv_acc", "control_majority"
    ),
    HistoryFigure(
        "train_main_adv_loss",
        "Adversary in main update: loss",
        training="original_adv_lossf",
        reference="uninformed_training_loss",
    ),
    HistoryFigure(
        "test_main_adv_loss",
        "Adversary in main update: loss",
        validation="val_original_adv_lossf",
        reference="uninformed_loss",
    ),
    HistoryFigure("train_adv_loss", "Adversary: loss", training="adv_loss", reference="uninformed_training_loss"),
    HistoryFigure("test_adv_loss", "Adversary: loss", validation="val_adv_loss", reference="uninformed_loss"),
    _accuracy("adv_acc", "Adversary", "adv_acc", "val_adv_acc", "control_majority"),
    _accuracy("test_adv_acc", "Adversary", None, "val_adv_acc", "control_majority"),
    HistoryFigure("agreement_distance", "Distance of data and MC", "distance", "val_distance"),
    HistoryFigure("joint_distance", "Joint distance of data and MC", "joint_distance", "val_joint_distance"),
    HistoryFigure("reversal_loss", "Domain head: loss", "reversal_loss", reference="uninformed_training_loss"),
    _accuracy("reversal_acc", "Domain head", "reversal_acc", None, "control_majority"),
    HistoryFigure("val_auc", "AUC, signal against QCD + 0.1 BIB", validation="val_auc"),
    *(
        HistoryFigure(
            f"ks_{label.output}",
            f"K-S of MC and data, {label.title} output",
            validation=f"ks_{label.output}_hist",
            validation_title="Sum of three $p_T$ ranges",
            reference="kept_below" if label == Label.BIB else None,
        )
        for label in Label
    ),
    HistoryFigure(
        "c2st",
        "C2ST: AUC of control data against MC",
        validation="c2st_auc",
        validation_title="Classifier, 5 folds",
        min_height=_MIN_ACCURACY_HEIGHT,
        joins_gaps=True,
    ),
]
"""The histories, in the order of drawing; one entry adds a figure of any value in the history."""


def history_drawings(
    history: Mapping[str, Sequence[float]], references: HistoryReferences | None = None
) -> list[Drawing]:
    """All history plots whose values are there, under the names of the manual.

    Args:
        history: values by epoch, from epoch 0; names as in the earlier program, besides them 'val_auc' and, for the
            band that identical distributions would give, 'ks_<output>_expected' and 'ks_<output>_spread', 'c2st_auc'
            likewise. NaN and
            infinity are gaps.
        references: references for the values; None for the adversary's ln 2 only.
    """
    references = references or HistoryReferences()
    return [
        Drawing(figure.name, _draw_history, (figure, history, references), caption=figure.caption)
        for figure in (*HISTORY_FIGURES, *_region_figures(history))
        if any(len(history.get(key, ())) > 0 for key, _, _ in figure.lines)
    ]


def _region_figures(history: Mapping[str, Sequence[float]]) -> Iterator[HistoryFigure]:
    """K-S and C2ST of each of several control regions, whose values are called 'cr_<region>_ks_qcd_hist', ..."""
    end = "_ks_qcd_hist"
    regions = [name.removesuffix(end) for name in history if name.startswith("cr_") and name.endswith(end)]
    for figure in HISTORY_FIGURES:
        if figure.validation is not None and figure.validation.startswith(("ks_", "c2st_")):
            for region in regions:
                yield replace(
                    figure,
                    name=f"{region}_{figure.name}",
                    y_title=f"{region.removeprefix('cr_')}: {figure.y_title}",
                    validation=f"{region}_{figure.validation}",
                    reference=None,
                )


def _draw_history(
    axes: "Axes", figure: HistoryFigure, history: Mapping[str, Sequence[float]], references: HistoryReferences
) -> None:
    values = [_finite(history.get(key, ())) for key, _, _ in figure.lines]
    for of_line, (_, title, style) in zip(values, figure.lines, strict=True):
        _draw_line(axes, of_line, title, style, figure.joins_gaps)
    if not np.isfinite(np.concatenate(values)).any():
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center")
    epochs = max(len(of_line) for of_line in values)
    values.append(_draw_expectation(axes, figure.lines[0][0], history, figure.joins_gaps))
    if figure.reference is not None:
        values.append(_draw_reference(axes, figure.reference, references))
    _set_axes(axes, epochs, np.concatenate(values), figure.min_height)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(figure.y_title)
    legend_above(axes, columns=2)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def carried_over_gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with those of the last known epoch in place of gaps, before the first known one that of the first."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return values
    return values[known[np.maximum(np.searchsorted(known, np.arange(len(values)), "right") - 1, 0)]]


def _draw_line(axes: "Axes", values: NDArray[np.float64], title: str, style: dict[str, Any], joins_gaps: bool) -> None:
    if joins_gaps:
        known = np.flatnonzero(np.isfinite(values))
        axes.plot(known, values[known], label=title, markersize=5, **style)
    elif len(values) > _MARKED_EPOCHS:
        # A value between two gaps makes no line: it keeps its marker.
        known = np.isfinite(np.concatenate([[np.nan], values, [np.nan]]))
        alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
        axes.plot(np.arange(len(values)), values, label=title, markersize=5, markevery=list(alone), **style)
    else:
        axes.plot(np.arange(len(values)), values, label=title, markersize=5, **style)


def _draw_expectation(
    axes: "Axes", key: str, history: Mapping[str, Sequence[float]], joins_gaps: bool
) -> NDArray[np.float64]:
    stem = key.removesuffix("_hist").removesuffix("_auc")
    expected, spread = (_finite(history.get(f"{stem}_{name}", ())) for name in ("expected", "spread"))
    if joins_gaps:
        expected, spread = carried_over_gaps(expected), carried_over_gaps(spread)
    if len(expected) != len(spread) or not np.isfinite(expected + spread).any():
        # An imported history has no such figures: there is no band, and no entry in the legend.
        return np.zeros(0)
    # Steps of one epoch, so that a single epoch has a band too.
    edges = np.arange(len(expected) + 1) - 0.5
    low, high = expected - spread, expected + spread
    axes.stairs(high, edges, baseline=low, fill=True, color="lightgrey", label="Identical distributions ± 1σ")
    return np.concatenate([low, high])


def _draw_reference(axes: "Axes", reference: str, references: HistoryReferences) -> NDArray[np.float64]:
    value: float | None = getattr(references, reference)
    if value is None and reference == "uninformed_training_loss":
        value = references.uninformed_loss
    if value is None:
        return np.zeros(0)
    title = f"{_REFERENCE_TITLES[reference]} ({value:.3g})"
    axes.axhline(value, color=GREY, linestyle=":", label=title, zorder=1)
    return np.array([value])


def _set_axes(axes: "Axes", epochs: int, values: NDArray[np.float64], min_height: float) -> None:
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
        axes.set_ylim(low / 1.2, high * 1.2)
        return
    height = max(high - low, 0.002 * abs(high), min_height) or 1.0
    spare = (height - (high - low)) / 2 if min_height else 0.0
    axes.set_ylim(low - spare - 0.08 * height, high + spare + 0.08 * height)

"""Weights of jets: what the file says, what the loss sees, what plots and evaluation use."""

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets import JetScalars, Label
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC

WeightArray = NDArray[np.float64]
LabelArray = NDArray[np.int8]
BoolArray = NDArray[np.bool_]

_log = logging.getLogger(__name__)


def file_weights(jets: JetScalars, column: str, bad: Literal["error", "drop", "abs", "keep"], file: str) -> WeightArray:
    """The weights of a file, [jets]; NaN marks a jet that is to be dropped.

    Raises:
        MissingColumn: there is no such column.
        InputFileError: the column holds no numbers; negative or non-finite weights and `bad` is 'error', or non-finite
            ones and it is 'keep'.
    """
    if column not in jets:
        raise MissingColumn(file, [column], jets.scalars.column_names)
    try:
        weights = jets[column].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputFileError(file, f"column {column} holds no numbers, so it cannot be weights") from error
    infinite, negative = ~np.isfinite(weights), weights < 0
    found = f"{column} has {negative.sum()} negative and {infinite.sum()} non-finite values"
    if not (infinite.any() or negative.any()):
        return weights
    if bad == "error" or (bad == "keep" and infinite.any()):
        remedy = "abs" if bad == "keep" else "drop, abs or keep"
        raise InputFileError(file, f"{found}; set bad_weights to {remedy} to use it all the same")
    _log.warning("%s: %s (bad_weights: %s)", file, found, bad)
    if bad == "abs":
        weights = np.abs(weights)
    dropped = infinite | (negative if bad == "drop" else False)
    return np.where(dropped, np.nan, weights)


def loss_weights(
    weights: WeightArray, labels: LabelArray, trained: BoolArray, choice: Literal["file", "balanced", "none"]
) -> WeightArray:
    """The weights of main jets in the loss, [jets].

    Args:
        weights: the file's, [jets].
        labels: [jets].
        trained: [jets], which ones are trained on; these are balanced, the others scaled with them.
        choice: 'file' as they are; 'balanced' each class scaled to the same sum, 1 a jet on average; 'none' all 1.

    Raises:
        ValueError: the weights of the jets that are trained on, for 'balanced' those of a class, do not sum to more
            than 0.
    """
    if choice == "none":
        return np.ones_like(weights)
    if trained.any() and not weights[trained].sum() > 0:
        raise ValueError(f"the weights of the jets to train on sum to {weights[trained].sum():g}; expected more than 0")
    if choice == "file":
        return weights
    present = [label for label in Label if np.any(trained & (labels == label))]
    balanced = weights.copy()
    for label in present:
        of_class = labels == label
        total = weights[of_class & trained].sum()
        if not total > 0:
            raise ValueError(f"the weights of {label.name} sum to {total:g}; they cannot be balanced")
        balanced[of_class] *= trained.sum() / len(present) / total
    return balanced


def evaluation_weights(weights: WeightArray, labels: LabelArray) -> WeightArray:
    """QCD scaled so that its sum equals signal's, [jets]; what plots and figures of merit use."""
    signal, qcd = weights[labels == Label.SIGNAL].sum(), weights[labels == Label.QCD].sum()
    if not (signal > 0 and qcd > 0):
        return weights
    return np.where(labels == Label.QCD, weights * (signal / qcd), weights)


def matched_control_weights(weights: WeightArray, labels: LabelArray) -> WeightArray:
    """Control-region weights, [jets], with MC scaled so that its sum equals the data's.

    Raises:
        ValueError: MC or data is missing or does not sum to more than 0.
    """
    mc, data = weights[labels == CONTROL_MC].sum(), weights[labels == CONTROL_DATA].sum()
    if not (mc > 0 and data > 0):
        raise ValueError(f"control-region weights sum to {mc:g} for MC and {data:g} for data; both must be above 0")
    return np.where(labels == CONTROL_MC, weights * (data / mc), weights)

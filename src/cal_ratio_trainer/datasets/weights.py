"""Weights of the jets of a training, and the masses that it is trained on and that its network reads."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.jets import JetScalars, Label
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.schema import GEV_A_TEV

WeightArray = NDArray[np.float64]
LabelArray = NDArray[np.int8]
BoolArray = NDArray[np.bool_]

_log = logging.getLogger(__name__)

_SELECTION_STREAM, _MASS_STREAM = 4, 5


def select_masses(jets: JetScalars, part: NDArray[np.int8], settings: TrainSettings) -> NDArray[np.int8]:
    """The parts of jets when only low or only high masses are trained on.

    In the training and the validation part signal of other masses is left out, and QCD and BIB are drawn down to the
    number of signal jets that stays. The test part stays whole.

    Raises:
        ConfigError: no signal jet has one of the masses; names those that are there.
    """
    if settings.masses == "all":
        return part
    wanted = settings.low_masses if settings.masses == "low" else settings.high_masses
    signal = jets.label == Label.SIGNAL
    higgs_mass = jets["llp_mH"]
    if np.isnan(higgs_mass[signal]).any():
        raise ConfigError([f"include_{settings.masses}_mass needs llp_mH, which signal jets of this file lack"])
    chosen = signal & np.isin(higgs_mass, wanted)
    if not chosen.any():
        there = ", ".join(f"{mass:g}" for mass in np.unique(higgs_mass[signal]))
        raise ConfigError([f"no signal has one of the {settings.masses} masses {wanted}; the file has mH {there} GeV"])
    result = part.copy()
    rng = np.random.default_rng([settings.seed, _SELECTION_STREAM])
    for stage in (Part.TRAIN, Part.VALIDATION):
        here = part == stage
        result[here & signal & ~chosen] = Part.UNUSED
        count = int((here & chosen).sum())
        for label in (Label.QCD, Label.BIB):
            background = np.flatnonzero(here & (jets.label == label))
            if len(background) < count:
                found = f"only {len(background)} {label.name} jets for {count} signal jets"
                _log.warning("%s in the %s part: all are used", found, stage.name.lower())
                continue
            result[rng.permutation(background)[count:]] = Part.UNUSED
    return result


def parametrised_masses(
    samples: Sequence[JetScalars], columns: Sequence[str], seed: int, trained: NDArray[np.bool_] | None = None
) -> NDArray[np.float32] | None:
    """The masses each jet is given, [jets of all samples, columns] in TeV; None for a network without masses.

    Signal has its own; every other jet gets those of a signal jet drawn at random, once for the whole run.

    Args:
        samples: main jets, then control-region jets.
        columns: 'llp_mH', 'llp_mS' or both.
        seed: of the run.
        trained: [main jets], which ones are trained on: only masses of signal among these are drawn, for a mass that
            background has and trained signal has not would give background away. None draws from all signal.

    Raises:
        InputFileError: signal jets lack a mass.
    """
    if not columns:
        return None
    main = samples[0]
    signal = main.label == Label.SIGNAL
    known = np.stack([main[name] for name in columns], axis=1)[signal] / GEV_A_TEV
    if not np.isfinite(known).all() or not (known > 0).all():
        raise InputFileError("main training file", f"signal jets without {' or '.join(columns)}; the network reads it")
    rng = np.random.default_rng([seed, _MASS_STREAM])
    total = sum(len(jets) for jets in samples)
    drawn_from = known if trained is None else known[trained[signal]]
    masses: NDArray[np.float32] = drawn_from[rng.integers(0, len(drawn_from), size=total)].astype(np.float32)
    masses[: len(main)][signal] = known
    return masses


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
        choice: 'file' as they are; 'balanced' each class scaled to the same sum, on average 1 per jet; 'none' all 1.

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

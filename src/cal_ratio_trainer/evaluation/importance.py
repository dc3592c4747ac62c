"""Permutation importance: the decrease of AUC and rejection when the values of an input are permuted, with errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.roc import (
    QCD_AND_TENTH_OF_BIB,
    Background,
    auc_contributions,
    clustered_error,
    mixed,
    mixed_positions,
    roc_curve,
)
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label

REJECTION_EFFICIENCY = 0.9
"""Signal efficiency of the rejection. [1]"""

_SLOPE_OVER = 0.02
"""The slope of the ROC curve is taken between so much less and so much more signal efficiency. [1]"""


@dataclass(frozen=True)
class Decrease:
    """Decrease of a figure of merit.

    Attributes:
        value: mean over the permutations.
        error: standard error from the jets of the sample, event by event, with and without permutation on the same
            jets. The fluctuation of the permutations is a part of it.
        permutation_error: standard error of the mean from the permutations alone; NaN for a single one.
    """

    value: float
    error: float
    permutation_error: float


@dataclass(frozen=True)
class Importance:
    """Importance of one input, or of all inputs of one kind at once.

    Attributes:
        name: column of the input, e.g. 'clus_time', or name of the kind.
        kind: 'jet' for the jet's own numbers, or the kind of constituent.
        auc: decrease of the AUC.
        rejection: share of the rejection that is lost, 1 - permuted / unpermuted. [1]
    """

    name: str
    kind: str
    auc: Decrease
    rejection: Decrease


@dataclass(frozen=True)
class Importances:
    """Importance of all inputs of a network.

    Attributes:
        jets: number of jets of the sample.
        permutations: of each input.
        seed: of sample and permutations.
        auc: without permutation, signal against QCD + 0.1 BIB.
        rejection: the same at `REJECTION_EFFICIENCY`; infinite where no background passes.
        inputs: each input, in the order of the network.
        kinds: the jet's own numbers together, and each kind of constituent.
    """

    jets: int
    permutations: int
    seed: int
    auc: float
    rejection: float
    inputs: tuple[Importance, ...]
    kinds: tuple[Importance, ...]


@dataclass(frozen=True, eq=False)
class JudgedScores:
    """AUC and mistag rate of the scores of a sample, with the contribution of each jet to either.

    Attributes:
        auc: signal against the background.
        passing: share of the background that passes at `REJECTION_EFFICIENCY`.
        auc_contributions: [jets of signal, then of the background]; their sum is 0.
        passing_contributions: likewise.

    Source: see `auc_error`; for the share that passes M. S. Pepe, The Statistical Evaluation of Medical Tests (2003),
        section 5.2: the fluctuation of the background above the cut, and that of the signal times the slope of the ROC
        curve.
    """

    auc: float
    passing: float
    auc_contributions: NDArray[np.float64]
    passing_contributions: NDArray[np.float64]

    @classmethod
    def of(cls, jets: ScoredJets, background: Background = QCD_AND_TENTH_OF_BIB) -> Self:
        """Judges scores; figures are NaN and contributions 0 without signal or background."""
        signal, mixture = jets.signal_sample(), mixed(jets, background)
        curve = roc_curve(
            jets,
            background,
            rejection_at=(REJECTION_EFFICIENCY - _SLOPE_OVER, REJECTION_EFFICIENCY, REJECTION_EFFICIENCY + _SLOPE_OVER),
        )
        less, passing, more = (each.background_efficiency for each in curve.rejections)
        if math.isnan(passing):
            nothing = np.zeros(len(signal) + len(mixture))
            return cls(math.nan, math.nan, nothing, nothing)
        of_signal, of_background = (each.weights / each.weights.sum(dtype=np.float64) for each in (signal, mixture))
        falling = np.argsort(-signal.values)
        cut = signal.values[falling[np.argmax(np.cumsum(of_signal[falling]) >= REJECTION_EFFICIENCY - 1e-12)]]
        slope = (more - less) / (2 * _SLOPE_OVER)
        parts = []
        for sample, shares, factor in ((signal, of_signal, -slope), (mixture, of_background, 1.0)):
            passes = sample.values >= cut
            parts.append(factor * shares * (passes - (shares * passes).sum()))
        return cls(curve.auc, passing, auc_contributions(signal, mixture), np.concatenate(parts))


def decreases(
    unpermuted: JudgedScores, permuted: Sequence[JudgedScores], event: NDArray[np.intp]
) -> tuple[Decrease, Decrease]:
    """Decrease of AUC, and share of the rejection that is lost.

    Args:
        unpermuted: scores of the sample.
        permuted: scores of the same jets with each permutation, at least one.
        event: see `events_of`.

    Returns:
        See `Importance`. Without background that passes, before or after, the loss of rejection is NaN.
    """
    auc = [unpermuted.auc - each.auc for each in permuted]
    of_auc = np.mean([unpermuted.auc_contributions - each.auc_contributions for each in permuted], axis=0)
    lost, of_lost = [], []
    for each in permuted:
        if not (unpermuted.passing > 0 and each.passing > 0):
            lost.append(math.nan)
            continue
        ratio = unpermuted.passing / each.passing
        lost.append(1 - ratio)
        of_lost.append((ratio * each.passing_contributions - unpermuted.passing_contributions) / each.passing)
    total = np.mean(of_lost, axis=0) if of_lost else np.zeros_like(of_auc)
    return _decrease(auc, of_auc, event), _decrease(lost, total, event)


def events_of(jets: ScoredJets, events: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The event of each jet of `JudgedScores`' contributions, numbered from 0; `events` [jets] are any numbers."""
    chosen = np.concatenate([jets.positions[Label.SIGNAL], mixed_positions(jets, QCD_AND_TENTH_OF_BIB)])
    return np.unique(events[chosen], return_inverse=True)[1]


def _decrease(values: Sequence[float], contributions: NDArray[np.float64], event: NDArray[np.intp]) -> Decrease:
    value = float(np.mean(values))
    if math.isnan(value):
        return Decrease(math.nan, math.nan, math.nan)
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Decrease(value, clustered_error(contributions, event), spread)

"""Figures of merit of two networks on the same jets, the difference, and its bootstrap error.

Most of a figure's fluctuation is that of the sample, which both networks share: the error of the difference is much
smaller than those of the figures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.bootstrap import (
    EventArray,
    Resampled,
    Resampling,
    resampled_aucs,
    resampled_ks,
)
from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.evaluation.ks import PT_RANGES, PtRange
from cal_ratio_trainer.evaluation.roc import (
    BACKGROUNDS,
    REJECTION_AT,
    Background,
    RocCurve,
    roc_curve,
)
from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets
from cal_ratio_trainer.jets.labels import Label

EFFICIENCY_GRID = np.round(np.arange(0.05, 1.0, 0.05), 2)
"""Signal efficiencies at which the ratio of rejections is given. [1]"""


@dataclass(frozen=True)
class PairedFigure:
    """Figure of merit of both networks.

    Attributes:
        name: for tables.
        first, second: its values with their own 68 % intervals.
        difference: second minus first, with the interval of the difference.
        more_is_better: False for K-S distances and for background that passes.
        is_share: it is a share of jets, which can be given in per cent.
    """

    name: str
    first: Interval
    second: Interval
    difference: Interval
    more_is_better: bool = True
    is_share: bool = False

    @property
    def significance(self) -> float:
        """The difference over its error on the side of zero; NaN where that is not known."""
        value = self.difference.value
        error = self.difference.error_down if value > 0 else self.difference.error_up
        return value / error if error > 0 else math.nan


@dataclass(frozen=True, eq=False)
class RocPair:
    """Both ROC curves against one background, and the ratio of their rejections.

    Attributes:
        background: mixture of backgrounds.
        first, second: the curves.
        signal_efficiency: [points] where the ratio is given.
        ratio, low, high: [points] second's rejection over first's with its 68 % interval; NaN where not known.
    """

    background: Background
    first: RocCurve
    second: RocCurve
    signal_efficiency: NDArray[np.float64]
    ratio: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedFigures:
    """All figures of two networks on the same jets, and the ROC curves against each background that is there."""

    figures: tuple[PairedFigure, ...]
    rocs: tuple[RocPair, ...]


def paired_figures(first: ScoredJets, second: ScoredJets, events: EventArray, resampling: Resampling) -> PairedFigures:
    """Figures of merit of two networks on the same main jets.

    Args:
        first, second: the same jets in the same order, with the scores of each.
        events: [jets] a number that all jets of an event share.
        resampling: number and seed of the replicas.
    """
    backgrounds = tuple(b for b in BACKGROUNDS if any(b.count(first, label) for label in (Label.QCD, Label.BIB)))
    aucs = [resampled_aucs(jets, events, resampling, backgrounds) for jets in (first, second)]
    figures = [
        _paired(f"AUC, {background.name}", one, other)
        for background, one, other in zip(backgrounds, *aucs, strict=True)
    ]
    rocs = []
    for background in backgrounds:
        pair, rejections = _roc_pair(first, second, background, events, resampling)
        rocs.append(pair)
        figures += rejections
    for name, chosen, passing, better in _SHARES:
        one, other = (_resampled_share(jets, chosen, passing, events, resampling) for jets in (first, second))
        figures.append(_paired(name, one, other, more_is_better=better, is_share=True))
    return PairedFigures(tuple(figures), tuple(rocs))


def paired_ks(
    first: ScoredControlJets,
    second: ScoredControlJets,
    events: EventArray,
    resampling: Resampling,
    ranges: tuple[PtRange, ...] = PT_RANGES,
) -> PairedFigure:
    """The K-S sum over outputs and pt ranges of two networks on the same control jets; arguments as above."""
    one, other = (resampled_ks(jets, events, resampling, ranges) for jets in (first, second))
    return _paired("K-S sum, all outputs", one, other, more_is_better=False)


def _paired(
    name: str, first: Resampled, second: Resampled, more_is_better: bool = True, is_share: bool = False
) -> PairedFigure:
    intervals = [each.interval for each in (first, second)]
    if is_share:
        # Moved replicas can reach where no share of jets is.
        intervals = [replace(each, low=max(each.low, 0.0), high=min(each.high, 1.0)) for each in intervals]
    return PairedFigure(name, intervals[0], intervals[1], second.minus(first), more_is_better, is_share)


_Chosen = Callable[[ScoredJets], NDArray[np.bool_]]

_SHARES: tuple[tuple[str, _Chosen, _Chosen, bool], ...] = (
    ("signal taken for signal", lambda jets: jets.labels == Label.SIGNAL, lambda jets: _taken(jets), True),
    ("QCD taken for signal", lambda jets: jets.labels == Label.QCD, lambda jets: _taken(jets), False),
    ("BIB taken for signal", lambda jets: jets.labels == Label.BIB, lambda jets: _taken(jets), False),
    ("accuracy", lambda jets: np.ones(len(jets), dtype=bool), lambda jets: jets.predictions == jets.labels, True),
)
"""Shares by count: name, which jets, which of them pass, whether more is better."""


def _taken(jets: ScoredJets) -> NDArray[np.bool_]:
    return np.asarray(jets.predictions == Label.SIGNAL)


def _resampled_share(
    jets: ScoredJets, chosen: _Chosen, passing: _Chosen, events: EventArray, resampling: Resampling
) -> Resampled:
    here = chosen(jets)
    passed = (here & passing(jets)).astype(np.float32)
    replicas = [
        _divided(drawn.astype(np.float32) @ passed, drawn.astype(np.float32) @ here.astype(np.float32))
        for drawn in resampling.drawn(events)
    ]
    return Resampled(float(_divided(passed.sum(), here.sum())), np.concatenate(replicas) if replicas else np.zeros(0))


def _roc_pair(
    first: ScoredJets, second: ScoredJets, background: Background, events: EventArray, resampling: Resampling
) -> tuple[RocPair, list[PairedFigure]]:
    at = np.concatenate([REJECTION_AT, EFFICIENCY_GRID])
    curves = [roc_curve(jets, background, rejection_at=tuple(at.tolist())) for jets in (first, second)]
    one, other = (
        [
            Resampled(rejection.background_efficiency, drawn)
            for rejection, drawn in zip(
                curve.rejections, _mistag_replicas(jets, background, events, resampling, at).T, strict=True
            )
        ]
        for curve, jets in zip(curves, (first, second), strict=True)
    )
    # Not the rejections, of which one without a background jet left is infinite.
    figures = [
        _paired(
            f"{background.name} that passes at {100 * at[i]:.0f} % signal",
            one[i],
            other[i],
            more_is_better=False,
            is_share=True,
        )
        for i in range(len(REJECTION_AT))
    ]
    intervals = [_ratio(one[i], other[i]) for i in range(len(REJECTION_AT), len(at))]
    ratio, low, high = np.array([(each.value, each.low, each.high) for each in intervals]).T
    return RocPair(background, curves[0], curves[1], EFFICIENCY_GRID, ratio, low, high), figures


def _ratio(below: Resampled, above: Resampled) -> Interval:
    """Ratio of the rejections of `above` and `below`: inverted, because these are passing shares."""
    value = float(_divided(below.value, above.value))
    # Nothing passes: the rejection is infinite, and no ratio is.
    return Resampled(value if value > 0 else math.nan, np.asarray(_divided(below.replicas, above.replicas))).interval


def _mistag_replicas(
    jets: ScoredJets, background: Background, events: EventArray, resampling: Resampling, at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the background that passes at signal efficiencies in each replica, [replicas, at].

    Class counts are those of the replica, as in `resampled_aucs`; NaN where it lacks signal or background.
    """
    scores = jets.scores[:, Label.SIGNAL]
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    weights = np.asarray(jets.weights, dtype=np.float64)
    rows = []
    for drawn in resampling.drawn(events):
        ordered = (drawn * weights)[:, order]
        passing = {label: _passing(ordered, jets.labels[order] == label, last) for label in Label}
        counts = {
            label: background.factor(label) * drawn[:, jets.positions[label]].sum(axis=1, keepdims=True)
            for label in (Label.QCD, Label.BIB)
        }
        # A class that a replica lacks passes no share of itself, and its count takes no part either.
        parts = [counts[label] * np.nan_to_num(passing[label]) for label in counts]
        shares = _divided(parts[0] + parts[1], counts[Label.QCD] + counts[Label.BIB])
        for signal, mixture in zip(passing[Label.SIGNAL], shares, strict=True):
            rows.append(np.interp(at, np.maximum.accumulate(np.append(0.0, signal)), np.append(0.0, mixture)))
    return np.array(rows).reshape(-1, len(at))


def _passing(ordered: NDArray[np.float64], here: NDArray[np.bool_], last: NDArray[np.intp]) -> NDArray[np.float64]:
    running = np.cumsum(np.where(here, ordered, 0.0), axis=1)
    return np.asarray(_divided(running[:, last], running[:, -1:]))


def _divided(above: Any, below: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above, dtype=np.float64) / below

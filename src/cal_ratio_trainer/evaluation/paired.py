"""Two networks on the same jets: their outputs, their figures of merit, the difference and its bootstrap error.

Most of a figure's fluctuation is that of the sample, which both networks share: the error of the difference is much
smaller than those of the figures.
"""

import math
from collections.abc import Callable, Mapping
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
from cal_ratio_trainer.evaluation.scored import FloatArray, ScoredJets, check_finite
from cal_ratio_trainer.jets.labels import Label

TOLERANCES = (1e-5, 1e-3, 1e-2)
"""Differences of scores beyond which jets are counted: rounding, visible, and one that moves cuts. [1]"""

SCORE_EDGES = np.linspace(0.0, 1.0, 51)
DIFFERENCE_EDGES = np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 55)])
"""For absolute differences; what is below 1e-9 (equal scores too) is in the first bin."""


@dataclass(frozen=True, eq=False)
class OutputAgreement:
    """Agreement in one network output.

    Attributes:
        output: its name.
        pearson: linear correlation; NaN where one of the two is constant.
        spearman: correlation of the ranks.
        largest: largest absolute difference.
        median: of the absolute differences.
        mean: of the absolute differences.
        beyond: number of jets that differ by more than each of `TOLERANCES`.
        plane: [first's bins, second's bins] jets in bins of `SCORE_EDGES`; what lies beyond is in the bin at the end.
        differences: [bins of `DIFFERENCE_EDGES`] jets by absolute difference, likewise.
    """

    output: Label
    pearson: float
    spearman: float
    largest: float
    median: float
    mean: float
    beyond: tuple[int, ...]
    plane: NDArray[np.int64]
    differences: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement in all outputs, and in the decisions by the largest output.

    Attributes:
        jets: their number.
        outputs: one for each output, in the order of `Label`.
        decisions: [first, second] jets by largest output; of equal ones the first.
    """

    jets: int
    outputs: tuple[OutputAgreement, ...]
    decisions: NDArray[np.int64]

    @property
    def same_decision(self) -> float:
        """Share of jets with the same largest output; NaN of no jets."""
        return float(np.trace(self.decisions)) / self.jets if self.jets else math.nan

    @property
    def largest(self) -> float:
        """Largest absolute difference of any output; NaN of no jets."""
        return max((output.largest for output in self.outputs), default=math.nan)

    @property
    def median(self) -> float:
        """Largest of the outputs' median differences."""
        return max((output.median for output in self.outputs), default=math.nan)

    def __getitem__(self, output: Label) -> OutputAgreement:
        return self.outputs[output]


def agreement(first: FloatArray, second: FloatArray) -> Agreement:
    """Compares two sets of scores.

    Args:
        first: [jets, 3] in the order of `Label`.
        second: [jets, 3] of the same jets.

    Raises:
        NonFiniteInput: a score is NaN or infinite.
        ValueError: the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != len(Label):
        raise ValueError(f"scores {first.shape} and {second.shape} must both be [jets, {len(Label)}]")
    check_finite("scores", first)
    check_finite("scores", second)
    outputs = tuple(_of_output(label, first[:, label], second[:, label]) for label in Label)
    cells = np.argmax(first, axis=1) * len(Label) + np.argmax(second, axis=1)
    decisions = np.bincount(cells, minlength=len(Label) ** 2).reshape(len(Label), len(Label))
    return Agreement(len(first), outputs, decisions.astype(np.int64))


def agreements_by_class(
    first: FloatArray, second: FloatArray, rows: Mapping[str, NDArray[np.intp]]
) -> dict[str, Agreement]:
    """Agreement of the jets at some positions, by name; names without jets are left out."""
    return {name: agreement(first[here], second[here]) for name, here in rows.items() if len(here)}


def largest_differences(first: FloatArray, second: FloatArray, most: int) -> NDArray[np.intp]:
    """Positions of the jets with the largest difference in any output, the largest first, at most `most`."""
    differences = np.abs(first.astype(np.float64) - second).max(axis=1) if len(first) else np.zeros(0)
    order: NDArray[np.intp] = np.argsort(-differences, kind="stable")[:most]
    return order[differences[order] > 0]


def _of_output(label: Label, first: FloatArray, second: FloatArray) -> OutputAgreement:
    # Imported here: commands that only score need not wait for it.
    from scipy.stats import rankdata

    one, other = first.astype(np.float64), second.astype(np.float64)
    differences = np.abs(one - other)
    # Rounding brings scores beyond 1; these jets count too.
    plane = np.histogram2d(np.clip(one, 0, 1), np.clip(other, 0, 1), (SCORE_EDGES, SCORE_EDGES))[0]
    some = len(differences) > 0
    return OutputAgreement(
        output=label,
        pearson=_correlation(one, other),
        spearman=_correlation(rankdata(one), rankdata(other)) if some else math.nan,
        largest=float(differences.max()) if some else math.nan,
        median=float(np.median(differences)) if some else math.nan,
        mean=float(differences.mean()) if some else math.nan,
        beyond=tuple(int(np.count_nonzero(differences > tolerance)) for tolerance in TOLERANCES),
        plane=plane.astype(np.int64),
        differences=np.histogram(np.minimum(differences, 1), DIFFERENCE_EDGES)[0].astype(np.int64),
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if len(one) < 2:
        return math.nan
    a, b = one - one.mean(), other - other.mean()
    size = math.sqrt(float(np.square(a).sum()) * float(np.square(b).sum()))
    return float((a * b).sum()) / size if size > 0 else math.nan


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
    first: ScoredJets,
    second: ScoredJets,
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

"""Bootstrap errors of AUC and K-S, event by event, since jets of one event are correlated."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import TAIL, Interval
from cal_ratio_trainer.evaluation.ks import PT_RANGES, PtRange, ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import Background, roc_auc
from cal_ratio_trainer.evaluation.scored import FloatArray, ScoredJets
from cal_ratio_trainer.jets.labels import Label

EventArray = NDArray[np.integer[Any]]
Replicas = NDArray[np.float64]

_VALUES_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Resampling:
    """Number and seed of the bootstrap samples; the same events always give the same samples."""

    replicas: int
    seed: int

    def drawn(self, events: EventArray) -> Iterator[NDArray[np.uint8]]:
        """Multiplicity of each jet in each replica, in groups of replicas: [replicas of the group, jets].

        Each event is drawn a number of times that follows a Poisson distribution of mean 1, with all its jets.

        Args:
            events: [jets] a number that all jets of an event share; they may come in any order.

        Source: B. Efron, Ann. Statist. 7 (1979) 1; Poisson numbers in place of a fixed total, as figures that are
            shares allow.
        """
        different, event_of_jet = np.unique(events, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        at_a_time = max(1, _VALUES_AT_A_TIME // max(1, len(events)))
        for start in range(0, self.replicas, at_a_time):
            now = min(at_a_time, self.replicas - start)
            yield rng.poisson(1.0, (now, len(different))).astype(np.uint8)[:, event_of_jet]


@dataclass(frozen=True, eq=False)
class Resampled:
    """Figure of merit of a sample, with its bootstrap replicas.

    Attributes:
        value: of the sample itself.
        replicas: [replicas]; NaN where a replica lacks jets that the figure needs.
    """

    value: float
    replicas: Replicas

    @property
    def interval(self) -> Interval:
        """The value with the middle 68.3 % of the replicas, moved so that their mean is the value.

        Replicas of a distance are larger than the distance itself: drawing anew adds noise to it.
        """
        return _interval(self.value, self.replicas)

    def minus(self, other: "Resampled") -> Interval:
        """Difference to a figure of the same events, whose fluctuations largely cancel."""
        return _interval(self.value - other.value, self.replicas - other.replicas)


def resampled_aucs(
    jets: ScoredJets, events: EventArray, resampling: Resampling, backgrounds: tuple[Background, ...]
) -> tuple[Resampled, ...]:
    """The AUC of signal against each background, as `roc_auc` has it, with replicas.

    Args:
        jets: the sample.
        events: [jets], see `Resampling.drawn`.
        resampling: number and seed of the replicas.
        backgrounds: the mixtures; class counts are those of each replica.
    """
    pairs = {label: _Pairs.of(jets, label) for label in (Label.QCD, Label.BIB)}
    pieces = [_aucs_of(jets, drawn, pairs, backgrounds) for drawn in resampling.drawn(events)]
    together = np.concatenate(pieces, axis=1) if pieces else np.zeros((len(backgrounds), 0))
    return tuple(
        Resampled(roc_auc(jets, background), replicas)
        for background, replicas in zip(backgrounds, together, strict=True)
    )


def resampled_ks(
    jets: ScoredJets, events: EventArray, resampling: Resampling, pt_ranges: tuple[PtRange, ...] = PT_RANGES
) -> Resampled:
    """The K-S sum over the three outputs and all pt ranges, with replicas; arguments as `resampled_aucs`."""
    samples = [_KsSample.of(jets, pt_range) for pt_range in pt_ranges]
    pieces = [
        np.sum([sample.distances(drawn) for sample in samples], axis=0, dtype=np.float64)
        for drawn in resampling.drawn(events)
    ]
    value = math.fsum(output.total for output in ks_of_control_jets(jets, pt_ranges).outputs)
    return Resampled(value, np.concatenate(pieces) if pieces else np.zeros(0))


def _interval(value: float, replicas: Replicas) -> Interval:
    known = replicas[np.isfinite(replicas)]
    # Where most replicas lack jets that the figure needs, the others are a biased selection.
    if not math.isfinite(value) or len(known) < max(2, len(replicas) / 2):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [TAIL, 1 - TAIL]) - known.mean()
    return Interval(value, value + min(float(low), 0.0), value + max(float(high), 0.0))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Signal and one background, ready for the sum over their pairs.

    Attributes:
        signal: [n] positions of the signal jets by rising score.
        background: [m] positions of the background jets likewise.
        below: [n] how many background jets score lower than each signal jet.
        not_above: [n] how many score lower or the same.
    """

    signal: NDArray[np.intp]
    background: NDArray[np.intp]
    below: NDArray[np.intp]
    not_above: NDArray[np.intp]

    @classmethod
    def of(cls, jets: ScoredJets, label: Label) -> "_Pairs":
        scores = jets.scores[:, Label.SIGNAL]
        signal, background = (
            positions[np.argsort(scores[positions], kind="stable")]
            for positions in (jets.positions[Label.SIGNAL], jets.positions[label])
        )
        below, not_above = (np.searchsorted(scores[background], scores[signal], side) for side in ("left", "right"))
        return cls(signal, background, below, not_above)

    def aucs(self, weights: NDArray[np.float64]) -> Replicas:
        """[replicas] from the weights of all jets, [replicas, jets]; NaN without signal or background."""
        signal, background = weights[:, self.signal], weights[:, self.background]
        running = np.zeros((len(weights), len(self.background) + 1))
        np.cumsum(background, axis=1, out=running[:, 1:])
        won_twice = (signal * (running[:, self.below] + running[:, self.not_above])).sum(axis=1)
        auc: Replicas = won_twice / (2 * _positive(signal.sum(axis=1)) * _positive(running[:, -1]))
        return auc


def _aucs_of(
    jets: ScoredJets, drawn: NDArray[np.uint8], pairs: Mapping[Label, _Pairs], backgrounds: tuple[Background, ...]
) -> NDArray[np.float64]:
    weights = drawn.astype(np.float64) * jets.weights
    pure = {label: each.aucs(weights) for label, each in pairs.items()}
    counts = {label: drawn[:, jets.positions[label]].sum(axis=1, dtype=np.float64) for label in pairs}
    result = np.empty((len(backgrounds), len(drawn)))
    for row, background in enumerate(backgrounds):
        won, pairs_in_all = np.zeros(len(drawn)), np.zeros(len(drawn))
        for label, auc in pure.items():
            # A class without jets has no AUC and takes no part in the mixture.
            share = np.where(np.isnan(auc), 0.0, background.factor(label) * counts[label])
            won += share * np.nan_to_num(auc)
            pairs_in_all += share
        result[row] = won / _positive(pairs_in_all)
    return result


@dataclass(frozen=True, eq=False)
class _KsSample:
    """Control jets of one pt range, in the order of each output.

    Attributes:
        positions: [jets of the range] in the whole sample.
        is_data: [jets of the range].
        weights: [jets of the range].
        orders: for each output, the jets by rising score and where the last of equal ones stand, but the very last.
    """

    positions: NDArray[np.intp]
    is_data: NDArray[np.bool_]
    weights: NDArray[np.float64]
    orders: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]

    @classmethod
    def of(cls, jets: ScoredJets, pt_range: PtRange) -> "_KsSample":
        positions = np.flatnonzero((jets.scaled_pt >= pt_range.low) & (jets.scaled_pt < pt_range.high))
        orders = tuple(_order(jets.scores[positions, output]) for output in Label)
        weights = np.asarray(jets.weights[positions], dtype=np.float64)
        return cls(positions, jets.is_data[positions], weights, orders)

    def distances(self, drawn: NDArray[np.uint8]) -> Replicas:
        """[replicas] the distances of all outputs together; NaN without data or MC."""
        weights = drawn[:, self.positions] * self.weights
        data = np.where(self.is_data, weights, 0.0)
        mc = weights - data
        sums = [_positive(sample.sum(axis=1)) for sample in (mc, data)]
        # NaN where there is no data or no MC, also where no two jets differ.
        total: Replicas = 0.0 * (sums[0] + sums[1])
        signed = mc / sums[0][:, None] - data / sums[1][:, None]
        for order, last_of_equal in self.orders:
            difference = np.cumsum(signed[:, order], axis=1)[:, last_of_equal]
            total = total + np.abs(difference).max(axis=1, initial=0.0)
        return total


def _order(values: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(ordered[1:] != ordered[:-1])


def _positive(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(sums > 0, sums, math.nan)

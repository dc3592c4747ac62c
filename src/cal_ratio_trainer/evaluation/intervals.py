"""Shares of jets with their 68 % intervals, also counted batch by batch: any number of jets needs little memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from cal_ratio_trainer.evaluation.scored import FloatArray, check_finite
from cal_ratio_trainer.jets.labels import Label

TAIL = (1 - math.erf(1 / math.sqrt(2))) / 2
"""The probability left out on each side of a 68.3 % interval."""


class WithErrors:
    """Value in [low, high]; with weights below 0 it can lie outside, and then has no error on that side."""

    value: float
    low: float
    high: float

    @property
    def error_down(self) -> float:
        """Distance from the value to the lower end."""
        # In this order NaN stays NaN.
        return max(self.value - self.low, 0.0)

    @property
    def error_up(self) -> float:
        """Distance from the value to the upper end."""
        return max(self.high - self.value, 0.0)


@dataclass(frozen=True)
class Interval(WithErrors):
    """Figure of merit with its 68.3 % interval; NaN where it is not known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Share(WithErrors):
    """Share of a number of jets: `value` = passed / total, in [low, high] at 68 % confidence; NaN of no jets.

    `passed` and `total` are counts, or effective counts where jets carry weights. With weights below 0 the value can
    leave [0, 1], the interval does not.
    """

    passed: float
    total: float
    value: float
    low: float
    high: float


def share(passed: float, total: float) -> Share:
    """Share with its Clopper-Pearson interval.

    Args:
        passed: number that passes; with weights their share times `total`, put into [0, total] for the interval.
        total: number of all; with weights their effective number.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404; at real-valued counts as the incomplete beta
        function continues it.
    """
    passed, total = float(passed), float(total)
    if total <= 0:
        return Share(passed, total, math.nan, math.nan, math.nan)
    low, high = clopper_pearson(np.array([passed]), np.array([total]))
    return Share(passed, total, passed / total, float(low[0]), float(high[0]))


def weighted_share(weights: FloatArray, passes: NDArray[np.bool_]) -> Share:
    """The share of weight that passes; its interval is that of a count at the effective number.

    Args:
        weights: [jets]; may be negative.
        passes: [jets].
    """
    every = np.asarray(weights, dtype=np.float64)
    chosen = every[passes]
    return share_of_sums(
        float(chosen.sum()), float(np.square(chosen).sum()), float(every.sum()), float(np.square(every).sum())
    )


def share_of_sums(passed: float, passed_squares: float, total: float, total_squares: float) -> Share:
    """Share as `weighted_share` has it, from sums of weights and of their squares, of passing and of all jets.

    Returns:
        NaN where the weights of all jets sum to 0 or less.
    """
    if not total > 0:
        return share(0.0, 0.0)
    value = passed / total
    number = total**2 / total_squares
    effective = float(effective_trials(np.array(value), np.array(passed_squares / total_squares), number))
    return share(value * effective, effective)


def effective_trials(
    efficiency: NDArray[np.float64],
    share_of_squares: NDArray[np.float64],
    effective_number: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """Number of jets of equal weight with the same uncertainty of the efficiency as the weighted ones.

    It is n = e (1 - e) / var(e) with var(e) = ((1 - e)^2 sum_passing w^2 + e^2 sum_failing w^2) / (sum w)^2, from the
    propagation of the jets' own fluctuations; the count itself where all weights are equal. Where nothing or
    everything passes (or weights below 0 bring e there), it is the effective number (sum w)^2 / sum w^2.

    Args:
        efficiency: share of the weight that passes, any shape.
        share_of_squares: sum of the squared weights that pass over that of all.
        effective_number: of all jets; see `evaluation.scored.effective_number`.
    """
    scaled_variance = (1 - 2 * efficiency) * share_of_squares + np.square(efficiency)
    inside = (efficiency > 0) & (efficiency < 1) & (scaled_variance > 0)
    spread = np.where(inside, efficiency * (1 - efficiency), 1.0)
    return np.asarray(effective_number * spread / np.where(inside, scaled_variance, 1.0), dtype=np.float64)


def clopper_pearson(
    passed: NDArray[np.float64], total: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends of 68 % intervals, as in `share`, for arrays of any shape; NaN where `total` is 0."""
    known = total > 0
    trials = np.where(known, total, 1.0)
    inside = np.clip(passed, 0.0, trials)
    some, not_all = inside > 0, inside < trials
    # The functions' arguments must be above 0 where their values are not used either.
    low = betaincinv(np.where(some, inside, 1.0), trials - inside + 1, TAIL)
    high = betaincinv(inside + 1, np.where(not_all, trials - inside, 1.0), 1 - TAIL)
    return (
        np.where(known, np.where(some, low, 0.0), math.nan),
        np.where(known, np.where(not_all, high, 1.0), math.nan),
    )


@dataclass(frozen=True)
class Selection:
    """Condition on a jet: `output` is its largest output (`cut` None), or is above `cut`. [1]"""

    output: Label
    cut: float | None = None

    def passes(self, scores: FloatArray) -> NDArray[np.bool_]:
        """[jets] for scores [jets, 3]; of equal outputs the first counts as the largest."""
        if self.cut is None:
            largest: NDArray[np.bool_] = np.argmax(scores, axis=1) == self.output
            return largest
        above: NDArray[np.bool_] = scores[:, self.output] > self.cut
        return above


def selections(cuts: Sequence[float]) -> tuple[Selection, ...]:
    """Each output being the largest, then cuts on the signal output."""
    return (*(Selection(label) for label in Label), *(Selection(Label.SIGNAL, cut) for cut in cuts))


@dataclass(frozen=True)
class Group:
    """Jets that are counted together.

    Attributes:
        name: of their class.
        part: of the training that they had, as a word.
        higgs_mass, scalar_mass: true masses in GeV; None where they have none or it is not known.
    """

    name: str
    part: str
    higgs_mass: float | None = None
    scalar_mass: float | None = None


@dataclass(frozen=True)
class Counts:
    """Number and weights of all jets and of those that pass each selection.

    Attributes:
        jets, weight, squares: number, sum of weights, sum of squared weights.
        passed: [selections] numbers.
        passed_weight, passed_squares: [selections] sums of weights and of their squares.
    """

    jets: int
    weight: float
    squares: float
    passed: NDArray[np.int64]
    passed_weight: NDArray[np.float64]
    passed_squares: NDArray[np.float64]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.jets + other.jets,
            self.weight + other.weight,
            self.squares + other.squares,
            self.passed + other.passed,
            self.passed_weight + other.passed_weight,
            self.passed_squares + other.passed_squares,
        )

    def share(self, selection: int) -> Share:
        """The share of jets that pass, with its Clopper-Pearson interval."""
        return share(int(self.passed[selection]), self.jets)

    def weighted_share(self, selection: int) -> Share:
        """The share of the summed weights that passes, as `intervals.weighted_share` has it."""
        return share_of_sums(
            float(self.passed_weight[selection]), float(self.passed_squares[selection]), self.weight, self.squares
        )

    @property
    def is_weighted(self) -> bool:
        """False where all weights are the same, so that both shares are."""
        return self.jets > 0 and not np.isclose(self.squares * self.jets, self.weight**2, rtol=1e-9)


@dataclass
class ShareTally:
    """Counts of jets that pass selections, added up batch by batch.

    Attributes:
        selections: the conditions.
        counts: of each group that occurred.
    """

    selections: tuple[Selection, ...]
    counts: dict[Group, Counts] = field(default_factory=dict)

    def add(
        self, scores: FloatArray, weights: FloatArray, codes: NDArray[np.integer[Any]], groups: list[Group]
    ) -> None:
        """Counts some jets.

        Args:
            scores: [jets, 3].
            weights: [jets].
            codes: [jets] position of each jet's group in `groups`.
            groups: the groups.

        Raises:
            NonFiniteInput: a score or weight is NaN or infinite.
        """
        check_finite("scores", scores)
        check_finite("weights", weights)
        double = np.asarray(weights, dtype=np.float64)
        passing = [selection.passes(scores) for selection in self.selections]

        def summed(values: NDArray[Any] | None) -> NDArray[np.float64]:
            return np.bincount(codes, values, len(groups)).astype(np.float64)

        def summed_where_they_pass(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([summed(each * values) for each in passing], axis=1)

        square = np.square(double)
        jets, weight, squares = summed(None), summed(double), summed(square)
        passed = summed_where_they_pass(np.ones(len(double))).astype(np.int64)
        passed_weight, passed_squares = summed_where_they_pass(double), summed_where_they_pass(square)
        for i, group in enumerate(groups):
            if jets[i]:
                of_passed = (passed[i].copy(), passed_weight[i].copy(), passed_squares[i].copy())
                counts = Counts(int(jets[i]), float(weight[i]), float(squares[i]), *of_passed)
                self.counts[group] = self.counts[group] + counts if group in self.counts else counts

    def merge(self, other: "ShareTally") -> None:
        """Adds the counts of another tally with the same selections."""
        for group, counts in other.counts.items():
            self.counts[group] = self.counts[group] + counts if group in self.counts else counts

    def by(self, key: Callable[[Group], Any]) -> dict[Any, Counts]:
        """Counts added up over groups of one key, in the order in which keys occurred."""
        result: dict[Any, Counts] = {}
        for group, counts in self.counts.items():
            name = key(group)
            result[name] = result[name] + counts if name in result else counts
        return result

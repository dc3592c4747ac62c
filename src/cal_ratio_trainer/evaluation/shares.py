"""Shares of jets above cuts on a network's outputs, counted batch by batch: any number of jets needs little memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import Share, WeightSums, share, share_of_sums
from cal_ratio_trainer.evaluation.scored import FloatArray, check_finite
from cal_ratio_trainer.jets.labels import Label


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
        passed = WeightSums(float(self.passed_weight[selection]), float(self.passed_squares[selection]))
        return share_of_sums(passed, WeightSums(self.weight, self.squares))

    @property
    def is_weighted(self) -> bool:
        """False where all weights are the same, so that both shares are."""
        return self.jets > 0 and not np.isclose(self.squares * self.jets, self.weight**2, rtol=1e-9)


@dataclass
class ShareTally:
    """Adds up.

    Attributes:
        selections: what is counted.
        counts: of each group that was met.
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
        """Counts added up over groups of one key, in the order in which keys were met."""
        result: dict[Any, Counts] = {}
        for group, counts in self.counts.items():
            name = key(group)
            result[name] = result[name] + counts if name in result else counts
        return result

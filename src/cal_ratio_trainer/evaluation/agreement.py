"""Agreement of two sets of scores of the same jets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import FloatArray, check_finite
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
    # Rounding brings scores beyond 1: no jet is to be missing for that.
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

"""Weighted histograms of variables of jets, counted batch by batch for several groups of jets at once."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.variables import Values, Variable, values_of
from cal_ratio_trainer.jets.table import Jets

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """A weighted histogram of one group of jets.

    Attributes:
        sums: [bins + 2] sums of weights; the first and the last for what lies below and above the edges.
        squares: [bins + 2] variances of these sums.
        jets: how many jets have an entry.
    """

    sums: FloatArray
    squares: FloatArray
    jets: int

    def normalised(self) -> tuple[FloatArray, FloatArray]:
        """Contents and standard deviations, [bins] each, as shares of all weight, that outside the edges too.

        Returns:
            NaN where the group is empty or its weights do not sum to more than 0.
        """
        total = float(self.sums.sum())
        if not total > 0:
            nothing = np.full(len(self.sums) - 2, math.nan)
            return nothing, nothing
        return self.sums[1:-1] / total, np.sqrt(self.squares[1:-1]) / total

    @property
    def outside(self) -> tuple[float, float]:
        """Shares of the weight below and above the edges; 0 where there is none."""
        total = float(self.sums.sum())
        return (float(self.sums[0]) / total, float(self.sums[-1]) / total) if total > 0 else (0.0, 0.0)

    def __add__(self, other: "Counts") -> "Counts":
        """Both groups together; they must have no jet in common."""
        return Counts(self.sums + other.sums, self.squares + other.squares, self.jets + other.jets)


def ratio(counts: Counts, reference: Counts) -> tuple[FloatArray, FloatArray]:
    """Normalised contents over those of a reference, with the standard deviation that the numerator gives; [bins].

    Returns:
        NaN where the reference has no content.
    """
    contents, errors = counts.normalised()
    below, _ = reference.normalised()
    positive = below > 0
    quotient = np.divide(contents, below, out=np.full_like(contents, math.nan), where=positive)
    return quotient, np.divide(errors, below, out=np.full_like(errors, math.nan), where=positive)


def mean_of_centres(counts: Counts, edges: FloatArray) -> tuple[float, float]:
    """The weighted mean and its standard deviation, each entry taken at the centre of its bin.

    For bins that hold one whole number each it is the mean itself. What lies outside the edges is left out.

    Returns:
        NaN where the weights do not sum to more than 0.
    """
    inside, total = counts.sums[1:-1], float(counts.sums[1:-1].sum())
    if not total > 0:
        return math.nan, math.nan
    centres = (edges[:-1] + edges[1:]) / 2
    mean = float((inside * centres).sum()) / total
    return mean, math.sqrt(float((counts.squares[1:-1] * np.square(centres - mean)).sum())) / total


class VariableCounter:
    """Counts one variable for groups of jets that exclude each other.

    Where a jet has several entries (all its constituents), the variance takes jets as independent, not entries:
    constituents of one jet go together.

    Args:
        variable: what to count.
        edges: [bins + 1], rising; the last bin does not hold its upper edge.
        groups: how many groups of jets there are.
    """

    def __init__(self, variable: Variable, edges: FloatArray, groups: int) -> None:
        import hist

        self._variable, self._groups = variable, groups
        self._axis = hist.axis.Variable(edges)
        self._in_bin = np.concatenate([[-math.inf], (edges[:-1] + edges[1:]) / 2, [math.inf]])
        groups_axis = hist.axis.Integer(0, groups, flow=False)
        self._filled = hist.Hist(groups_axis, self._axis, storage=hist.storage.Weight())
        self._jets = np.zeros(groups, dtype=np.int64)

    def add(self, jets: Jets, groups: IndexArray, weights: FloatArray) -> None:
        """Count some jets.

        Args:
            jets: a batch.
            groups: [jets] the group of each.
            weights: [jets] finite.
        """
        found = values_of(self._variable, jets)
        if self._variable.shape == "all":
            self._add_many(found, groups, weights)
        else:
            self._filled.fill(groups[found.jets], found.values, weight=weights[found.jets])
            self._jets += np.bincount(groups[found.jets], minlength=self._groups)

    def _add_many(self, found: Values, groups: IndexArray, weights: FloatArray) -> None:
        bins = len(self._in_bin)
        place = found.jets * bins + self._axis.index(found.values) + 1
        entries = np.bincount(place, minlength=len(groups) * bins)
        filled = np.flatnonzero(entries)
        jets = filled // bins
        # One entry for all that a jet has in a bin: its weight squared is then the jet's.
        weight = weights[jets] * entries[filled]
        self._filled.fill(groups[jets], self._in_bin[filled % bins], weight=weight)
        self._jets += np.bincount(groups[np.unique(found.jets)], minlength=self._groups)

    def counts(self) -> list[Counts]:
        """What was counted, one for each group."""
        contents = self._filled.view(flow=True)
        return [
            Counts(contents["value"][group].copy(), contents["variance"][group].copy(), int(self._jets[group]))
            for group in range(self._groups)
        ]

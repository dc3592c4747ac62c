"""Weights that make a distribution flat, or like another one, in bins that adapt to how many jets there are.

Several variables are taken one inside the other: the second in each bin of the first, and so on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

FINE_BINS = 120
"""The equal bins that are merged until enough jets are in each."""

MOST_BINS = 40
FEWEST_IN_A_BIN = 10.0
MOST_NEEDED_IN_A_BIN = 50.0
"""Effective jets a bin: between these, a twentieth of all."""

_STEEPEST = 1.5
"""Largest change of the logarithm of the density from the centre of an end bin to its edge."""


@dataclass(frozen=True)
class Points:
    """Jets in the space of some variables.

    Attributes:
        values: [jets, variables].
        weights: [jets].
    """

    values: Doubles
    weights: Doubles

    def __len__(self) -> int:
        return len(self.weights)

    def where(self, kept: NDArray[np.bool_]) -> "Points":
        """Some of them."""
        return Points(self.values[kept], self.weights[kept])


def effective_number(weights: Doubles) -> float:
    """Number of equal weights that would be as uncertain: (sum of weights)^2 / sum of squares; 0 for none."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def flattened(points: Points) -> Doubles:
    """New weights [jets] with the same sum whose distribution is flat between the smallest and the largest value.

    Each weight is divided by the density at its place: the logarithm of the bins' densities, interpolated between their
    centres, so that a spectrum is flat within wide bins too. Then each bin gets a share of the sum by its width.
    """
    total = float(points.weights.sum())
    flat = _flat(points, 0)
    return flat * (total / flat.sum()) if flat.sum() > 0 else points.weights


def _flat(points: Points, variable: int) -> Doubles:
    """Flat in this variable and those after it, with a sum of 1."""
    values, weights = points.values[:, variable], points.weights
    deepest = points.values.shape[1] - 1
    edges = _edges([values], [weights], needed_below=deepest - variable)
    bins, widths = _bins(values, edges), np.diff(edges)
    contents = np.bincount(bins, weights, minlength=len(widths)).astype(np.float64)
    result = weights / _densities(values, edges, contents)
    if variable < deepest:
        for number in range(len(widths)):
            inside = bins == number
            if inside.any():
                result[inside] = _flat(Points(points.values[inside], result[inside]), variable + 1)
    sums = np.bincount(bins, result, minlength=len(widths))
    shares = np.where(sums > 0, widths / widths[sums > 0].sum(), 0.0)
    scale: Doubles = np.divide(shares, sums, out=np.zeros_like(shares), where=sums > 0)
    return result * scale[bins]


def like(points: Points, wanted: Points) -> Doubles:
    """New weights [jets] of `points` so that sum and distribution are those of `wanted`, in bins of the variables.

    What lies outside the range of the other counts in the bin at the end.
    """
    return points.weights * _ratios(points, wanted, 0)


def _ratios(points: Points, wanted: Points, variable: int) -> Doubles:
    columns = points.values[:, variable], wanted.values[:, variable]
    deepest = points.values.shape[1] - 1
    edges = _edges(list(columns), [points.weights, wanted.weights], needed_below=deepest - variable)
    own, others = (_bins(column, edges) for column in columns)
    result = np.zeros(len(points))
    if variable < deepest:
        for number in range(len(edges) - 1):
            inside = own == number
            if inside.any():
                part = points.where(inside)
                result[inside] = _ratios(part, wanted.where(others == number), variable + 1)
        return result
    mine = np.bincount(own, points.weights, minlength=len(edges) - 1)
    theirs = np.bincount(others, wanted.weights, minlength=len(edges) - 1)
    ratios: Doubles = np.divide(theirs, mine, out=np.zeros_like(mine), where=mine > 0)
    return ratios[own]


def _edges(columns: list[Doubles], weights: list[Doubles], needed_below: int) -> Doubles:
    """Edges of bins that hold enough effective jets of each group; one bin over all where there are too few.

    Args:
        columns, weights: of each group, [jets].
        needed_below: how many further variables are to be divided inside each bin.
    """
    everything = np.concatenate(columns)
    low, high = float(everything.min()), float(everything.max())
    if not high > low:
        return np.array([low - 0.5, low + 0.5])
    fine = np.linspace(low, high, FINE_BINS + 1)
    sums = np.stack([np.histogram(column, fine, weights=own)[0] for column, own in zip(columns, weights, strict=True)])
    squares = np.stack(
        [np.histogram(column, fine, weights=own**2)[0] for column, own in zip(columns, weights, strict=True)]
    )
    needed = np.array([_needed(own, needed_below) for own in weights])
    return fine[_merged(sums, squares, needed)]


def _needed(weights: Doubles, needed_below: int) -> float:
    """Effective jets that a bin must hold, so that there are at most `MOST_BINS`; more where it is divided further."""
    number = effective_number(weights)
    enough = float(np.clip(number / 20, FEWEST_IN_A_BIN, MOST_NEEDED_IN_A_BIN))
    for _ in range(needed_below):
        enough = max(enough, np.sqrt(number * FEWEST_IN_A_BIN))
    return max(enough, number / MOST_BINS)


def _merged(sums: Doubles, squares: Doubles, needed: Doubles) -> list[int]:
    """Which fine edges stay, so that between two of them enough effective jets of each group lie."""
    kept = [0]
    total, square = np.zeros(len(sums)), np.zeros(len(sums))
    for number in range(sums.shape[1]):
        total, square = total + sums[:, number], square + squares[:, number]
        enough = np.divide(total**2, square, out=np.zeros_like(total), where=square > 0) >= needed
        if bool((enough & (total > 0)).all()):
            kept.append(number + 1)
            total, square = np.zeros(len(sums)), np.zeros(len(sums))
    # What is left over at the end goes to the last bin.
    return [*kept[:-1], sums.shape[1]] if len(kept) > 1 else [0, sums.shape[1]]


def _bins(values: Doubles, edges: Doubles) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def _densities(values: Doubles, edges: Doubles, contents: Doubles) -> Doubles:
    """The density at each value, up to a factor; where a bin holds nothing positive, 1."""
    if len(contents) < 2 or not (contents > 0).all():
        return np.ones_like(values)
    centres = (edges[:-1] + edges[1:]) / 2
    logarithms = np.log(contents / np.diff(edges))
    ends = [_beyond(centres, logarithms, edges[0], (0, 1)), _beyond(centres, logarithms, edges[-1], (-1, -2))]
    places = np.concatenate([edges[:1], centres, edges[-1:]])
    result: Doubles = np.exp(np.interp(values, places, np.concatenate([ends[:1], logarithms, ends[1:]])))
    return result


def _beyond(centres: Doubles, logarithms: Doubles, edge: float, nearest: tuple[int, int]) -> float:
    first, second = nearest
    slope = (logarithms[first] - logarithms[second]) / (centres[first] - centres[second])
    return float(logarithms[first] + np.clip(slope * (edge - centres[first]), -_STEEPEST, _STEEPEST))

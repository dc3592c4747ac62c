"""Weights that make a distribution flat or like another one, in adaptive bins; distributions before and after a step.

Several variables are taken one inside the other: the second in each bin of the first, and so on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import Doubles, Spectra, WeightedHistogram
from cal_ratio_trainer.evaluation.scored import effective_number

_BINS = (18, 50)
"""The fewest and the most bins."""

FINE_BINS = 120
"""The equal bins that are merged until enough jets are in each."""

MAX_BINS = 40

MIN_PER_BIN = 10.0

MAX_NEEDED_PER_BIN = 50.0
"""Limits on the effective jets per bin, which are a twentieth of all between these."""

_MAX_LOG_CHANGE = 0.7
"""Largest change of the logarithm of a weight from the centre of an end bin to its edge."""

_ROUNDS = 6

_DAMPING = 0.7


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """Effect of a step on the weights.

    Attributes:
        step: 'samples', 'reweight_mc' or 'flatten'.
        before, after: one entry a variable each, with the same binning.
    """

    step: str
    before: tuple[Spectra, ...]
    after: tuple[Spectra, ...]


def spectra(
    variable: str, values: Doubles, weights: Doubles, groups: Mapping[str, NDArray[np.bool_]], edges: Doubles
) -> Spectra:
    """Distributions of groups of jets.

    Args:
        variable: name of the variable.
        values, weights: [jets].
        groups: the jets of each group by its name, [jets] bool.
        edges: [bins + 1].
    """
    made = {
        name: WeightedHistogram.filled(values[own], weights[own], edges) for name, own in groups.items() if own.any()
    }
    return Spectra(variable, edges, made)


def edges_for(values: Doubles) -> Doubles:
    """Equal bins of round width that hold all values: of the widths that give 18 to 50 bins the one that fits best.

    >>> edges_for(np.array([40.1, 499.8]))[[0, 1, -1]].tolist()
    [40.0, 60.0, 500.0]
    """
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    power = 10.0 ** int(np.floor(np.log10((high - low) / _BINS[0])))
    widths = [step * power for step in (5, 2.5, 2, 1, 0.5)]
    # First and last edge in units of the width; a value beyond an edge by rounding only needs no further bin.
    chosen = [
        (int(np.floor(low / width + 1e-9)), int(np.ceil(high / width - 1e-9)), width)
        for width in widths
        if _BINS[0] <= (high - low) / width <= _BINS[1]
    ]
    first, last, width = min(chosen, key=lambda each: (each[1] - each[0]) * each[2])
    edges: Doubles = width * np.arange(first, last + 1, dtype=np.float64)
    return edges


@dataclass(frozen=True)
class WeightedPoints:
    """Jets in the space of some variables.

    Attributes:
        values: [jets, variables].
        weights: [jets].
    """

    values: Doubles
    weights: Doubles

    def __len__(self) -> int:
        return len(self.weights)

    def where(self, kept: NDArray[np.bool_]) -> "WeightedPoints":
        """Some of them."""
        return WeightedPoints(self.values[kept], self.weights[kept])


def flattened(points: WeightedPoints) -> Doubles:
    """New weights [jets] with the same sum whose distribution is flat between the smallest and the largest value."""
    flat = points.weights * _factors(points, None, 0)
    return flat * (points.weights.sum() / flat.sum()) if flat.sum() > 0 else points.weights


def like(points: WeightedPoints, wanted: WeightedPoints) -> Doubles:
    """New weights [jets] of `points` so that sum and distribution are those of `wanted`, in bins of the variables.

    What lies outside the range of the other counts in the bin at the end.
    """
    result = points.weights * _factors(points, wanted, 0)
    return result * (wanted.weights.sum() / result.sum()) if result.sum() > 0 else points.weights


def _factors(points: WeightedPoints, wanted: WeightedPoints | None, variable: int) -> Doubles:
    """Factors of the weights that give the wanted distribution in this variable and, inside its bins, in the next.

    None wants a flat one. Factors for the next variable come from the weights as they were: those that follow from this
    one differ so much within a wide bin of a steep spectrum that few jets would decide.
    """
    groups = [points] if wanted is None else [points, wanted]
    columns, weights = [each.values[:, variable] for each in groups], [each.weights for each in groups]
    edges = _edges(columns, weights, needed_below=0)
    contents = np.diff(edges)
    if wanted is not None:
        contents = np.bincount(_bins(columns[1], edges), weights[1], minlength=len(contents)).astype(np.float64)
    result = _towards(columns[0], weights[0], edges, contents)
    left = points.values.shape[1] - 1 - variable
    if left == 0:
        return result
    coarse = _edges(columns, weights, needed_below=left)
    bins = [_bins(column, coarse) for column in columns]
    for number in range(len(coarse) - 1):
        inside = bins[0] == number
        aim = None if wanted is None else wanted.where(bins[1] == number)
        if inside.any() and (aim is None or len(aim)):
            result[inside] *= _factors(points.where(inside), aim, variable + 1)
    return result * _bin_factors(columns[0], weights[0] * result, edges, contents)


def _towards(values: Doubles, weights: Doubles, edges: Doubles, wanted: Doubles) -> Doubles:
    """A smooth function of the value times a factor for each bin, so that each bin has the wanted contents.

    The function's logarithm is a straight line between the centres of the bins. Its values there are changed until the
    contents are right, so that a steep spectrum is right within wide bins too.
    """
    bins, factors = _bins(values, edges), np.ones_like(weights)
    nodes = np.zeros(len(wanted))
    for number in range(_ROUNDS if len(wanted) > 1 else 0):
        contents = np.bincount(bins, weights * factors, minlength=len(wanted))
        usable = (contents > 0) & (wanted > 0)
        nodes[usable] += (_DAMPING if number else 1.0) * np.log(wanted[usable] / contents[usable])
        factors = np.exp(_interpolated(values, edges, nodes))
    result: Doubles = factors * _bin_factors(values, weights * factors, edges, wanted)
    return result


def _bin_factors(values: Doubles, weights: Doubles, edges: Doubles, wanted: Doubles) -> Doubles:
    """For each jet the factor of its bin; a bin that holds nothing positive leaves its share to the others."""
    bins = _bins(values, edges)
    contents = np.bincount(bins, weights, minlength=len(wanted))
    filled = contents > 0
    factors = np.divide(wanted, contents, out=np.zeros(len(wanted)), where=filled)
    share = wanted.sum() / wanted[filled].sum() if wanted[filled].sum() > 0 else 1.0
    result: Doubles = (factors * share)[bins]
    return result


def _interpolated(values: Doubles, edges: Doubles, nodes: Doubles) -> Doubles:
    centres = (edges[:-1] + edges[1:]) / 2
    ends = [_beyond(centres, nodes, edges[0], 0, 1), _beyond(centres, nodes, edges[-1], -1, -2)]
    places = np.concatenate([edges[:1], centres, edges[-1:]])
    result: Doubles = np.interp(values, places, np.concatenate([ends[:1], nodes, ends[1:]]))
    return result


def _beyond(centres: Doubles, nodes: Doubles, edge: float, first: int, second: int) -> float:
    """Value at an edge on the line through the nearest (`first`) and the second nearest node."""
    slope = (nodes[first] - nodes[second]) / (centres[first] - centres[second])
    return float(nodes[first] + np.clip(slope * (edge - centres[first]), -_MAX_LOG_CHANGE, _MAX_LOG_CHANGE))


def _edges(columns: list[Doubles], weights: list[Doubles], needed_below: int) -> Doubles:
    """Edges of bins that hold enough effective jets of each group; one bin over all if there are too few.

    Args:
        columns, weights: values and weights of each group, [jets].
        needed_below: number of further variables to divide inside each bin.
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
    """Effective jets that a bin must hold, so that there are at most `MAX_BINS`; more if it is divided further."""
    number = effective_number(weights)
    enough = float(np.clip(number / 20, MIN_PER_BIN, MAX_NEEDED_PER_BIN))
    for _ in range(needed_below):
        enough = max(enough, np.sqrt(number * MIN_PER_BIN))
    return max(enough, number / MAX_BINS)


def _merged(sums: Doubles, squares: Doubles, needed: Doubles) -> list[int]:
    """Selects fine edges so that each bin between them has enough effective jets of each group."""
    kept = [0]
    total, square = np.zeros(len(sums)), np.zeros(len(sums))
    for number in range(sums.shape[1]):
        total, square = total + sums[:, number], square + squares[:, number]
        enough = np.divide(total**2, square, out=np.zeros_like(total), where=square > 0) >= needed
        if bool((enough & (total > 0)).all()):
            kept.append(number + 1)
            total, square = np.zeros(len(sums)), np.zeros(len(sums))
    # The rest goes to the last bin.
    return [*kept[:-1], sums.shape[1]] if len(kept) > 1 else [0, sums.shape[1]]


def _bins(values: Doubles, edges: Doubles) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)

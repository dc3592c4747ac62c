"""Bins for a variable, chosen from samples of its values: round edges, a range without the far tails."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import WeightedSample

_LOGARITHMIC_ABOVE = 300.0
_MIN_BINS = 8
_ENOUGH_VALUES = 50
_REACH_OF_TAILS = 3.0
"""Tails are shown as far as there are values up to so many widths of the central nine tenths away from these."""

_RESOLUTION = 1e-12
"""Values that differ by less than this share of themselves differ by rounding, and bins between them would too."""

_MIN_RANGE = 1e-300
"""Below this a bin's width would be no normal number."""

_FULL_CIRCLE_FROM = 0.9
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def bin_edges(
    samples: Sequence[WeightedSample], max_bins: int = 40, central_share: float = 0.99
) -> NDArray[np.float64]:
    """Edges of bins that show all samples.

    The range covers the central part of each sample, so that a small class is seen beside a large one; outliers that
    lie far from nine tenths of the values do not stretch it. Angles that go all the way round get -pi to pi, whole
    numbers a bin each (or as many to a bin), positive values over more than two and a half orders of magnitude bins
    of equal ratio, everything else round edges. How many bins there are depends on the smallest sample that is worth
    a histogram, and on how much of the range the bulk of the values takes.

    Args:
        samples: values with their weights, of which the absolute value counts; those without values are passed over.
        max_bins: largest number of bins.
        central_share: share of each sample's values that the range covers, far outliers apart.

    Returns:
        [bins + 1] rising; the unit interval in one bin where there is no value at all.
    """
    filled = [sample for sample in samples if len(sample)]
    if not filled:
        return np.array([0.0, 1.0])
    bounds = np.array([_bounds(sample, central_share) for sample in filled])
    low, high = float(bounds[:, 0].min()), float(bounds[:, 1].max())
    if high - low <= max(_RESOLUTION * max(abs(low), abs(high)), _MIN_RANGE):
        half = max(0.5, max(abs(low), abs(high)) * 1e-3)
        return np.array([low - half, high + half])
    if all(np.array_equal(sample.values, np.round(sample.values)) for sample in filled):
        return _whole_number_edges(low, high, max_bins)
    numbers = sorted(len(sample) for sample in filled)
    deciding = next((number for number in numbers if number >= _ENOUGH_VALUES), numbers[-1])
    # Rice's rule: twice the cubic root.
    wanted = max(min(_MIN_BINS, max_bins), min(max_bins, round(2 * math.cbrt(deciding))))
    low_end, high_end = _FULL_CIRCLE_FROM * math.pi, 1.001 * math.pi
    if low_end < -low <= high_end and low_end < high <= high_end:
        return np.linspace(-1, 1, wanted + 1) * math.pi * (1 + 1e-6)
    if low > 0 and high / low > _LOGARITHMIC_ABOVE:
        return np.geomspace(low, high * (1 + 1e-6), wanted + 1)
    narrowest = float(np.median(bounds[:, 2]))
    stretched = round(wanted * min((high - low) / narrowest, 5.0)) if narrowest > 0 else max_bins
    return _round_edges(low, high, min(max(wanted, stretched), max_bins))


def is_logarithmic(edges: NDArray[np.float64]) -> bool:
    """True for bins of equal ratio, as `bin_edges` makes them."""
    if edges[0] <= 0 or len(edges) < 3 or edges[-1] / edges[0] <= _LOGARITHMIC_ABOVE:
        return False
    return math.isclose(edges[1] / edges[0], edges[-1] / edges[-2], rel_tol=1e-3)


def _bounds(sample: WeightedSample, central_share: float) -> tuple[float, float, float]:
    """(lowest, highest, width of the central nine tenths) of what is shown of a sample."""
    tail = (1 - central_share) / 2
    lowest, low, high, highest = _quantiles(sample, (tail, 0.05, 0.95, 1 - tail))
    # Over orders of magnitude nothing is an outlier: the axis is logarithmic.
    if high > low and not (lowest > 0 and highest / lowest > _LOGARITHMIC_ABOVE):
        reach = _REACH_OF_TAILS * (high - low)
        near = sample.values[(sample.values >= low - reach) & (sample.values <= high + reach)]
        # As far as there are values: behind the last of them the axis would be empty.
        lowest, highest = max(lowest, float(near.min())), min(highest, float(near.max()))
    return lowest, highest, high - low


def _quantiles(sample: WeightedSample, shares: Sequence[float]) -> list[float]:
    """The smallest values at which so much of the weight is reached."""
    order = np.argsort(sample.values)
    reached = np.cumsum(np.abs(sample.weights[order], dtype=np.float64))
    if not reached[-1] > 0:
        reached = np.arange(1.0, len(order) + 1)
    places = np.searchsorted(reached, np.array(shares) * reached[-1] * (1 - 1e-12))
    return [float(sample.values[order[min(place, len(order) - 1)]]) for place in places]


def _whole_number_edges(low: float, high: float, most: int) -> NDArray[np.float64]:
    low, high = math.floor(low), math.ceil(high)
    numbers = high - low + 1
    step = 1 if numbers <= 1.5 * most else math.ceil(numbers / most)
    bins = math.ceil(numbers / step)
    return low - 0.5 + step * np.arange(bins + 1, dtype=np.float64)


def _round_edges(low: float, high: float, wanted: int) -> NDArray[np.float64]:
    exact = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(exact))
    width = power * next(step for step in _ROUND if step * power >= exact * (1 - 1e-9))
    first, last = math.floor(low / width), math.ceil(high / width)
    if high >= last * width:
        last += 1
    return width * np.arange(first, last + 1, dtype=np.float64)

"""Bins for a variable, chosen from samples of its values: round edges, a range without the far tails."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

_LOGARITHMIC_ABOVE = 300.0
_FEWEST_BINS = 8
_FULL_CIRCLE_FROM = 0.9
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class BinChoice:
    """How bins are chosen.

    Attributes:
        most: at most so many.
        central_share: share of each sample's values that the range covers at least.
    """

    most: int = 40
    central_share: float = 0.99


def bin_edges(samples: Sequence[FloatArray], choice: BinChoice) -> NDArray[np.float64]:
    """Edges that show all samples.

    The range covers the central part of each sample, so that a small class is seen beside a large one. Angles that go
    all the way round get -pi to pi, whole numbers a bin each (or as many to a bin), positive values over more than
    two and a half orders of magnitude bins of equal ratio, everything else round edges. The smallest sample decides
    how many bins there are.

    Args:
        samples: [values] each, all finite; those without values are passed over.
        choice: see `BinChoice`.

    Returns:
        [bins + 1] rising; the unit interval in one bin where there is no value at all.
    """
    filled = [np.asarray(sample, dtype=np.float64) for sample in samples if len(sample)]
    if not filled:
        return np.array([0.0, 1.0])
    tail = (1 - choice.central_share) / 2
    bounds = np.array([np.quantile(sample, [tail, 1 - tail]) for sample in filled])
    low, high = float(bounds[:, 0].min()), float(bounds[:, 1].max())
    wanted = _bin_count(min(len(sample) for sample in filled), choice.most)
    if low == high:
        return _around(low)
    if all(np.array_equal(sample, np.round(sample)) for sample in filled):
        return _whole_number_edges(low, high, choice.most)
    if _goes_round(low, high):
        return np.linspace(-1, 1, wanted + 1) * math.pi * (1 + 1e-6)
    if low > 0 and high / low > _LOGARITHMIC_ABOVE:
        return np.geomspace(low, high * (1 + 1e-6), wanted + 1)
    return _round_edges(low, high, wanted)


def is_logarithmic(edges: NDArray[np.float64]) -> bool:
    """True for bins of equal ratio, as `bin_edges` makes them."""
    return bool(edges[0] > 0 and edges[-1] / edges[0] > _LOGARITHMIC_ABOVE and len(edges) > 2)


def _bin_count(values: int, most: int) -> int:
    # Rice's rule: twice the cubic root.
    return max(min(_FEWEST_BINS, most), min(most, round(2 * math.cbrt(values))))


def _around(value: float) -> NDArray[np.float64]:
    half = max(0.5, abs(value) * 1e-3)
    return np.array([value - half, value + half])


def _whole_number_edges(low: float, high: float, most: int) -> NDArray[np.float64]:
    low, high = math.floor(low), math.ceil(high)
    numbers = high - low + 1
    step = 1 if numbers <= 1.5 * most else math.ceil(numbers / most)
    bins = math.ceil(numbers / step)
    return low - 0.5 + step * np.arange(bins + 1, dtype=np.float64)


def _goes_round(low: float, high: float) -> bool:
    return (
        -math.pi * 1.001 <= low < -_FULL_CIRCLE_FROM * math.pi and _FULL_CIRCLE_FROM * math.pi < high <= math.pi * 1.001
    )


def _round_edges(low: float, high: float, wanted: int) -> NDArray[np.float64]:
    exact = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(exact))
    width = power * next(step for step in _ROUND if step * power >= exact * (1 - 1e-9))
    first, last = math.floor(low / width), math.ceil(high / width)
    if high >= last * width:
        last += 1
    return width * np.arange(first, last + 1, dtype=np.float64)

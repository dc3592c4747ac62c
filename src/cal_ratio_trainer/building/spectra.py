"""Weighted distributions of the jets of a build, before and after a step, for its report."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import WeightedHistogram

Doubles = NDArray[np.float64]

_BINS = (18, 50)
"""The fewest and the most bins."""


@dataclass(frozen=True, eq=False)
class Spectra:
    """The distributions of several groups of jets in one variable.

    Attributes:
        variable: name of the column.
        edges: [bins + 1].
        groups: histograms of the groups that hold jets, by name.
    """

    variable: str
    edges: Doubles
    groups: Mapping[str, WeightedHistogram]


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
        variable: its name.
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

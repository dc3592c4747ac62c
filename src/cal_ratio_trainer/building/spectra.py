"""Weighted distributions of the jets of a build, before and after a step, for its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

BINS = 23
"""Of any variable: 20 GeV of a jet pt from 40 to 500 GeV."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The distribution of one group of jets.

    Attributes:
        name: of the group.
        jets: how many there are.
        sums: [bins] sums of weights.
        errors: [bins] square roots of the sums of squared weights.
    """

    name: str
    jets: int
    sums: Doubles
    errors: Doubles


@dataclass(frozen=True, eq=False)
class Spectra:
    """The distributions of several groups of jets in one variable.

    Attributes:
        variable: name of the column.
        edges: [bins + 1].
        groups: as far as they hold jets.
    """

    variable: str
    edges: Doubles
    groups: tuple[Spectrum, ...]


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """What a step did to the weights.

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
    made = []
    for name, own in groups.items():
        if own.any():
            sums = np.histogram(values[own], edges, weights=weights[own])[0]
            errors = np.sqrt(np.histogram(values[own], edges, weights=weights[own] ** 2)[0])
            made.append(Spectrum(name, int(own.sum()), sums, errors))
    return Spectra(variable, edges, tuple(made))


def edges_for(values: Sequence[Doubles] | Doubles) -> Doubles:
    """Equal bins between the smallest and the largest value, rounded outwards to a tenth of the range."""
    everything = np.concatenate(values) if isinstance(values, list | tuple) else np.asarray(values)
    low, high = (float(everything.min()), float(everything.max())) if len(everything) else (0.0, 1.0)
    if not high > low:
        return np.linspace(low - 0.5, low + 0.5, BINS + 1)
    unit = 10.0 ** np.floor(np.log10((high - low) / 4))
    return np.linspace(np.floor(low / unit) * unit, np.ceil(high / unit) * unit, BINS + 1)

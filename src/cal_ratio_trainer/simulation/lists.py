"""Jets, and lists of different lengths that belong to them, as flat arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.draws import FloatArray, IntArray


@dataclass(frozen=True)
class Axes:
    """Jets by their transverse momentum [GeV], pseudorapidity and azimuth, each [jets]."""

    pt: FloatArray
    eta: FloatArray
    phi: FloatArray

    def __len__(self) -> int:
        return len(self.pt)

    @property
    def lp(self) -> FloatArray:
        """ln(pt / 50 GeV), [jets]; many parameters depend on it."""
        return np.asarray(np.log(self.pt / np.float32(50)))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Axes":
        """The jets of a mask [jets], or those at the given positions, in that order."""
        return Axes(self.pt[chosen], self.eta[chosen], self.phi[chosen])

    @staticmethod
    def concatenate(parts: Sequence["Axes"]) -> "Axes":
        """One after the other."""
        pt, eta, phi = (np.concatenate([getattr(part, name) for part in parts]) for name in ("pt", "eta", "phi"))
        return Axes(pt, eta, phi)


@dataclass(frozen=True)
class Lists:
    """Constituents of jets: columns [constituents] in the order of the jets, counts [jets]."""

    counts: IntArray
    columns: Mapping[str, NDArray[Any]]

    @property
    def owners(self) -> IntArray:
        """For each thing the position of its jet, [things]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, jets: IntArray) -> "Lists":
        """The lists of the jets at the given positions, in that order; a position may come more than once."""
        index = within(self.counts, jets)
        return Lists(self.counts[jets], {name: column[index] for name, column in self.columns.items()})

    def where(self, kept: NDArray[np.bool_]) -> "Lists":
        """Entries for which `kept` [entries] is true."""
        counts = np.bincount(self.owners[kept], minlength=len(self.counts))
        return Lists(counts, {name: column[kept] for name, column in self.columns.items()})

    @staticmethod
    def concatenate(parts: Sequence["Lists"]) -> "Lists":
        """The jets of one after those of the other; all must have the columns of the first."""
        names = list(parts[0].columns)
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
        return Lists(np.concatenate([part.counts for part in parts]), columns)


@dataclass(frozen=True)
class Constituents:
    """Constituents of jets; all three kinds have the same number of jets."""

    clusters: Lists
    tracks: Lists
    muon_segments: Lists

    @staticmethod
    def concatenate(parts: Sequence["Constituents"]) -> "Constituents":
        """The jets of one after those of the other."""
        return Constituents(
            Lists.concatenate([part.clusters for part in parts]),
            Lists.concatenate([part.tracks for part in parts]),
            Lists.concatenate([part.muon_segments for part in parts]),
        )

    def take(self, jets: IntArray) -> "Constituents":
        """Entries of the jets at the given positions, in that order."""
        return Constituents(self.clusters.take(jets), self.tracks.take(jets), self.muon_segments.take(jets))


def within(counts: IntArray, rows: IntArray) -> IntArray:
    """Positions of the things that belong to the given rows, in their order, when row r has counts[r] of them."""
    starts = np.cumsum(counts) - counts
    wanted = counts[rows]
    first = np.cumsum(wanted) - wanted
    return np.asarray(np.arange(int(wanted.sum())) + np.repeat(starts[rows] - first, wanted))


def slots(counts: IntArray) -> IntArray:
    """For each thing its position in its own list, [things]."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def sum_by(owners: IntArray, values: NDArray[Any], rows: int) -> FloatArray:
    """Sum of the values of each row, [rows]."""
    return np.bincount(owners, weights=values, minlength=rows).astype(np.float32)

"""Arrays of jets, and things in groups of different sizes: jets of events, clusters of jets or of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_ratio_trainer.simulation.draws import FloatArray, IntArray

MULTIJET, DECAY, HALO, IN_TIME = 0, 1, 2, 3
"""Kinds of jets, by the way their constituents are made."""

_DECAY = ("transverse", "longitudinal", "opening", "delay")
JET = np.dtype([*((name, np.float32) for name in ("pt", "eta", "phi", *_DECAY)), ("maker", np.int8)], align=True)
"""A jet: transverse momentum [GeV], pseudorapidity and azimuth; MULTIJET, DECAY, HALO or IN_TIME; and the decay that
made a jet of maker DECAY: distance from the beam line [mm] and along the beam [mm, absolute], angle between the two
decay products as the calorimeter sees it, delay relative to light [ns]."""

JetArray = NDArray[np.void]
"""Jets, [jets] of type JET."""


def jet_array(
    pt: ArrayLike, eta: ArrayLike, phi: ArrayLike, maker: ArrayLike = MULTIJET, **decay: ArrayLike
) -> JetArray:
    """Jets from arrays [jets] of the fields of JET."""
    jets = np.zeros(np.shape(pt), JET)
    for name, values in {"pt": pt, "eta": eta, "phi": phi, "maker": maker, **decay}.items():
        jets[name] = values
    return jets


def log_pt(jets: JetArray) -> FloatArray:
    """ln(pt / 50 GeV), [jets]; many parameters depend on it."""
    return np.asarray(np.log(jets["pt"] / np.float32(50)))


@dataclass(frozen=True)
class Grouped:
    """Things in groups, in the order of the groups.

    Attributes:
        counts: number of things in each group, [groups].
        columns: numbers of the things by name, each [things].
    """

    counts: IntArray
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    @property
    def owners(self) -> IntArray:
        """Position of the group of each thing, [things]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, groups: IntArray) -> "Grouped":
        """The groups at the given positions, in that order; a position may come more than once."""
        return replace(self.ordered(within(self.counts, groups)), counts=self.counts[groups])

    def where(self, kept: NDArray[np.bool_]) -> "Grouped":
        """The same groups with the things for which `kept` [things] is true."""
        counts = np.bincount(self.owners[kept], minlength=len(self.counts))
        return replace(self.ordered(kept), counts=counts)

    def ordered(self, order: NDArray[Any]) -> "Grouped":
        """Things at the given positions, which must be in the same groups."""
        return self.with_columns({name: column[order] for name, column in self.columns.items()})

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> "Grouped":
        """The same things with some columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})

    def merged(self, sizes: IntArray) -> "Grouped":
        """Groups of `sizes` [larger groups] groups each, one after the other."""
        ends = np.concatenate([[0], np.cumsum(self.counts)])[np.cumsum(sizes)]
        return replace(self, counts=np.diff(ends, prepend=0))

    def followed_by(self, other: "Grouped") -> "Grouped":
        """The things of each group of this, then the things of the same group of the other."""
        groups = len(self.counts)
        both = concatenated([self, other]).take(np.arange(2 * groups).reshape(2, groups).T.ravel())
        return replace(both, counts=self.counts + other.counts)


Constituents = dict[str, Grouped]
"""Constituents of the same jets by kind's name: 'clusters', 'tracks' and 'muon_segments'."""


def concatenated(parts: Sequence[Grouped]) -> Grouped:
    """The groups of one after the groups of the other; all must have the columns of the first."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    return Grouped(np.concatenate([part.counts for part in parts]), columns)


def chosen_constituents(parts: Sequence[Constituents], jets: IntArray) -> Constituents:
    """Constituents of the jets at the given positions among the jets of all parts."""
    return {kind: concatenated([part[kind] for part in parts]).take(jets) for kind in parts[0]}


def within(counts: IntArray, rows: IntArray) -> IntArray:
    """Positions of the things that belong to the given rows, in their order, when row r has counts[r] of them."""
    starts = np.cumsum(counts) - counts
    wanted = counts[rows]
    first = np.cumsum(wanted) - wanted
    return np.asarray(np.arange(int(wanted.sum())) + np.repeat(starts[rows] - first, wanted))


def slots(counts: IntArray) -> IntArray:
    """Position of each thing in its group, [things]."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def sum_by(owners: IntArray, values: NDArray[Any], rows: int) -> FloatArray:
    """Sum of the values of each row, [rows]."""
    return np.bincount(owners, weights=values, minlength=rows).astype(np.float32)

"""Quantities of jets by name, their values, and their weighted histograms, counted batch by batch.

A name is that of a scalar column ('jet_pt'), of a feature of all constituents ('clus_pt'), of the same in one slot as
the earlier program's flat frames call it ('clus_pt_0', the leading one), or of a number of constituents
('n_clusters'). Old spellings ('nn_MSeg_t0_1', 'jet_pT') mean the same.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.jets.legacy.frames import name_of_today
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Constituent, Schema
from cal_ratio_trainer.jets.table import Jets

Shape = Literal["scalar", "slot", "all", "count"]


@dataclass(frozen=True)
class Variable:
    """Quantity of a jet, or of its constituents.

    Attributes:
        name: today's spelling; tells variables apart.
        column: the column it is read from; for a number of constituents its own name.
        shape: a scalar of the jet, a feature of the constituent in one slot or of all constituents, or their number.
        slot: number of the slot, from 0.
        schema: the features of the file that has it.
    """

    name: str
    column: str
    shape: Shape
    slot: int = 0
    schema: Schema = field(default=CALRATIO_2019, compare=False, repr=False)

    @property
    def kind(self) -> Constituent | None:
        """The constituents it is about; None for a scalar."""
        if self.shape == "scalar":
            return None
        return next(k for k in self.schema.constituents if self.name == f"n_{k.name}" or self.column in k.columns)


@dataclass(frozen=True)
class Values:
    """Values of a variable in some jets, without non-finite and 'not measured' ones.

    Attributes:
        values: [entries] float.
        jets: [entries] position of the jet that each belongs to, rising.
    """

    values: NDArray[np.floating]
    jets: NDArray[np.int64]


COUNTS = tuple(Variable(f"n_{kind.name}", f"n_{kind.name}", "count") for kind in CALRATIO_2019.constituents)
"""The numbers of constituents of each kind."""


def find_variable(names: Iterable[str], scalars: Collection[str], schema: Schema = CALRATIO_2019) -> Variable | None:
    """The first of several names that a file with these scalar columns and features has; None where it has none."""
    for name in names:
        found = _variable(name, scalars, schema)
        if found is not None:
            return found
    return None


def _variable(name: str, scalars: Collection[str], schema: Schema) -> Variable | None:
    if name in scalars:
        return Variable(name, name, "scalar", schema=schema)
    today = name_of_today(name)
    if today in scalars:
        return Variable(today, today, "scalar", schema=schema)
    if today in schema.list_columns:
        return Variable(today, today, "all", schema=schema)
    if any(today == f"n_{kind.name}" for kind in schema.constituents):
        return Variable(today, today, "count", schema=schema)
    column, _, slot = today.rpartition("_")
    kind = next((kind for kind in schema.constituents if column in kind.columns), None)
    if kind is not None and slot.isdecimal() and int(slot) < kind.limit:
        return Variable(f"{column}_{int(slot)}", column, "slot", int(slot), schema)
    return None


def known_names(scalars: Collection[str], schema: Schema = CALRATIO_2019) -> list[str]:
    """All names that `find_variable` takes, but for slots other than the first."""
    columns = [column for kind in schema.constituents for column in kind.columns]
    counts = [f"n_{kind.name}" for kind in schema.constituents]
    return [*scalars, *columns, *counts, *(f"{column}_0" for column in columns)]


def is_number(column: pa.ChunkedArray) -> bool:
    """True for a scalar column that can be drawn: numbers and truth values."""
    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def values_of(variable: Variable, jets: Jets) -> Values:
    """The values of a variable in some jets.

    A jet that lacks the slot has no entry; null, NaN, infinite and 'not measured' values are none either. A column of
    text has no values.

    Raises:
        MissingColumn: there is no such scalar column.
    """
    values, owners = _raw_values(variable, jets)
    kept = np.isfinite(values)
    feature = jets.schema.columns.get(variable.column)
    if feature is not None and feature.not_measured is not None:
        kept &= values != feature.not_measured
    return Values(values, owners) if kept.all() else Values(values[kept], owners[kept])


def _raw_values(variable: Variable, jets: Jets) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    everyone = np.arange(len(jets), dtype=np.int64)
    kind = variable.kind
    if kind is None:
        column = scalar_numbers(variable.column, jets)
        return (column, everyone) if column is not None else (np.zeros(0), everyone[:0])
    ragged = jets.constituents[kind.name]
    if variable.shape == "count":
        return ragged.lengths.astype(np.float64), everyone
    position = kind.columns.index(variable.column)
    if variable.shape == "all":
        return ragged.values[:, position], ragged.owners()
    owners = np.flatnonzero(ragged.lengths > variable.slot)
    return ragged.values[ragged.offsets[owners] + variable.slot, position], owners


def scalar_numbers(name: str, jets: Jets) -> NDArray[np.float64] | None:
    """A scalar column [jets] in double precision, nulls as NaN; None for a column of text.

    Raises:
        MissingColumn: there is no such column.
    """
    if name in jets and not is_number(jets.scalars.column(name)):
        return None
    return jets[name].astype(np.float64)


class VariableCounter:
    """Weighted histograms of one variable for groups of jets that exclude each other.

    Where a jet has several entries (all its constituents), the variance takes jets as independent, not entries:
    constituents of one jet go together.

    Args:
        variable: the quantity.
        edges: [bins + 1], rising; the last bin excludes its upper edge.
        groups: number of groups of jets.
    """

    def __init__(self, variable: Variable, edges: NDArray[np.float64], groups: int) -> None:
        import hist

        self._variable, self._edges, self._groups = variable, edges, groups
        self._axis = hist.axis.Variable(edges)
        self._in_bin = np.concatenate([[-math.inf], (edges[:-1] + edges[1:]) / 2, [math.inf]])
        groups_axis = hist.axis.Integer(0, groups, flow=False)
        self._filled = hist.Hist(groups_axis, self._axis, storage=hist.storage.Weight())
        self._jets = np.zeros(groups, dtype=np.int64)

    def add(self, jets: Jets, groups: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        """Counts some jets.

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

    def _add_many(self, found: Values, groups: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        bins = len(self._in_bin)
        place = found.jets * bins + self._axis.index(found.values) + 1
        entries = np.bincount(place, minlength=len(groups) * bins)
        filled = np.flatnonzero(entries)
        jets = filled // bins
        # One entry for all that a jet has in a bin: its weight squared is then the jet's.
        weight = weights[jets] * entries[filled]
        self._filled.fill(groups[jets], self._in_bin[filled % bins], weight=weight)
        self._jets += np.bincount(groups[np.unique(found.jets)], minlength=self._groups)

    def histograms(self) -> list[WeightedHistogram]:
        """Histogram of each group, with underflow and overflow."""
        contents = self._filled.view(flow=True)
        return [
            WeightedHistogram(
                self._edges, contents["value"][group].copy(), contents["variance"][group].copy(), int(self._jets[group])
            )
            for group in range(self._groups)
        ]

"""Quantities of jets by name, their values, bins for them, and their weighted histograms, counted batch by batch.

A name is that of a scalar column ('jet_pt'), of a feature of all constituents ('clus_pt'), of the same in one slot as
the earlier program's flat frames call it ('clus_pt_0', the leading one), or of a number of constituents
('n_clusters'). Old spellings ('nn_MSeg_t0_1', 'jet_pT') mean the same.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.evaluation.scored import WeightedSample
from cal_ratio_trainer.jets.legacy.frames import name_of_today
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Constituent, Schema
from cal_ratio_trainer.jets.table import Jets

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
    lie far from nine tenths of the values do not stretch it. Angles over the full circle get -pi to pi, whole numbers
    a bin each (or equally many per bin), positive values over more than two and a half orders of magnitude bins of
    equal ratio, everything else round edges. The number of bins depends on the smallest sample that is large enough
    for a histogram, and on the part of the range that most of the values take.

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
    """For each share, the smallest value up to which the values have that share of the weight."""
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

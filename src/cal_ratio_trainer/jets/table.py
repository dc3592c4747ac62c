"""A table of jets in memory, and the hash that identifies jets and events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, REQUIRED_SCALARS, SCALAR_TYPES, Schema

if TYPE_CHECKING:
    import awkward as ak
    import pandas as pd


def scrambled(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambled 64-bit words, [n]; every input bit moves every output bit, and different words stay different.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@dataclass(frozen=True)
class JetScalars:
    """Scalar columns of jets, one number per jet, without their constituents.

    Attributes:
        scalars: one row per jet: label, kinematics, event numbers, weights, truth, origin (see `schema`), and whatever
            further columns the input had. Values that are not known are null.
        schema: the features of the jets.
    """

    scalars: pa.Table
    schema: Schema = field(default=CALRATIO_2019, kw_only=True)

    def __post_init__(self) -> None:
        needed = [*REQUIRED_SCALARS, *self.schema.jet_columns]
        missing = [name for name in dict.fromkeys(needed) if name not in self.scalars.column_names]
        if missing:
            raise MissingColumn("table of jets", missing, self.scalars.column_names)

    def __len__(self) -> int:
        return len(self.scalars)

    def __contains__(self, name: str) -> bool:
        return name in self.scalars.column_names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A scalar column as numpy array [jets]; nulls become NaN (an integer column with nulls becomes float64).

        Raises:
            MissingColumn: there is no such column; names the nearest.
        """
        if name not in self:
            raise MissingColumn("table of jets", [name], self.scalars.column_names)
        result: NDArray[Any] = self.scalars.column(name).to_numpy()
        return result

    @property
    def label(self) -> NDArray[np.int8]:
        """The labels, [jets] int8; see `labels.Label`."""
        return self["label"]

    def is_known(self, name: str) -> bool:
        """True if the column exists and no value of it is null."""
        return name in self and self.scalars.column(name).null_count == 0

    def take(self, jets: NDArray[np.integer]) -> Self:
        """The jets at the given positions, in that order."""
        return replace(self, scalars=self.scalars.take(pa.array(np.asarray(jets, dtype=np.int64))))

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """The jets for which `kept` [jets] is true, in order."""
        return self.take(np.flatnonzero(kept))

    def with_columns(self, columns: Mapping[str, Any]) -> Self:
        """The same jets with scalar columns added or replaced."""
        table = self.scalars
        for name, values in columns.items():
            array = as_arrow(name, values)
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, array)
            else:
                table = table.append_column(name, array)
        return replace(self, scalars=table)

    def without_columns(self, names: Sequence[str]) -> Self:
        """The same jets without the named scalar columns; missing names are ignored."""
        return replace(self, scalars=self.scalars.drop_columns([name for name in names if name in self]))


@dataclass(frozen=True, repr=False)
class Jets(JetScalars):
    """Jets with their constituents.

    Attributes:
        constituents: for each kind's name ('clusters', 'tracks', 'muon_segments') the lists, as long as `scalars`.
    """

    constituents: Mapping[str, Ragged]

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [kind.name for kind in self.schema.constituents if kind.name not in self.constituents]:
            raise MissingColumn("table of jets", missing, self.constituents)
        for kind in self.schema.constituents:
            ragged = self.constituents[kind.name]
            if len(ragged) != len(self.scalars) or ragged.values.shape[1] != len(kind.features):
                raise ValueError(f"{kind.name} {ragged.values.shape} of {len(ragged)} jets do not fit {len(self)} jets")

    def __repr__(self) -> str:
        lists = ", ".join(f"{len(ragged.values):,} {name}" for name, ragged in self.constituents.items())
        return f"<{len(self):,} jets with {lists}; {len(self.scalars.column_names)} columns of jets>"

    def to_pandas(self) -> "pd.DataFrame":
        """The columns of the jets, without constituents, as a frame; needs pandas."""
        frame: pd.DataFrame = self.scalars.to_pandas()
        return frame

    def to_awkward(self) -> "ak.Array":
        """All jets as records: `array.jet_pt` [jets], `array.clusters.clus_pt` [jets, clusters of each]."""
        import awkward as ak

        fields = {name: ak.from_arrow(self.scalars.column(name)) for name in self.scalars.column_names}
        for kind in self.schema.constituents:
            ragged = self.constituents[kind.name]
            lengths = np.diff(ragged.offsets)
            columns = {name: ragged.values[:, position] for position, name in enumerate(kind.columns)}
            fields[kind.name] = ak.zip({name: ak.unflatten(values, lengths) for name, values in columns.items()})
        return ak.zip(fields, depth_limit=1)

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Any], constituents: Mapping[str, Ragged], schema: Schema = CALRATIO_2019
    ) -> "Jets":
        """Builds it from scalar columns (numpy or arrow arrays [jets] by name); casts known ones to stored types."""
        arrays = {name: as_arrow(name, values) for name, values in columns.items()}
        return cls(pa.table(arrays), constituents, schema=schema)

    @classmethod
    def empty(cls, schema: Schema = CALRATIO_2019) -> "Jets":
        """A table of no jets, with the required columns."""
        columns = {name: np.zeros(0, dtype=np.float32) for name in (*REQUIRED_SCALARS, *schema.jet_columns)}
        lists = {kind.name: Ragged.empty(len(kind.features)) for kind in schema.constituents}
        return cls.from_columns(columns, lists, schema)

    def slice(self, start: int, stop: int) -> "Jets":
        """Jets start to stop, sharing memory with this."""
        stop = min(stop, len(self))
        lists = {name: ragged.slice(start, stop) for name, ragged in self.constituents.items()}
        return Jets(self.scalars.slice(start, stop - start), lists, schema=self.schema)

    def take(self, jets: NDArray[np.integer]) -> Self:
        """The jets at the given positions, in that order."""
        positions: IndexArray = np.asarray(jets, dtype=np.int64)
        lists = {name: ragged.take(positions) for name, ragged in self.constituents.items()}
        return replace(self, scalars=self.scalars.take(pa.array(positions)), constituents=lists)

    def with_schema(self, schema: Schema) -> "Jets":
        """The same jets with the features of a schema only.

        Raises:
            MissingColumn: the jets lack some.
        """
        if schema == self.schema:
            return self
        if missing := [name for name in schema.columns if name not in self.schema.columns]:
            raise MissingColumn("table of jets", missing, self.schema.columns)
        lists = {}
        for kind in schema.constituents:
            ragged, own = self.constituents[kind.name], self.schema.kind(kind.name)
            places = [own.position(feature.name) for feature in kind.features]
            lists[kind.name] = Ragged(ragged.values[:, places], ragged.offsets, ragged.padding[places])
        return Jets(self.scalars, lists, schema=schema)

    @staticmethod
    def concatenate(parts: Sequence["Jets"]) -> "Jets":
        """One after the other; a column that some parts lack is null there.

        Raises:
            ValueError: no parts, different padding rows, or different schemas.
        """
        if not parts:
            raise ValueError("nothing to concatenate")
        schema = parts[0].schema
        if any(part.schema != schema for part in parts):
            raise ValueError("jets with different schemas cannot be joined")
        scalars = pa.concat_tables([part.scalars for part in parts], promote_options="permissive")
        lists = {
            kind.name: Ragged.concatenate([part.constituents[kind.name] for part in parts])
            for kind in schema.constituents
        }
        return Jets(scalars.unify_dictionaries(), lists, schema=schema)


def as_arrow(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    """A scalar column as arrow array of the type it has on disk; unknown names keep the type they come with."""
    wanted = SCALAR_TYPES.get(name)
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    if wanted is None or array.type == wanted:
        return array
    if pa.types.is_dictionary(wanted):
        return array.dictionary_encode() if not pa.types.is_dictionary(array.type) else array.cast(wanted)
    return array.cast(wanted, safe=False)

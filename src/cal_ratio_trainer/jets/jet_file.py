"""Interface of opened files of jets, for all formats."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata
from cal_ratio_trainer.jets.ragged import ListColumns
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS, Schema
from cal_ratio_trainer.jets.table import Jets, JetScalars

ROWS_A_BATCH = 16384


@dataclass(frozen=True)
class LoadReport:
    """Observations on a file with little metadata.

    Attributes:
        layout: 'ragged Parquet', 'flat Parquet' or 'pickled frame'.
        absent: event columns that are null because the file lacks them, or holds them rounded.
        dropped: columns that were left out, by their names in the file.
        renamed: name in the file -> today's name, of scalar columns.
    """

    layout: str
    absent: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def looks_like_control_region(self) -> bool:
        """True for a frame without the masses of signal, which every main file has, if only as zeros."""
        return "llp_mH" in self.absent

    def sentences(self) -> list[str]:
        """Notes for the user, one sentence each."""
        return [f"not in the file, therefore unknown: {', '.join(self.absent)}"] if self.absent else []


class JetFile(ABC):
    """One opened file of jets; made by `cal_ratio_trainer.jets.loading.open_jets`.

    Attributes:
        path: the file.
        metadata: its metadata; stage 'unknown' for flat frames.
        report: observations on opening.
        rows: number of jets.
    """

    path: Path
    metadata: JetMetadata
    report: LoadReport
    rows: int

    @property
    def schema(self) -> Schema:
        """The features that `batches` and `lists` give."""
        return self.metadata.feature_schema

    def data_taking(self) -> DataTaking:
        """Origin of the jets: by the metadata, or by labels and run numbers where these tell more."""
        told, names = DataTaking.of_metadata(self.metadata), self.scalar_names()
        if told.simulation is not None or told.energies_tev or not self.rows or "label" not in names:
            return told
        table = self.scalars([name for name in ("label", "runNumber") if name in names])
        labels, *runs = (column.to_numpy() for column in table.columns)
        found = DataTaking.of_jets(labels, runs[0] if runs else None, None)
        return found if told.is_simulation is None else replace(found, is_simulation=told.is_simulation)

    @abstractmethod
    def scalar_names(self) -> list[str]:
        """Names of the scalar columns that `batches` will give."""

    @abstractmethod
    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named scalar columns of all jets, without reading constituents. Raises MissingColumn."""

    @abstractmethod
    def batches(self, rows: int = ROWS_A_BATCH) -> Iterator[Jets]:
        """All jets in order, at most `rows` at a time; all batches have the same columns and padding rows."""

    def all_scalars(self) -> JetScalars:
        """All scalar columns of all jets, in the order in which `batches` gives them. Raises MissingColumn."""
        table = self.scalars(self.scalar_names())
        needed = dict.fromkeys([*REQUIRED_SCALARS, *self.schema.jet_columns])
        missing = [name for name in needed if name not in table.column_names]
        if missing:
            raise MissingColumn(self.path, missing, table.column_names)
        return JetScalars(table.combine_chunks(), schema=self.schema)

    def lists(self) -> Iterator[Mapping[str, ListColumns]]:
        """The constituents of all jets in order, by kind, some thousand jets at a time."""
        for batch in self.batches():
            yield {name: ListColumns.of(ragged) for name, ragged in batch.constituents.items()}

    def max_constituents(self) -> Mapping[str, int]:
        """For each kind's name at least as many constituents as there are; empty where the format does not say."""
        return {}

    def first(self, jets: int) -> Jets:
        """The first jets, at least as many as asked for if there are so many."""
        found: list[Jets] = []
        for batch in self.batches():
            found.append(batch)
            if sum(map(len, found)) >= jets:
                break
        return Jets.concatenate(found) if found else Jets.empty(self.schema)

    def edges(self) -> list[int]:
        """Rows at which the file may be cut for `batches_within`, 0 and `rows` among them."""
        return [0, self.rows]

    def batches_within(self, within: range) -> Iterator[Jets]:
        """The jets of some rows, which begin and end at edges, as `batches` gives them."""
        if within != range(self.rows):
            raise ValueError(f"{self.path} cannot be cut at {within}")
        return self.batches()

"""Interfaces of files of jets, for all formats: an opened file, and a writer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.filling import WholeLists
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS, Schema
from cal_ratio_trainer.jets.table import Jets, JetScalars

ROWS_A_BATCH = 16384


@dataclass(frozen=True)
class LoadReport:
    """Observations on a file with little metadata.

    Attributes:
        layout: 'ragged Parquet', 'flat Parquet' or 'pickled frame'.
        absent: event columns that are null because the file lacks them, or contains them rounded.
    """

    layout: str
    absent: list[str] = field(default_factory=list)

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
        path: path of the file.
        metadata: metadata of the file; stage 'unknown' for flat frames.
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
        """Origin of the jets: by the metadata, or by labels and run numbers if they say more."""
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
    def batches(self, rows: int = ROWS_A_BATCH, within: range | None = None) -> Iterator[Jets]:
        """Jets in order, at most `rows` at a time; all batches have the same columns and padding rows.

        Args:
            rows: largest number of jets in a batch.
            within: rows of the file to read, which begin and end at `edges`; None reads all.
        """

    def all_scalars(self) -> JetScalars:
        """All scalar columns of all jets, in the order in which `batches` gives them. Raises MissingColumn."""
        table = self.scalars(self.scalar_names())
        needed = dict.fromkeys([*REQUIRED_SCALARS, *self.schema.jet_columns])
        missing = [name for name in needed if name not in table.column_names]
        if missing:
            raise MissingColumn(self.path, missing, table.column_names)
        return JetScalars(table.combine_chunks(), schema=self.schema)

    def lists(self) -> Iterator[Mapping[str, Ragged]]:
        """The constituents of all jets in order, by kind, some thousand jets at a time."""
        return (batch.constituents for batch in self.batches())

    def max_constituents(self) -> Mapping[str, int]:
        """Upper bound of the number of constituents by kind's name; empty if the format does not say."""
        return {}

    def first(self, jets: int) -> Jets:
        """The first jets, at least as many as asked for if there are so many."""
        found: list[Jets] = []
        for batch in self.batches():
            found.append(batch)
            if sum(map(len, found)) >= jets:
                break
        return Jets.concatenate(found) if found else Jets.empty(self.schema)

    def load(self) -> Jets:
        """All jets in memory; each batch is free as soon as it is copied."""
        lists = WholeLists(self.rows, self.max_constituents(), schema=self.schema)
        scalars: list[pa.Table] = []
        for batch in self.batches():
            scalars.append(batch.scalars)
            lists.append(batch.constituents)
        if not scalars:
            return Jets.empty(self.schema)
        table = pa.concat_tables(scalars).unify_dictionaries().combine_chunks()
        return Jets(table, lists.finish(), schema=self.schema)

    def edges(self) -> list[int]:
        """Rows at which the file may be cut so that no part of it is read twice, 0 and `rows` among them."""
        return [0, self.rows]


class Writer(Protocol):
    """A file of jets while it is written; made by `writing`."""

    def write(self, jets: Jets) -> None:
        """Appends jets; all must have the same columns."""

    def finish(self, metadata: JetMetadata) -> None:
        """Completes the file. `metadata` are stored if the format has a place for them."""

    def close(self) -> None:
        """Closes the file, complete or not."""


WriterType = TypeVar("WriterType", bound=Writer)


@contextmanager
def writing(path: Path, open_writer: Callable[[Path], WriterType]) -> Iterator[WriterType]:
    """A writer of jets to `path`; the file appears when the block ends well. Call `finish` inside the block.

    Raises:
        RuntimeError: the block ended without `finish`.
    """
    with replacing(path) as temporary:
        with closing(open_writer(temporary)) as writer:
            yield writer
        if not temporary.exists():
            raise RuntimeError(f"{path}: nothing was written; finish() was not called")

"""Opened flat frames of the earlier program, pickled or in Parquet."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.files.parquet import damage_named, read_columns, refuse_missing_rows
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH, JetFile, LoadReport
from cal_ratio_trainer.jets.labels import checked_labels
from cal_ratio_trainer.jets.legacy.names import SLOT_COLUMNS, name_of_today
from cal_ratio_trainer.jets.legacy.pickle_reader import read_frame
from cal_ratio_trainer.jets.legacy.reader import (
    checked_names,
    event_column,
    flat_chunks,
    is_rounded,
    padding_rows,
)
from cal_ratio_trainer.jets.metadata import JetMetadata, padding_mistake
from cal_ratio_trainer.jets.schema import EVENT_SCALARS, JET_INPUTS
from cal_ratio_trainer.jets.table import Jets


class FlatFile(JetFile):
    """Common part of the two flat formats: old names, padding rows, nulls for absent values."""

    def _describe(self, path: Path, layout: str, present: Mapping[str, np.dtype[Any]], rows: int) -> None:
        self.path, self.rows = path, rows
        self.names = checked_names(path, list(present))
        for name in (*SLOT_COLUMNS, "label", *JET_INPUTS):
            source = self.names.source[name]
            if present[source].kind not in "iuf":
                raise InputFileError(path, f"column {source} holds something else than numbers")
        rounded = [name for name, dtype in present.items() if is_rounded(name_of_today(name), dtype)]
        absent = [*self.names.absent, *map(name_of_today, rounded)]
        self.report = LoadReport(layout, absent, self.names.dropped, self.names.renamed)
        checked_labels(path, self._column("label"))
        self._padding = padding_rows(self._column)
        padding = {name: row.tolist() for name, row in self._padding.items()}
        if mistake := padding_mistake(padding):
            raise InputFileError(path, mistake)
        self.metadata = JetMetadata(
            stage="unknown",
            rows=rows,
            padding=padding,
            notes=self.report.sentences(),
        )

    @abstractmethod
    def _column(self, name: str) -> NDArray[Any]:
        """A column [rows] by today's name."""

    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named columns; absent event columns as nulls. Raises MissingColumn."""
        missing = [name for name in names if name not in self.scalar_names()]
        if missing:
            raise MissingColumn(self.path, missing, self.scalar_names())
        return pa.table({name: self._scalar(name) for name in names})

    def scalar_names(self) -> list[str]:
        """Today's names as `batches` orders them, those that will be null among them."""
        first = ["label", *JET_INPUTS]
        return [*first, *(name for name in self.names.scalars if name not in first), *self.names.absent]

    def _scalar(self, name: str) -> pa.Array:
        if name in self.names.absent:
            return pa.nulls(self.rows, EVENT_SCALARS[name])
        if name == "label":
            return pa.array(checked_labels(self.path, self._column(name)))
        return event_column(self.path, name, self._column(name))


class PickledFile(FlatFile):
    """A pickled frame; held whole, as its blocks are, for as long as this object lives."""

    def __init__(self, path: Path) -> None:
        frame = read_frame(path)
        self._columns = frame.columns
        self._describe(
            path, "pickled frame", {name: values.dtype for name, values in frame.columns.items()}, frame.rows
        )

    def _column(self, name: str) -> NDArray[Any]:
        return self._columns[self.names.source[name]]

    def batches(self, rows: int = ROWS_A_BATCH) -> Iterator[Jets]:
        """All jets in order; at most 4096 at a time."""
        columns = {name: self._column(name) for name in self.names.source}
        return flat_chunks(self.path, columns, self._padding, self.names.absent, rows)


class FlatParquetFile(FlatFile):
    """A flat frame in Parquet; read row group by row group."""

    def __init__(self, path: Path, file: pq.ParquetFile) -> None:
        self._file = file
        present = {
            column.name: _numpy_type(column.type)
            for column in file.schema_arrow
            if not column.name.startswith("__index_level_")
        }
        self._describe(path, "flat Parquet", present, file.metadata.num_rows)

    def _column(self, name: str) -> NDArray[Any]:
        source = self.names.source[name]
        column = read_columns(self.path, self._file, [source]).column(source)
        with damage_named(self.path, self._file, 0, [source]):
            values: NDArray[Any] = column.to_numpy()
        return values

    def batches(self, rows: int = ROWS_A_BATCH) -> Iterator[Jets]:
        """All jets in order, at most `rows` at a time."""
        sources = list(self.names.source.values())
        file = self._file
        # Group by group, for over many groups iter_batches holds on to what it has read.
        for group in range(file.num_row_groups):
            batches = file.iter_batches(batch_size=ROWS_A_BATCH, row_groups=[group], columns=sources)
            read = 0
            while True:
                with damage_named(self.path, file, group, sources):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    columns = {
                        name: batch.column(source).to_numpy(zero_copy_only=False)
                        for name, source in self.names.source.items()
                    }
                read += len(batch)
                yield from flat_chunks(self.path, columns, self._padding, self.names.absent, rows)
            refuse_missing_rows(self.path, file, group, read, sources)


def _numpy_type(kind: pa.DataType) -> np.dtype[Any]:
    """Type of a column in numpy; nulls turn integers into floats."""
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    return np.dtype(kind.to_pandas_dtype()) if pa.types.is_floating(kind) else np.dtype(object)

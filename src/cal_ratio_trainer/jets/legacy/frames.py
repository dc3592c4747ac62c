"""Flat frames of the earlier program as ragged jets: names of their columns, padding rows, pickles and Parquet."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from cal_ratio_trainer.jets.legacy.pickles import read_frame
from cal_ratio_trainer.jets.metadata import JetMetadata, padding_mistake
from cal_ratio_trainer.jets.ragged import FloatArray, Ragged
from cal_ratio_trainer.jets.schema import CONSTITUENTS, EVENT_SCALARS, JET_INPUTS, SCALAR_TYPES, Constituent
from cal_ratio_trainer.jets.table import Jets, as_arrow

_OLD_PREFIX = re.compile(r"^(nn|aux)_")
_OLD_PT = re.compile(r"_pT(?=_\d+$|$)")
_RENAMED = {"mH": "llp_mH", "mS": "llp_mS"}
_DROPPED = re.compile(r"^(clus_sign|track_sign|track_vertex_[xyz]_\d+)$")
_SLOT = re.compile(r"_\d+$")

SLOT_COLUMNS: tuple[str, ...] = tuple(
    column for kind in CONSTITUENTS for slot in range(kind.limit) for column in kind.flat_columns(slot)
)
"""The 800 slot columns in the earlier program's order: kind by kind, slot by slot, feature by feature."""

_SLOTS = frozenset(SLOT_COLUMNS)
_PREFIXES = tuple(f"{column}_" for kind in CONSTITUENTS for column in kind.columns)

ROWS_AT_A_TIME = 4096
"""Number of padded rows in memory at once; more are slower, since they leave the processor's cache."""

_ROWS_FOR_PADDING = 100_000

Columns = Mapping[str, NDArray[Any]]


def name_of_today(name: str) -> str:
    """Today's name of a column of the earlier program.

    >>> name_of_today("nn_jet_pT"), name_of_today("track_pT_3"), name_of_today("mH")
    ('jet_pt', 'track_pt_3', 'llp_mH')
    """
    plain = _OLD_PT.sub("_pt", _OLD_PREFIX.sub("", name))
    return _RENAMED.get(plain, plain)


def names_in_frame(path: Path, present: Iterable[str]) -> dict[str, str]:
    """The columns of a flat frame that are read: today's name -> the name in the frame, in the frame's order.

    Columns that mean nothing any more are left out. If an old and a new name are both present, the new one is used.

    Raises:
        MissingColumn: a jet or constituent column, or the label, is missing; slots together: 'clus_time_0..29'.
    """
    source: dict[str, str] = {}
    for name in present:
        today = name_of_today(name)
        if not _DROPPED.match(today) and (today not in source or name == today):
            source[today] = name
    missing = [name for name in ["label", *JET_INPUTS] if name not in source] + _together(_SLOTS - source.keys())
    if missing:
        raise MissingColumn(path, missing, list(present))
    return source


def _together(slots: Iterable[str]) -> list[str]:
    """Slot columns by feature, as 'clus_time_0..29' or 'clus_time_29'."""
    numbers: dict[str, list[int]] = {}
    for name in slots:
        stem = _SLOT.sub("", name)
        numbers.setdefault(stem, []).append(int(name[len(stem) + 1 :]))
    return [
        f"{stem}_{min(found)}" + (f"..{max(found)}" if len(found) > 1 else "")
        for stem, found in sorted(numbers.items())
    ]


def flat_chunks(
    path: Path, columns: Columns, padding: Mapping[str, FloatArray], absent: list[str], rows: int = ROWS_AT_A_TIME
) -> Iterator[Jets]:
    """The jets of a flat frame, some thousand at a time.

    Args:
        path: for messages.
        columns: slot and scalar columns [rows] by today's names.
        padding: content of an empty slot by kind's name, [features].
        absent: event columns to add as nulls.
        rows: largest number of jets per batch.

    Raises:
        InputFileError: a label is unknown, or empty slots hold a number like -999.
    """
    total, step = len(columns["label"]), min(rows, ROWS_AT_A_TIME)
    for start in range(0, total, step):
        part = slice(start, min(start + step, total))
        lists = {kind.name: _ragged(path, kind, columns, part, padding[kind.name]) for kind in CONSTITUENTS}
        arrays = {"label": pa.array(checked_labels(path, columns["label"][part]))}
        arrays |= {name: as_arrow(name, columns[name][part].astype(np.float32)) for name in JET_INPUTS}
        for name in columns:
            if name not in arrays and not name.startswith(_PREFIXES):
                arrays[name] = event_column(path, name, columns[name][part])
        arrays |= {name: pa.nulls(part.stop - part.start, EVENT_SCALARS[name]) for name in absent}
        yield Jets(pa.table(arrays), lists)


def _padding_row(kind: Constituent, column: Callable[[str], NDArray[Any]]) -> FloatArray:
    """Values [features] in the empty slots of a frame: zeros, or their values after an earlier `build`.

    With a range that starts above 0 the earlier program scaled empty slots too: 0 became -min / (max - min). Only the
    last slot is read: if no jet leaves it empty, no jet has an empty slot at all.

    Args:
        kind: the kind of constituent.
        column: gives a column [rows] by today's name.
    """
    zeros = np.zeros(len(kind.features), dtype=np.float32)
    raw = [column(name) for name in kind.flat_columns(kind.limit - 1)]
    if len(raw[0]) == 0 or kind.features[0].name != "pt":
        return zeros
    some = np.linspace(0, len(raw[0]) - 1, min(len(raw[0]), _ROWS_FOR_PADDING)).astype(np.int64)
    rows = np.nan_to_num(np.stack([values[some] for values in raw], axis=1).astype(np.float32), nan=0.0)
    values, counts = np.unique(rows[~rows[:, 1:].any(axis=1), 0], return_counts=True)
    if len(values) and values[np.argmax(counts)] < 0:
        zeros[0] = values[np.argmax(counts)]
    return zeros


def _ragged(path: Path, kind: Constituent, columns: Columns, part: slice, padding: FloatArray) -> Ragged:
    padded = np.empty((part.stop - part.start, kind.limit, len(kind.features)), dtype=np.float32)
    for slot in range(kind.limit):
        for position, name in enumerate(kind.flat_columns(slot)):
            padded[:, slot, position] = columns[name][part]
    # Constituents with the same number for all features mark empty slots.
    first = padded[:, :, 0]
    suspected = (first != 0) & np.isfinite(first) & (first == padded[:, :, 1]) & (first == padded[:, :, -1])
    jets, slots = np.nonzero(suspected)
    found = np.flatnonzero((padded[jets, slots] == first[jets, slots, None]).all(axis=1))
    if len(found):
        slot, value = slots[found[0]], first[jets[found[0]], slots[found[0]]]
        raise InputFileError(
            path,
            f"holds {value:g} in all features of slot {slot} of {kind.name} ({kind.prefix}_*_{slot}), where an empty "
            f"slot holds 0 or NaN; write 0 where all features of a slot are {value:g}",
        )
    return Ragged.from_padded(padded, padding)


def event_column(path: Path, name: str, values: NDArray[Any]) -> pa.Array:
    """A scalar column; whole numbers that were stored as floats are whole again, and NaN among them is null.

    An event number that was stored as float32 is rounded and no longer identifies events: the column is all null.

    Raises:
        InputFileError: the column holds neither numbers nor text.
    """
    wanted = SCALAR_TYPES.get(name)
    if _is_rounded(name, values.dtype):
        return pa.nulls(len(values), wanted)
    try:
        if wanted is None or not pa.types.is_integer(wanted) or values.dtype.kind != "f":
            return as_arrow(name, np.ascontiguousarray(values))
        whole = np.isfinite(values)
        return pa.array(np.where(whole, values, 0).astype(np.int64), mask=~whole).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputFileError(path, f"column {name} cannot be read ({error})") from error


def _is_rounded(name: str, dtype: np.dtype[Any]) -> bool:
    """True for event numbers in a type too short for them."""
    return name == "eventNumber" and dtype.kind == "f" and dtype.itemsize < 8


class FlatFile(JetFile):
    """Common part of the two flat formats: old names, padding rows, nulls for absent values."""

    def _describe(self, path: Path, layout: str, present: Mapping[str, np.dtype[Any]], rows: int) -> None:
        self.path, self.rows = path, rows
        self._source = names_in_frame(path, present)
        self._absent = [name for name in EVENT_SCALARS if name not in self._source]
        for name in (*SLOT_COLUMNS, "label", *JET_INPUTS):
            source = self._source[name]
            if present[source].kind not in "iuf":
                raise InputFileError(path, f"column {source} holds something else than numbers")
        rounded = [name for name, dtype in present.items() if _is_rounded(name_of_today(name), dtype)]
        self.report = LoadReport(layout, [*self._absent, *map(name_of_today, rounded)])
        checked_labels(path, self._column("label"))
        self._padding = {kind.name: _padding_row(kind, self._column) for kind in CONSTITUENTS}
        padding = {name: row.tolist() for name, row in self._padding.items()}
        if mistake := padding_mistake(padding):
            raise InputFileError(path, mistake)
        self.metadata = JetMetadata(stage="unknown", rows=rows, padding=padding, notes=self.report.sentences())

    @abstractmethod
    def _column(self, name: str) -> NDArray[Any]:
        """A column [rows] by today's name."""

    @abstractmethod
    def _frames(self) -> Iterator[Columns]:
        """Slot and scalar columns by today's names, in one or more parts of the rows."""

    def batches(self, rows: int = ROWS_A_BATCH, within: range | None = None) -> Iterator[Jets]:
        """Jets in order, at most 4096 at a time; a flat frame is read as a whole."""
        if within not in (None, range(self.rows)):
            raise ValueError(f"{self.path} cannot be cut at {within}")
        for columns in self._frames():
            yield from flat_chunks(self.path, columns, self._padding, self._absent, rows)

    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named columns; absent event columns as nulls. Raises MissingColumn."""
        missing = [name for name in names if name not in self.scalar_names()]
        if missing:
            raise MissingColumn(self.path, missing, self.scalar_names())
        return pa.table({name: self._scalar(name) for name in names})

    def scalar_names(self) -> list[str]:
        """Today's names in the order of `batches`, including columns that will be null."""
        first = ["label", *JET_INPUTS]
        others = [name for name in self._source if name not in _SLOTS and name not in first]
        return [*first, *others, *self._absent]

    def _scalar(self, name: str) -> pa.Array:
        if name in self._absent:
            return pa.nulls(self.rows, EVENT_SCALARS[name])
        if name == "label":
            return pa.array(checked_labels(self.path, self._column(name)))
        return event_column(self.path, name, self._column(name))


class PickledFile(FlatFile):
    """A pickled frame; in memory as a whole for as long as this object lives."""

    def __init__(self, path: Path) -> None:
        self._columns = read_frame(path)
        types = {name: values.dtype for name, values in self._columns.items()}
        self._describe(path, "pickled frame", types, len(next(iter(self._columns.values()), ())))

    def _column(self, name: str) -> NDArray[Any]:
        return self._columns[self._source[name]]

    def _frames(self) -> Iterator[Columns]:
        yield {name: self._column(name) for name in self._source}


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
        source = self._source[name]
        column = read_columns(self.path, self._file, [source]).column(source)
        with damage_named(self.path, self._file, 0, [source]):
            values: NDArray[Any] = column.to_numpy()
        return values

    def _frames(self) -> Iterator[Columns]:
        sources, file = list(self._source.values()), self._file
        # Group by group, since over many groups iter_batches holds on to what it has read.
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
                        for name, source in self._source.items()
                    }
                read += len(batch)
                yield columns
            refuse_missing_rows(self.path, file, group, read, sources)


def _numpy_type(kind: pa.DataType) -> np.dtype[Any]:
    """Type of a column in numpy; nulls turn integers into floats."""
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    return np.dtype(kind.to_pandas_dtype()) if pa.types.is_floating(kind) else np.dtype(object)

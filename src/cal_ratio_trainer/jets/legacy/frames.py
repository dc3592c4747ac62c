"""Flat frames of the earlier program as ragged jets: names of their columns, padding rows, pickles and Parquet."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FlatNames:
    """Map from the columns of a flat frame to today's.

    Attributes:
        source: today's name -> the name in the frame; slots and scalars, in the frame's order.
        dropped: columns of the frame that mean nothing any more.
        absent: event columns that the frame lacks; they become null.
    """

    source: dict[str, str]
    dropped: list[str]
    absent: list[str]

    @property
    def renamed(self) -> dict[str, str]:
        """Old scalar name -> today's, for those that differ."""
        return {old: new for new, old in self.source.items() if old != new and new not in _SLOTS}

    @property
    def scalars(self) -> list[str]:
        """Today's names of the scalar columns that are there."""
        return [name for name in self.source if name not in _SLOTS]

    @property
    def missing(self) -> list[str]:
        """Required columns that are not there, slots together: 'clus_time_0..29'."""
        required = ["label", *JET_INPUTS]
        return [name for name in required if name not in self.source] + _together(_SLOTS - self.source.keys())


def name_of_today(name: str) -> str:
    """Today's name of a column of the earlier program.

    >>> name_of_today("nn_jet_pT"), name_of_today("track_pT_3"), name_of_today("mH")
    ('jet_pt', 'track_pt_3', 'llp_mH')
    """
    plain = _OLD_PT.sub("_pt", _OLD_PREFIX.sub("", name))
    return _RENAMED.get(plain, plain)


def flat_names(present: Iterable[str]) -> FlatNames:
    """Assigns the columns of a frame. If an old and a new name are both present, the new one is used."""
    source: dict[str, str] = {}
    dropped = []
    for name in present:
        new_name = name_of_today(name)
        if _DROPPED.match(new_name) or (new_name in source and name != new_name):
            dropped.append(name)
            continue
        if new_name in source:
            dropped.append(source[new_name])
        source[new_name] = name
    return FlatNames(source, dropped, [name for name in EVENT_SCALARS if name not in source])


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


ROWS_AT_A_TIME = 4096
"""Padded rows that are held at once; larger is slower, for then they leave the processor's cache."""

_ROWS_FOR_PADDING = 100_000

Columns = Mapping[str, NDArray[Any]]


def checked_names(path: Path, present: list[str]) -> FlatNames:
    """The names of a flat frame.

    Raises:
        MissingColumn: a jet or constituent column, or the label, is not there.
    """
    names = flat_names(present)
    if names.missing:
        raise MissingColumn(path, names.missing, present)
    return names


def flat_chunks(
    path: Path, columns: Columns, padding: Mapping[str, FloatArray], absent: list[str], rows: int = ROWS_AT_A_TIME
) -> Iterator[Jets]:
    """The jets of a flat frame, some thousand at a time.

    Args:
        path: for messages.
        columns: slot and scalar columns [rows] by today's names.
        padding: content of an empty slot, by kind; see `padding_rows`.
        absent: event columns to add as nulls.
        rows: largest number of jets per batch.

    Raises:
        InputFileError: a label is unknown, or empty slots hold a number like -999.
    """
    total, step = len(columns["label"]), min(rows, ROWS_AT_A_TIME)
    for start in range(0, total, step):
        part = slice(start, min(start + step, total))
        lists = {kind.name: _ragged(path, kind, columns, part, padding[kind.name]) for kind in CONSTITUENTS}
        yield Jets(_scalars(path, columns, part, absent), lists)


def padding_rows(last_slots: Callable[[str], NDArray[Any]]) -> dict[str, FloatArray]:
    """Values in the empty slots of a frame: zeros, or their values after an earlier `build`.

    With a range that starts above 0 the earlier program scaled empty slots too: 0 became -min / (max - min). Only
    the last slot is looked at: where no jet leaves it empty, no jet has an empty slot at all.

    Args:
        last_slots: gives a column [rows] by today's name.

    Returns:
        For each kind's name the row [features].
    """
    return {kind.name: _padding_row(kind, last_slots) for kind in CONSTITUENTS}


def _padding_row(kind: Constituent, column: Callable[[str], NDArray[Any]]) -> FloatArray:
    zeros = np.zeros(len(kind.features), dtype=np.float32)
    raw = [column(name) for name in kind.flat_columns(kind.limit - 1)]
    if len(raw[0]) == 0 or kind.features[0].name != "pt":
        return zeros
    some = np.linspace(0, len(raw[0]) - 1, min(len(raw[0]), _ROWS_FOR_PADDING)).astype(np.int64)
    rows = np.nan_to_num(np.stack([values[some] for values in raw], axis=1).astype(np.float32), nan=0.0)
    empty_but_for_pt = rows[~rows[:, 1:].any(axis=1), 0]
    values, counts = np.unique(empty_but_for_pt, return_counts=True)
    if len(values) and values[np.argmax(counts)] < 0:
        zeros[0] = values[np.argmax(counts)]
    return zeros


def _ragged(path: Path, kind: Constituent, columns: Columns, part: slice, padding: FloatArray) -> Ragged:
    padded = np.empty((part.stop - part.start, kind.limit, len(kind.features)), dtype=np.float32)
    for slot in range(kind.limit):
        for position, name in enumerate(kind.flat_columns(slot)):
            padded[:, slot, position] = columns[name][part]
    _refuse_sentinels(path, kind, padded)
    return Ragged.from_padded(padded, padding)


def _refuse_sentinels(path: Path, kind: Constituent, padded: FloatArray) -> None:
    """Refuses constituents with the same number for all features, which mark empty slots."""
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


def _scalars(path: Path, columns: Columns, part: slice, absent: list[str]) -> pa.Table:
    arrays = {"label": pa.array(checked_labels(path, columns["label"][part]))}
    arrays |= {name: as_arrow(name, columns[name][part].astype(np.float32)) for name in JET_INPUTS}
    for name in columns:
        if name not in arrays and not name.startswith(_PREFIXES):
            arrays[name] = event_column(path, name, columns[name][part])
    for name in absent:
        arrays[name] = pa.nulls(part.stop - part.start, EVENT_SCALARS[name])
    return pa.table(arrays)


_PREFIXES = tuple(f"{column}_" for kind in CONSTITUENTS for column in kind.columns)


def event_column(path: Path, name: str, values: NDArray[Any]) -> pa.Array:
    """A scalar column; whole numbers that were stored as floats are whole again, and NaN among them is null.

    An event number that was stored as float32 is rounded and no longer identifies events: the column is all null.

    Raises:
        InputFileError: the column holds neither numbers nor text.
    """
    wanted = SCALAR_TYPES.get(name)
    if is_rounded(name, values.dtype):
        return pa.nulls(len(values), wanted)
    try:
        if wanted is None or not pa.types.is_integer(wanted) or values.dtype.kind != "f":
            return as_arrow(name, np.ascontiguousarray(values))
        whole = np.isfinite(values)
        return pa.array(np.where(whole, values, 0).astype(np.int64), mask=~whole).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputFileError(path, f"column {name} cannot be read ({error})") from error


def is_rounded(name: str, dtype: np.dtype[Any]) -> bool:
    """True for event numbers in a type too short for them."""
    return name == "eventNumber" and dtype.kind == "f" and dtype.itemsize < 8


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
        self._columns = read_frame(path)
        types = {name: values.dtype for name, values in self._columns.items()}
        self._describe(path, "pickled frame", types, len(next(iter(self._columns.values()), ())))

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

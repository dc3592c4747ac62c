"""Writes jets in the earlier program's flat layout, for people who still use it: Parquet, or a pickle by name."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.files.parquet import ParquetOutput
from cal_ratio_trainer.jets.legacy.frames import ROWS_AT_A_TIME, SLOT_COLUMNS
from cal_ratio_trainer.jets.legacy.pickles import FramePickle
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CONSTITUENTS
from cal_ratio_trainer.jets.table import Jets

_log = logging.getLogger(__name__)

_CLEAN = "jet_isClean_LooseBadLLP"
_SCALARS: dict[str, pa.DataType] = {
    "label": pa.int64(),
    "eventNumber": pa.uint64(),
    "mcEventWeight": pa.float64(),
    "runNumber": pa.uint32(),
    "llp_mH": pa.float64(),
    "llp_mS": pa.float64(),
    "jet_pt": pa.float64(),
    "jet_eta": pa.float64(),
    "jet_phi": pa.float64(),
    _CLEAN: pa.int8(),
    "llp_eta": pa.float64(),
    "llp_phi": pa.float64(),
    "llp_Lxy": pa.float64(),
    "llp_Lz": pa.float64(),
    "llp_pt": pa.float64(),
}
_BEHIND_THE_SLOTS = ("llp_eta", "llp_phi", "llp_Lxy", "llp_Lz", "llp_pt")
_FOR_NULL = {"mcEventWeight": 1.0}


class FixedLayout(UserError):
    """Jets have other features than the flat layout can hold."""


class FlatWriter:
    """Writes jets batch by batch in the flat layout; made by `flat_writing`.

    The frame holds the 800 slot columns, in float32, and 14 scalars; jets that know whether they are clean (converted
    ones) make it 15. Other columns are left out. An unknown value becomes 0 as in the earlier program's files, an
    unknown weight 1, and both are said in the log.
    """

    def __init__(self, sink: "_Sink") -> None:
        self._sink = sink
        self._names: list[str] | None = None
        self._filled: dict[str, int] = {}

    def write(self, jets: Jets) -> None:
        """Appends jets; all must have the same columns.

        Raises:
            FixedLayout: their features are not those of 2019.
        """
        if jets.schema != CALRATIO_2019:
            raise FixedLayout("the flat layout holds the features of 2019 only; take the ragged layout for others")
        if self._names is None:
            self._names = [name for name in _SCALARS if name != _CLEAN or name in jets]
        for start in range(0, len(jets), ROWS_AT_A_TIME):
            part = jets.slice(start, start + ROWS_AT_A_TIME)
            self._sink.append({name: self._scalar(part, name) for name in self._names}, flat_slots(part))

    def finish(self, metadata: JetMetadata) -> None:
        """Completes the file. `metadata` goes where the format has a place for it; a pickle has none."""
        if self._names is None:
            self.write(Jets.empty())
            self._names = [name for name in _SCALARS if name != _CLEAN or metadata.stage == "converted"]
        self._sink.finish(self._names)
        if self._filled:
            told = ", ".join(f"{name} ({count})" for name, count in self._filled.items())
            _log.warning("the flat layout has no unknown values: they became 0, or 1 for a weight: %s", told)

    def _scalar(self, jets: Jets, name: str) -> pa.Array:
        if name not in jets:
            column = pa.chunked_array([pa.nulls(len(jets), _SCALARS[name])])
        else:
            column = jets.scalars.column(name).cast(_SCALARS[name])
        if column.null_count:
            self._filled[name] = self._filled.get(name, 0) + column.null_count
            column = column.fill_null(pa.scalar(_FOR_NULL.get(name, 0), _SCALARS[name]))
        return column.combine_chunks()


class _Sink(Protocol):
    """File in one of the two formats."""

    def append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        """Appends jets: their scalars [jets] by name, and their slot columns [jets, 800]."""

    def finish(self, scalar_names: list[str]) -> None:
        """Completes the file."""

    def close(self) -> None:
        """Closes the file, complete or not."""


class _ParquetSink:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetOutput | None = None

    def append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        columns = dict(zip(SLOT_COLUMNS, np.ascontiguousarray(slots.T), strict=True))
        ordered = column_order(list(scalars))
        table = pa.table({name: scalars[name] if name in scalars else pa.array(columns[name]) for name in ordered})
        if self._writer is None:
            self._writer = ParquetOutput(self._path, table.schema)
        self._writer.write(table)

    def finish(self, scalar_names: list[str]) -> None:
        if self._writer is None:
            none = {name: pa.array([], _SCALARS[name]) for name in scalar_names}
            self.append(none, np.zeros((0, len(SLOT_COLUMNS)), dtype=np.float32))
        assert self._writer is not None
        self._writer.finish()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _PickleSink:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._frame = FramePickle(self._file)
        self._scalars: list[dict[str, pa.Array]] = []

    def append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        self._frame.append_rows(slots)
        self._scalars.append(scalars)

    def finish(self, scalar_names: list[str]) -> None:
        values: dict[str, NDArray[Any]] = {
            name: pa.chunked_array([part[name] for part in self._scalars], _SCALARS[name]).to_numpy()
            for name in scalar_names
        }
        self._frame.finish(SLOT_COLUMNS, values, column_order(scalar_names))
        self.close()

    def close(self) -> None:
        self._file.close()


def column_order(scalars: list[str]) -> list[str]:
    """All columns of a flat frame in the earlier program's order: scalars, slots, then the truth of the LLP."""
    front = [name for name in scalars if name not in _BEHIND_THE_SLOTS]
    return [*front, *SLOT_COLUMNS, *(name for name in scalars if name in _BEHIND_THE_SLOTS)]


def flat_slots(jets: Jets) -> FloatArray:
    """The 800 slot columns [jets, 800] float32, empty slots holding the padding row."""
    parts = [jets.constituents[kind.name].padded(kind.limit).reshape(len(jets), -1) for kind in CONSTITUENTS]
    return np.concatenate(parts, axis=1)


def is_pickle_name(path: Path) -> bool:
    """True where the name asks for a pickle."""
    return path.suffix.lower() in (".pkl", ".pickle")


@contextmanager
def flat_writing(path: Path) -> Iterator[FlatWriter]:
    """A writer of flat jets to `path`, a pickle where it ends in .pkl; the file appears when the block ends well.

    Call `finish` inside the block. Memory does not grow with the jets but for the scalars of a pickle.
    """
    with replacing(path) as temporary:
        with closing(_PickleSink(temporary) if is_pickle_name(path) else _ParquetSink(temporary)) as sink:
            yield FlatWriter(sink)
        if not temporary.exists():
            raise RuntimeError(f"{path}: nothing was written; finish() was not called")

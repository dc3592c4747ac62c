"""Writes jets in the earlier program's flat layout, for people who still use it: Parquet, or a pickle."""

import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.parquet import ParquetOutput
from cal_ratio_trainer.jets.legacy.frames import ROWS_AT_A_TIME, SLOT_COLUMNS
from cal_ratio_trainer.jets.legacy.pickles import FramePickle
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CONSTITUENTS
from cal_ratio_trainer.jets.table import Jets

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

_log = logging.getLogger(__name__)


class FixedLayout(UserError):
    """Jets have other features than the flat layout can hold."""


class FlatWriter(ABC):
    """Writes jets batch by batch in the flat layout.

    The frame contains the 800 slot columns, in float32, and 14 scalars; jets that know whether they are clean
    (converted jets) make it 15. Other columns are left out. An unknown value becomes 0 as in the earlier program's
    files, an unknown weight 1, and the log has a warning for both.
    """

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._filled: dict[str, int] = {}

    @abstractmethod
    def _append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        """Appends jets: scalars [jets] by name, and slot columns [jets, 800]; empty slots contain the padding row."""

    @abstractmethod
    def _complete(self, scalar_names: list[str]) -> None:
        """Completes the file."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file, complete or not."""

    def write(self, jets: Jets) -> None:
        """Appends jets; all must have the same columns.

        Raises:
            FixedLayout: their features are not the features of 2019.
        """
        if jets.schema != CALRATIO_2019:
            raise FixedLayout("the flat layout holds the features of 2019 only; take the ragged layout for others")
        if self._names is None:
            self._names = [name for name in _SCALARS if name != _CLEAN or name in jets]
        for start in range(0, len(jets), ROWS_AT_A_TIME):
            part = jets.slice(start, start + ROWS_AT_A_TIME)
            slots = [part.constituents[kind.name].padded(kind.limit).reshape(len(part), -1) for kind in CONSTITUENTS]
            self._append({name: self._scalar(part, name) for name in self._names}, np.concatenate(slots, axis=1))

    def finish(self, metadata: JetMetadata) -> None:
        """Completes the file. Neither format has a place for metadata."""
        if self._names is None:
            self._names = [name for name in _SCALARS if name != _CLEAN or metadata.stage == "converted"]
        self._complete(self._names)
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


class FlatParquetWriter(FlatWriter):
    """Flat Parquet; memory does not grow with the jets."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._output: ParquetOutput | None = None

    def _append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        columns = scalars | dict(zip(SLOT_COLUMNS, map(pa.array, np.ascontiguousarray(slots.T)), strict=True))
        table = pa.table({name: columns[name] for name in _column_order(list(scalars))})
        self._output = self._output or ParquetOutput(self._path, table.schema)
        self._output.write(table)

    def _complete(self, scalar_names: list[str]) -> None:
        if self._output is None:
            none = {name: pa.array([], _SCALARS[name]) for name in scalar_names}
            self._append(none, np.zeros((0, len(SLOT_COLUMNS)), dtype=np.float32))
        assert self._output is not None
        self._output.finish()

    def close(self) -> None:
        """See `FlatWriter`."""
        if self._output is not None:
            self._output.close()


class PickleWriter(FlatWriter):
    """A pickled frame; memory grows with the scalars only."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")
        self._frame = FramePickle(self._file)
        self._scalars: list[dict[str, pa.Array]] = []

    def _append(self, scalars: dict[str, pa.Array], slots: FloatArray) -> None:
        self._frame.append_rows(slots)
        self._scalars.append(scalars)

    def _complete(self, scalar_names: list[str]) -> None:
        values: dict[str, NDArray[Any]] = {
            name: pa.chunked_array([part[name] for part in self._scalars], _SCALARS[name]).to_numpy()
            for name in scalar_names
        }
        self._frame.finish(SLOT_COLUMNS, values, _column_order(scalar_names))
        self.close()

    def close(self) -> None:
        """See `FlatWriter`."""
        self._file.close()


def _column_order(scalars: list[str]) -> list[str]:
    """All columns of a flat frame in the earlier program's order: scalars, slots, then the truth of the LLP."""
    front = [name for name in scalars if name not in _BEHIND_THE_SLOTS]
    return [*front, *SLOT_COLUMNS, *(name for name in scalars if name in _BEHIND_THE_SLOTS)]

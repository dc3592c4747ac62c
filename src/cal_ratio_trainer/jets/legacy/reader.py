"""Flat frames of the earlier program (a column for each feature of each slot) as ragged jets."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.labels import checked_labels
from cal_ratio_trainer.jets.legacy.names import FlatNames, flat_names
from cal_ratio_trainer.jets.ragged import FloatArray, Ragged
from cal_ratio_trainer.jets.schema import CONSTITUENTS, EVENT_SCALARS, JET_INPUTS, SCALAR_TYPES, Constituent
from cal_ratio_trainer.jets.table import Jets, as_arrow

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
        padding: what stands in an empty slot, for each kind's name; see `padding_rows`.
        absent: event columns to add as nulls.
        rows: how many jets at a time at most.

    Raises:
        InputFileError: a label is none of ours, or empty slots hold a number like -999.
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

    An event number that went through float32 was rounded and tells events apart no more: it is null as a whole.

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

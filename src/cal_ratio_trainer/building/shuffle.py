"""Puts jets into a given order that does not fit into memory: scatter into buckets on disk, then bucket by bucket."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.jets.features import CONSTITUENTS
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.table import Jets

JETS_A_BUCKET = 65536
MOST_BUCKETS = 256
"""Each bucket is an open file; with more jets the buckets grow instead."""

JETS_AT_A_TIME = 65536

POSITION = "_position"


class Shuffle(AbstractContextManager["Shuffle"]):
    """Takes jets with their places and gives them back in order of their places.

    The result depends on the places only, not on how the jets come in. Buckets are files without a name in `folder`:
    the system takes their space back however the program ends.
    """

    def __init__(self, folder: Path, jets: int, jets_a_bucket: int = JETS_A_BUCKET) -> None:
        """Prepare for `jets` jets, with places 0 to jets - 1."""
        folder.mkdir(parents=True, exist_ok=True)
        self._jets_a_bucket = max(jets_a_bucket, -(-jets // MOST_BUCKETS), 1)
        self._files = ExitStack()
        count = max(1, -(-jets // self._jets_a_bucket))
        files = (tempfile.TemporaryFile(dir=folder) for _ in range(count))  # noqa: SIM115
        self._buckets = [_Bucket(self._files.enter_context(file)) for file in files]
        self._waiting: list[Jets] = []
        self._waiting_jets = 0

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, jets: Jets, places: IndexArray) -> None:
        """Give jets and the place of each, [jets]; all must have the same columns and padding rows."""
        self._waiting.append(jets.with_columns({POSITION: pa.array(places, pa.int64())}))
        self._waiting_jets += len(jets)
        if self._waiting_jets >= JETS_AT_A_TIME:
            self._scatter()

    def in_order(self) -> Iterator[Jets]:
        """All jets in order of their places, with the column `POSITION`, in parts; once, after the last `add`."""
        self._scatter()
        for bucket in self._buckets:
            jets = bucket.read()
            if jets is not None:
                yield jets.take(np.argsort(jets[POSITION]))

    def _scatter(self) -> None:
        if not self._waiting_jets:
            return
        jets = Jets.concatenate(self._waiting)
        self._waiting, self._waiting_jets = [], 0
        bucket = jets[POSITION] // self._jets_a_bucket
        jets = jets.take(np.argsort(bucket, kind="stable"))
        ends = np.cumsum(np.bincount(bucket, minlength=len(self._buckets)))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > start:
                self._buckets[number].append(jets.slice(int(start), int(end)))


class _Bucket:
    """Jets in one file, as arrow batches that take the arrays as they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._padding: dict[str, Ragged] = {}

    def append(self, jets: Jets) -> None:
        table = jets.scalars.combine_chunks()
        for name, ragged in jets.constituents.items():
            table = table.append_column(name, _as_lists(ragged))
        if self._writer is None:
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), table.schema)
            self._padding = {name: ragged.slice(0, 0) for name, ragged in jets.constituents.items()}
        self._writer.write_table(table)

    def read(self) -> Jets | None:
        """All jets, in the order in which they came; None where none came."""
        if self._writer is None:
            return None
        self._writer.close()
        self._file.seek(0)
        table = pa.ipc.open_stream(pa.PythonFile(self._file, "r")).read_all()
        lists = {kind.name: _from_lists(table.column(kind.name), self._padding[kind.name]) for kind in CONSTITUENTS}
        scalars = table.drop_columns([kind.name for kind in CONSTITUENTS]).unify_dictionaries()
        return Jets(scalars.combine_chunks(), lists)


def _as_lists(ragged: Ragged) -> pa.ListArray:
    values = pa.FixedSizeListArray.from_arrays(pa.array(ragged.values.reshape(-1)), ragged.values.shape[1])
    return pa.ListArray.from_arrays(pa.array(ragged.offsets.astype(np.int32)), values)


def _from_lists(column: pa.ChunkedArray, empty: Ragged) -> Ragged:
    features = empty.values.shape[1]
    values = [chunk.flatten().flatten().to_numpy().reshape(-1, features) for chunk in column.chunks]
    lengths = [chunk.value_lengths().to_numpy() for chunk in column.chunks]
    return Ragged.from_lengths(np.concatenate(values), np.concatenate(lengths), empty.padding)

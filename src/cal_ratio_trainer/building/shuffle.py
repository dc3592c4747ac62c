"""Puts jets into a given order that does not fit into memory: scatter into buckets on disk, then bucket by bucket.

A file holds blocks, each of jets of one bucket. One process writes one such file; several write one each, and the
buckets are then put together from all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.parquet import StoredTable, append_table, read_table
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.jets.table import Jets

JETS_A_BUCKET = 65536
MAX_BUCKETS = 256
"""With more jets the buckets grow instead, so that blocks do not become too small to be read fast."""

JETS_AT_A_TIME = 65536

POSITION = "_position"
_NAME = Path("scattered jets")


class DifferentPadding(UserError):
    """Jets that are to come into one file have other values in their empty slots."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"the inputs have different values in empty slots of {kind}, so they cannot be built to one file; frames "
            "that the earlier program scaled from a range above 0 have other values than 0 there"
        )


@dataclass(frozen=True)
class Buckets:
    """Division of places into buckets: bucket b begins at b * jets_each."""

    jets_each: int
    number: int

    @classmethod
    def of(cls, jets: int, jets_each: int | None = None) -> "Buckets":
        """For jets with the places 0 to jets - 1."""
        each = max(jets_each or JETS_A_BUCKET, -(-jets // MAX_BUCKETS), 1)
        return cls(each, -(-jets // each))


@dataclass(frozen=True)
class Block:
    """Jets of one bucket, and where they are in the file."""

    bucket: int
    table: StoredTable


@dataclass(frozen=True)
class Scattered:
    """Output of a `Scatter`: its blocks, in order, and the padding row of each kind of constituent."""

    blocks: tuple[Block, ...]
    padding: dict[str, list[float]]


class Scatter:
    """Takes jets with their places and writes them to a file, a block for each bucket that they belong to."""

    def __init__(self, file: IO[bytes], buckets: Buckets) -> None:
        self._file, self._buckets = file, buckets
        self._blocks: list[Block] = []
        self._padding: dict[str, list[float]] = {}
        self._waiting: list[Jets] = []
        self._waiting_jets = 0

    def add(self, jets: Jets, places: IndexArray) -> None:
        """Gives jets and the place of each, [jets]; all must have the same columns.

        Raises:
            DifferentPadding: their padding rows are not those of the jets before.
        """
        padding = {name: ragged.padding.tolist() for name, ragged in jets.constituents.items()}
        self._padding = _same_padding(self._padding, padding)
        self._waiting.append(jets.with_columns({POSITION: pa.array(places, pa.int64())}))
        self._waiting_jets += len(jets)
        if self._waiting_jets >= JETS_AT_A_TIME:
            self._write()

    def finish(self) -> Scattered:
        """All jets are in the file."""
        self._write()
        self._file.flush()
        return Scattered(tuple(self._blocks), self._padding)

    def _write(self) -> None:
        if not self._waiting_jets:
            return
        jets = Jets.concatenate(self._waiting)
        self._waiting, self._waiting_jets = [], 0
        bucket = jets[POSITION] // self._buckets.jets_each
        jets = jets.take(np.argsort(bucket, kind="stable"))
        ends = np.cumsum(np.bincount(bucket, minlength=self._buckets.number))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > start:
                self._append(number, jets.slice(int(start), int(end)))

    def _append(self, bucket: int, jets: Jets) -> None:
        table = jets.scalars.combine_chunks()
        for name, ragged in jets.constituents.items():
            table = table.append_column(name, _as_lists(ragged))
        self._blocks.append(Block(bucket, append_table(self._file, table)))


def _same_padding(known: dict[str, list[float]], found: dict[str, list[float]]) -> dict[str, list[float]]:
    for name, row in known.items():
        if found[name] != row:
            raise DifferentPadding(name)
    return found


def in_order(parts: Sequence[tuple[IO[bytes], Scattered]], buckets: Buckets, schema: Schema) -> Iterator[Jets]:
    """All jets in order of their places, with the column `POSITION`, a bucket at a time.

    The result depends on the jets and their places only, not on how they came into which file.

    Args:
        parts: files with what was written to each.
        buckets: as they were when it was written.
        schema: the features of all jets.

    Raises:
        DifferentPadding: jets of two files have other padding rows.
    """
    by_bucket: list[list[tuple[IO[bytes], Block]]] = [[] for _ in range(buckets.number)]
    padding: dict[str, list[float]] = {}
    for file, written in parts:
        if written.blocks:
            padding = _same_padding(padding, written.padding)
        for block in written.blocks:
            by_bucket[block.bucket].append((file, block))
    for blocks in by_bucket:
        if blocks:
            # Without a name for the bucket as it was read, its memory is free while the sorted jets are used.
            yield _with_own_dictionaries(_by_position(_read(blocks, padding, schema)))


def _by_position(jets: Jets) -> Jets:
    return jets.take(np.argsort(jets[POSITION]))


def _read(blocks: Sequence[tuple[IO[bytes], Block]], padding: dict[str, list[float]], schema: Schema) -> Jets:
    table = pa.concat_tables([read_table(file, block.table, _NAME) for file, block in blocks])
    lists = {
        kind.name: _from_lists(table.column(kind.name), np.asarray(padding[kind.name], dtype=np.float32))
        for kind in schema.constituents
    }
    scalars = table.drop_columns(list(lists)).unify_dictionaries()
    return Jets(scalars.combine_chunks(), lists, schema=schema)


def _with_own_dictionaries(jets: Jets) -> Jets:
    """The same jets, whose dictionaries hold what is in them, in its order, and not what else came with it."""
    words = [column.name for column in jets.scalars.schema if pa.types.is_dictionary(column.type)]
    columns = {name: jets.scalars.column(name) for name in words}
    return jets.with_columns(
        {
            name: column.cast(column.type.value_type).combine_chunks().dictionary_encode()
            for name, column in columns.items()
        }
    )


def _as_lists(ragged: Ragged) -> pa.ListArray:
    values = pa.FixedSizeListArray.from_arrays(pa.array(ragged.values.reshape(-1)), ragged.values.shape[1])
    return pa.ListArray.from_arrays(pa.array(ragged.offsets.astype(np.int32)), values)


def _from_lists(column: pa.ChunkedArray, padding: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Ragged:
    values = [chunk.flatten().flatten().to_numpy().reshape(-1, len(padding)) for chunk in column.chunks]
    lengths = [chunk.value_lengths().to_numpy() for chunk in column.chunks]
    return Ragged.from_lengths(np.concatenate(values), np.concatenate(lengths), padding)

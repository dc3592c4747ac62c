"""The last step of a build: scales the taken jets and puts them into their order, which need not fit into memory.

A bucket is a range of places in the training file. Jets are first scattered over buckets, by any number of processes,
each to files of blocks of jets of one bucket; then bucket after bucket is put together from all of these files. Small
inputs are taken together and large ones cut, so that there are neither many small files nor few large ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.normalisation import WEIGHT
from cal_ratio_trainer.building.scaling import ScaledJets, scale
from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.building.workers import Workers
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.files.parquet import StoredTable, append_table, read_table
from cal_ratio_trainer.jets.cleaning import Cleaning
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import EVENT_SCALARS, ORIGIN_SCALARS, REQUIRED_SCALARS, Schema
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import Report
from cal_ratio_trainer.workers.pieces import piece_file

JETS_A_BUCKET = 65536
MAX_BUCKETS = 256
"""With more jets the buckets grow instead, so that blocks do not become too small to be read fast."""

JETS_AT_A_TIME = 65536
JETS_A_PORTION = 1 << 18

POSITION = "_position"
"""Column with the place of a jet in the training file."""

KEPT_SCALARS = {**REQUIRED_SCALARS, **EVENT_SCALARS, **ORIGIN_SCALARS}
"""The scalar columns of a training file, with their types."""

_NAME = Path("scattered jets")
_USELESS = "{n} clusters have layer energies whose sum is 0 or not finite: their fractions were set to 0"


class DifferentPadding(UserError):
    """Jets that are to come into one file have other values in their empty slots."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"the inputs have different values in empty slots of {kind}, so they cannot be built to one file; frames "
            "that the earlier program scaled from a range above 0 have other values than 0 there"
        )


@dataclass(frozen=True)
class Recipe:
    """Values common to all jets.

    Attributes:
        scaling: scaling of the jets; None if they are scaled already.
        kept: names of the scalar columns.
        bucket: number of places per bucket.
        schema: features of the jets.
    """

    scaling: Scaling | None
    kept: tuple[str, ...]
    bucket: int
    schema: Schema


@dataclass(frozen=True)
class TakenRows:
    """Selection from some rows of a file.

    Attributes:
        name: name of the file, as the user gave it.
        path: path of the file.
        rows: rows of the file, from edge to edge.
        taken: positions in the file, rising, [taken].
        places: places in the training file, [taken].
        weights: new mcEventWeight, [taken]; None keeps that of the file.
    """

    name: str
    path: Path
    rows: range
    taken: IndexArray
    places: IndexArray
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class ScatteredJets:
    """A file of scattered jets.

    Attributes:
        path: path of the file.
        blocks: number of the bucket of each block, and the block.
        padding: padding row of each kind of constituent.
    """

    path: Path
    blocks: tuple[tuple[int, StoredTable], ...]
    padding: dict[str, list[float]]


def bucket_for(jets: int) -> int:
    """Returns the number of places per bucket for a number of jets."""
    return max(JETS_A_BUCKET, -(-jets // MAX_BUCKETS))


def permuted(
    files: Sequence[ScannedFile], places: IndexArray, recipe: Recipe, workers: Workers, line: ProgressLine
) -> tuple[Iterator[Jets], Counter[str]]:
    """Scales all taken jets and puts them into their order, by files beside the output of the workers.

    Args:
        files: selection from each file.
        places: places of all taken jets in the training file, in the order of the files, [jets].
        recipe: recipe for the jets.
        workers: workers that scale and scatter.
        line: shows the progress of these.

    Returns:
        The jets in order of their places, one bucket at a time; number of unusual values, by message with `{n}`.

    Raises:
        InputFileError: a file is damaged, or every worker that was given it was lost.
        DifferentPadding: jets of two files have other padding rows.
        OSError: the folder cannot be written.
    """
    output = workers.output.absolute()
    given = ((portion[0].name, (portion, recipe, output)) for portion in _portions(files, places))
    found = workers.results(scatter_portion, given, line)
    unusual = Counter[str]()
    for _, counts in found:
        unusual.update(counts)
    return in_order([scattered for scattered, _ in found], recipe.schema), unusual


def _portions(files: Sequence[ScannedFile], places: IndexArray) -> Iterator[tuple[TakenRows, ...]]:
    """All taken jets in the order of the files, in units of work; each becomes one open file."""
    enough = max(JETS_A_PORTION, -(-len(places) // MAX_BUCKETS))
    gathered: list[TakenRows] = []
    start = 0
    for file in files:
        for part in _parts(file, places[start : start + len(file.taken)], enough):
            gathered.append(part)
            if sum(len(each.taken) for each in gathered) >= enough:
                yield tuple(gathered)
                gathered = []
        start += len(file.taken)
    if gathered:
        yield tuple(gathered)


def _parts(file: ScannedFile, places: IndexArray, enough: int) -> Iterator[TakenRows]:
    """A file cut at edges into parts of so many taken jets or more, but the last; rows without any are passed over."""
    start, first = 0, file.edges[0] if file.edges else 0
    for _, edge in pairwise(file.edges):
        end = int(np.searchsorted(file.taken, edge))
        if end - start >= enough or (edge == file.edges[-1] and end > start):
            weights = None if file.weights is None else file.weights[start:end]
            path, rows = file.source.path.absolute(), range(first, edge)
            yield TakenRows(file.source.given_as, path, rows, file.taken[start:end], places[start:end], weights)
            start, first = end, edge
        elif end == start:
            first = edge


def scatter_portion(
    report: Report, portion: Sequence[TakenRows], recipe: Recipe, output: Path
) -> tuple[ScatteredJets, Counter[str]]:
    """Scales a portion and scatters it to a file beside the output; returns also its unusual values by message."""
    unusual, cleaning = Counter[str](), Cleaning(recipe.schema)
    jets_in_all = sum(len(part.taken) for part in portion)

    def scaled() -> Iterator[tuple[Jets, IndexArray]]:
        done = 0
        report(0, jets_in_all)
        for part in portion:
            for jets, chosen in _batches(part, recipe.kept):
                own = ScaledJets(jets, 0) if recipe.scaling is None else scale(jets, recipe.scaling)
                yield own.jets, part.places[chosen]
                unusual[_USELESS] += own.clusters_without_fractions
                # Unusual values are counted and written as they are: training and score read them as 0.
                cleaning.scalars(own.jets)
                for kind in recipe.schema.constituents:
                    cleaning.constituents(kind, own.jets.constituents[kind.name])
                done += len(jets)
                report(done, jets_in_all)

    scattered = scatter(piece_file(output), scaled(), recipe.bucket)
    found = cleaning.report()
    for name, count in found.non_finite.items():
        unusual[f"{{n}} values of {name} are NaN or infinite; training and score read them as 0"] += count
    unusual["{n} values of mcEventWeight are not finite"] += found.non_finite_weights
    return scattered, unusual


def _batches(part: TakenRows, kept: Sequence[str]) -> Iterator[tuple[Jets, slice]]:
    """The taken jets with the scalar columns of a training file, batch by batch, and their slice of the taken ones."""
    types = {name: KEPT_SCALARS.get(name, pa.float32()) for name in kept}
    start = part.rows.start
    for batch in open_jets(part.path).batches(within=part.rows):
        first, last = np.searchsorted(part.taken, [start, start + len(batch)]).tolist()
        if last > first:
            chosen = slice(first, last)
            # Taken rows rise, so as many of them as the batch has jets are all of its jets.
            jets = batch if last - first == len(batch) else batch.take(part.taken[chosen] - start)
            columns = {
                name: jets.scalars.column(name).cast(kind) if name in jets else pa.nulls(len(jets), kind)
                for name, kind in types.items()
            }
            jets = replace(jets, scalars=pa.table(columns))
            if part.weights is not None:
                jets = jets.with_columns({WEIGHT: part.weights[chosen]})
            yield jets, chosen
        start += len(batch)


def scatter(path: Path, batches: Iterable[tuple[Jets, IndexArray]], bucket: int) -> ScatteredJets:
    """Writes jets to a file, in blocks of jets of one bucket.

    Args:
        path: path of the file.
        batches: jets, all with the same columns, and the place of each, [jets].
        bucket: number of places per bucket.

    Raises:
        DifferentPadding: padding rows differ.
        OSError: the file cannot be written.
    """
    blocks: list[tuple[int, StoredTable]] = []
    padding: dict[str, list[float]] = {}
    waiting: list[Jets] = []

    def write(file: IO[bytes]) -> None:
        jets = Jets.concatenate(waiting)
        waiting.clear()
        buckets = jets[POSITION] // bucket
        jets = jets.take(np.argsort(buckets, kind="stable"))
        numbers, counts = np.unique(buckets, return_counts=True)
        for number, end, count in zip(numbers.tolist(), np.cumsum(counts).tolist(), counts.tolist(), strict=True):
            own = jets.slice(end - count, end)
            table = own.scalars.combine_chunks()
            for name, ragged in own.constituents.items():
                table = table.append_column(name, _as_lists(ragged))
            blocks.append((number, append_table(file, table)))

    with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
        for jets, places in batches:
            own_padding = {name: ragged.padding.tolist() for name, ragged in jets.constituents.items()}
            padding = _same_padding(padding, own_padding)
            waiting.append(jets.with_columns({POSITION: pa.array(places, pa.int64())}))
            if sum(map(len, waiting)) >= JETS_AT_A_TIME:
                write(file)
        if sum(map(len, waiting)):
            write(file)
    return ScatteredJets(path, tuple(blocks), padding)


def _same_padding(known: dict[str, list[float]], found: dict[str, list[float]]) -> dict[str, list[float]]:
    for name, row in known.items():
        if found[name] != row:
            raise DifferentPadding(name)
    return found


def in_order(parts: Sequence[ScatteredJets], schema: Schema) -> Iterator[Jets]:
    """All jets in order of their places, with the column `POSITION`, one bucket at a time.

    The result depends on the jets and their places only, not on how they came into which file.

    Args:
        parts: files of scattered jets.
        schema: features of all jets.

    Raises:
        DifferentPadding: jets of two files have other padding rows.
    """
    padding: dict[str, list[float]] = {}
    by_bucket: dict[int, list[tuple[IO[bytes], StoredTable]]] = {}
    with ExitStack() as opened:
        for part in parts:
            if part.blocks:
                padding = _same_padding(padding, part.padding)
            file = opened.enter_context(part.path.open("rb"))
            for bucket, table in part.blocks:
                by_bucket.setdefault(bucket, []).append((file, table))
        for bucket in sorted(by_bucket):
            # Without a name for the bucket as it was read, its memory is free while the sorted jets are used.
            yield _with_own_dictionaries(_by_position(_read(by_bucket[bucket], padding, schema)))


def _by_position(jets: Jets) -> Jets:
    return jets.take(np.argsort(jets[POSITION]))


def _read(blocks: Sequence[tuple[IO[bytes], StoredTable]], padding: dict[str, list[float]], schema: Schema) -> Jets:
    table = pa.concat_tables([read_table(file, stored, _NAME) for file, stored in blocks])
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

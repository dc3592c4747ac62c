"""The second pass of a build: scales the taken jets and scatters them over buckets, in one process or in several.

Small files are taken together and large ones cut, so that there are neither many small pieces nor few large ones.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from cal_ratio_trainer.building.shuffle import MAX_BUCKETS, Buckets, Scatter, Scattered, in_order
from cal_ratio_trainer.building.workers import Job, Workers
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.jets.cleaning import Cleaning
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import EVENT_SCALARS, ORIGIN_SCALARS, REQUIRED_SCALARS, Schema
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.pieces import piece_file
from cal_ratio_trainer.progress import ProgressLine
from cal_ratio_trainer.workers.executor import Report

JETS_A_PORTION = 1 << 18

KEPT_SCALARS = {**REQUIRED_SCALARS, **EVENT_SCALARS, **ORIGIN_SCALARS}
"""The scalar columns of a training file, with their types."""

_USELESS = "{n} clusters have layer energies whose sum is 0 or not finite: their fractions were set to 0"


@dataclass(frozen=True)
class Recipe:
    """Values common to all jets: scaling (None if they are scaled already), scalar columns, features, and places."""

    scaling: Scaling | None
    kept: tuple[str, ...]
    buckets: Buckets
    schema: Schema


@dataclass(frozen=True)
class TakenRows:
    """Selection from some rows of a file.

    Attributes:
        name: of the file, as the user gave it.
        rows: of the file, from edge to edge.
        taken: positions in the file, rising, [taken].
        places: in the training file, [taken].
        weights: new mcEventWeight, [taken]; None keeps that of the file.
    """

    name: str
    path: Path
    rows: range
    taken: IndexArray
    places: IndexArray
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class ScatteredPortion:
    """A portion on disk, and its unusual values by message."""

    path: Path
    written: Scattered
    unusual: Counter[str]


@contextmanager
def scattered(
    files: Sequence[ScannedFile], places: IndexArray, recipe: Recipe, workers: Workers, line: ProgressLine
) -> Iterator[tuple[Iterator[Jets], Counter[str]]]:
    """Scales all taken jets and writes them to buckets beside the output, which exist until the block ends.

    Args:
        files: selection from each file.
        places: of all taken jets, in the order of the files, [jets].
        recipe: recipe for the jets.
        workers: do the work. Where this process works alone, its file has no name, so that none can be left behind.
        line: shows the progress.

    Yields:
        The jets in order of their places, a bucket at a time; number of unusual values, by message with `{n}`.

    Raises:
        InputFileError: a file is damaged, or every worker that was given it was lost.
        OSError: the folder cannot be written.
    """
    portions = _portions(files, places)
    with ExitStack() as opened:
        written: list[tuple[IO[bytes], Scattered]] = []
        found = Counter[str]()
        if workers.are_alone:
            file = opened.enter_context(tempfile.TemporaryFile(dir=workers.output.parent))
            scatter = Scatter(file, recipe.buckets)
            alone = (Job(each[0].name, _scatter_here, (each, recipe, scatter)) for each in portions)
            for unusual in workers.results(alone, line):
                found.update(unusual)
            written.append((file, scatter.finish()))
        else:
            output = workers.output.absolute()
            jobs = (Job(each[0].name, _scatter_to_piece, (each, recipe, output)) for each in portions)
            for piece in workers.results(jobs, line):
                found.update(piece.unusual)
                written.append((opened.enter_context(piece.path.open("rb")), piece.written))
        yield in_order(written, recipe.buckets, recipe.schema), found


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


def _scatter_here(report: Report, portion: Sequence[TakenRows], recipe: Recipe, scatter: Scatter) -> Counter[str]:
    """Scatters a portion; returns its unusual values by message."""
    unusual, cleaning, done = Counter[str](), Cleaning(recipe.schema), 0
    jets_in_all = sum(len(part.taken) for part in portion)
    report(0, jets_in_all)
    for part in portion:
        for jets, chosen in _batches(part, recipe.kept):
            scaled = ScaledJets(jets, 0) if recipe.scaling is None else scale(jets, recipe.scaling)
            scatter.add(scaled.jets, part.places[chosen])
            unusual[_USELESS] += scaled.clusters_without_fractions
            # Unusual values are counted and written as they are: training and score read them as 0.
            cleaning.scalars(scaled.jets)
            for kind in recipe.schema.constituents:
                cleaning.constituents(kind, scaled.jets.constituents[kind.name])
            done += len(jets)
            report(done, jets_in_all)
    found = cleaning.report()
    for name, count in found.non_finite.items():
        unusual[f"{{n}} values of {name} are NaN or infinite; training and score read them as 0"] += count
    unusual["{n} values of mcEventWeight are not finite"] += found.non_finite_weights
    return unusual


def _scatter_to_piece(report: Report, portion: Sequence[TakenRows], recipe: Recipe, output: Path) -> ScatteredPortion:
    """The same, to a file of its own beside the output."""
    path = piece_file(output)
    with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
        scatter = Scatter(file, recipe.buckets)
        unusual = _scatter_here(report, portion, recipe, scatter)
        written = scatter.finish()
    return ScatteredPortion(path, written, unusual)


def _batches(part: TakenRows, kept: Sequence[str]) -> Iterator[tuple[Jets, slice]]:
    """The taken jets, batch by batch, and which of those taken they are."""
    start = part.rows.start
    for batch in open_jets(part.path).batches(within=part.rows):
        first, last = np.searchsorted(part.taken, [start, start + len(batch)]).tolist()
        if last > first:
            chosen = slice(first, last)
            # Taken rows rise, so as many of them as the batch has jets are all of its jets.
            jets = batch if last - first == len(batch) else batch.take(part.taken[chosen] - start)
            jets = _with_columns(jets, kept)
            if part.weights is not None:
                jets = jets.with_columns({WEIGHT: part.weights[chosen]})
            yield jets, chosen
        start += len(batch)


def _with_columns(jets: Jets, kept: Sequence[str]) -> Jets:
    """The jets with exactly the scalar columns of a training file; what an input lacks is null."""
    types = {name: KEPT_SCALARS.get(name, pa.float32()) for name in kept}
    columns = {
        name: jets.scalars.column(name).cast(kind) if name in jets else pa.nulls(len(jets), kind)
        for name, kind in types.items()
    }
    return replace(jets, scalars=pa.table(columns))

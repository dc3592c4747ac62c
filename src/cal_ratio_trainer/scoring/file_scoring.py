"""One file of jets to one file of scores, whole or in pieces, batch by batch."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.evaluation.intervals import ShareTally, selections
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.files.parquet import StoredTable, append_table, read_table
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.cleaning import CleaningReport
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.runs.finding import run_at
from cal_ratio_trainer.scoring.blinding import Blinding, blinding_of
from cal_ratio_trainer.scoring.parts import JetPart, PartArray
from cal_ratio_trainer.scoring.score_file import (
    BLIND_ABOVE,
    FOLDS,
    MEMBERS,
    PART,
    SCORE_COLUMNS,
    score_table,
    writing_scores,
)
from cal_ratio_trainer.scoring.scorer import ScoreArray, Scorer, find_scorer
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, open_stream
from cal_ratio_trainer.scoring.tally import ScoreTally, unusual_value_notes
from cal_ratio_trainer.workers.executor import Executor, Report, available_cores, prefetched
from cal_ratio_trainer.workers.files import Pieces
from cal_ratio_trainer.workers.pieces import piece_file

_JETS, _SCORES = "jets.", "scores."
_OF_DATA = "of_data"
_UNUSUAL_VALUES = b"unusual_values"


@dataclass
class ScoredFile:
    """Result of one file.

    Attributes:
        file: as the user gave it.
        output: path of its scores; None if it failed.
        tally: its counts; None if it failed.
        seconds: duration. [s]
        simulation: simulation of its events by its metadata.
        reason: why it failed, a sentence; empty where it did not.
        notes: notes for the user, one sentence each.
        data_taking: origin of its jets, for the heading of figures.
    """

    file: str
    output: Path | None = None
    tally: ScoreTally | None = None
    seconds: float = 0.0
    simulation: str | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    data_taking: DataTaking = field(default_factory=DataTaking)

    @property
    def jets(self) -> int:
        """Number of jets that were scored."""
        return self.tally.jets if self.tally is not None else 0


@dataclass(frozen=True)
class ScoreRequest:
    """One file to score, as it travels to the process that scores it.

    Attributes:
        file: as the user gave it.
        output: path for its scores.
        settings: of the call, see `settings_for`.
        call: identifies this call, so that no process uses the network of an earlier one.
    """

    file: str
    output: Path
    settings: ScoreSettings
    call: str

    @property
    def written(self) -> tuple[Path, ...]:
        """All files that are written for it."""
        return (self.output,)

    def scorer(self) -> Scorer:
        """The networks, loaded once in each process."""
        return loaded_scorer(self.settings.model_dump_json(), self.call)


def settings_for(executor: Executor, settings: ScoreSettings) -> ScoreSettings:
    """Settings for an executor: its processes share the cores of a machine, or need absolute paths on another."""
    changes: dict[str, Any] = {}
    if executor.is_elsewhere:
        changes["output_path"] = settings.output_path.absolute()
        given = Path(settings.training or "")
        if settings.training is not None and (given.exists() or run_at(given) is not None):
            changes["training"] = str(given.absolute())
    elif not executor.is_alone and settings.threads is None:
        changes["threads"] = max(1, available_cores() // executor.places)
    return settings.model_copy(update=changes)


@lru_cache(maxsize=1)
def loaded_scorer(settings_json: str, call: str) -> Scorer:
    """The networks of a call, loaded once in each process; arguments as in `ScoreRequest`, errors as `find_scorer`."""
    settings = ScoreSettings.model_validate_json(settings_json)
    return find_scorer(settings.training or "", settings)


def score_whole(report: Report, request: ScoreRequest, may_be_cut: bool) -> ScoredFile | Pieces:
    """Scores one file, or divides it into pieces.

    Raises:
        InputFileError: it cannot be scored.
        ConfigError: the network needs masses that are not known.
        OSError: the output cannot be written.
    """
    begin = time.perf_counter()
    scorer = request.scorer()
    stream = open_stream(request.file, request.settings, scorer.scaling, scorer.schema)
    if may_be_cut and (pieces := stream.pieces(request.settings.piece_events)):
        return Pieces(pieces)
    with closing(prefetched(stream.batches)) as batches:
        return _write(request, stream, _scored(request, stream, batches, report), begin)


@dataclass(frozen=True)
class ScoredBatch:
    """Jets with their scores and the rows of the file of scores.

    Attributes:
        scores: [jets, 3]; NaN where they are hidden.
        part: [jets].
        of_data: [jets] whether they are blinded; None where nothing of the file is.
    """

    batch: JetBatch
    scores: ScoreArray
    part: PartArray
    table: pa.Table
    of_data: NDArray[np.bool_] | None = None


def _scored(
    request: ScoreRequest, stream: JetStream, batches: Iterable[tuple[JetBatch, int]], report: Report
) -> Iterator[ScoredBatch]:
    """Scores batch by batch."""
    scorer, blinding = request.scorer(), blinding_of(request.settings.blind_above, stream.origin)
    lookup, done = scorer.lookup(stream.path), 0
    report(0, stream.size)
    for batch, used in batches:
        jets = batch.jets
        fold_rule = scorer.networks.fold_rule
        folds = fold_rule.folds_of(jets, stream.name) if fold_rule is not None else None
        scores, spread = scorer.scores_and_spread(jets, stream.labelled)
        part = lookup.parts(jets)
        batch = replace(batch, other_contents=lookup.other_contents(jets, part))
        of_data = None
        if blinding is not None:
            of_data = blinding.of_data(jets)
            # Before anything is counted or written: pieces of a file are files too.
            blinding.hide(scores, of_data)
        keep = request.settings.keep_columns
        table = score_table(
            *(batch, scores, part),
            labelled=stream.labelled,
            keep=keep,
            folds=folds,
            spread=spread,
            of_data=of_data,
        )
        yield ScoredBatch(batch, scores, part, table, of_data)
        done += used
        report(done, stream.size)


def _write(request: ScoreRequest, stream: JetStream, batches: Iterable[ScoredBatch], begin: float) -> ScoredFile:
    """Counts scored batches and writes them to the file of scores."""
    scorer, blinding = request.scorer(), blinding_of(request.settings.blind_above, stream.origin)
    tally = ScoreTally(stream.region, stream.labelled, ShareTally(selections(request.settings.cuts)), blinding)
    lookup = scorer.lookup(stream.path)
    with writing_scores(request.output, is_leased=True) as writer:
        for each in batches:
            tally.add(each.batch, each.scores, each.part, each.of_data)
            writer.write(each.table)
        hides = [blinding.note()] if blinding is not None else []
        notes = [
            *stream.notes,
            *hides,
            *unusual_value_notes(tally.unusual_values),
            *([lookup.note] if lookup.note else []),
        ]
        writer.finish(_description(scorer, blinding, stream, tally, notes))
    seconds = time.perf_counter() - begin
    return ScoredFile(request.file, request.output, tally, seconds, stream.simulation, "", notes, stream.data_taking)


def _description(
    scorer: Scorer, blinding: Blinding | None, stream: JetStream, tally: ScoreTally, notes: list[str]
) -> dict[str, Any]:
    size = stream.path.stat().st_size if stream.path is not None else None
    of_set: dict[str, Any] = {}
    if isinstance(scorer.rule, FoldRule):
        of_set[FOLDS] = {"count": scorer.rule.count, "fold": scorer.rule.expression}
    elif scorer.rule is not None:
        of_set[MEMBERS] = scorer.rule.count
    return {
        "network": scorer.name,
        "network_of_run": os.fspath(scorer.run.path) if scorer.run is not None else None,
        "hypothesis": {column: scorer.networks.hypothesis[column] for column in scorer.networks.mass_columns},
        "scaling": scorer.scaling.model_dump(),
        "input": {"path": stream.name, "size_bytes": size},
        "region": stream.region,
        "simulation": stream.simulation,
        BLIND_ABOVE: None if blinding is None else blinding.above,
        "jets_by_part": {part.word: tally.jets_by_part().get(part.word, 0) for part in JetPart},
        "notes": [*scorer.notes, *notes],
        **of_set,
    }


@dataclass(frozen=True)
class ScoredPiece:
    """A scored piece: its file, where the batches stand in it, its unusual values, and how long it took."""

    path: Path
    batches: tuple[StoredTable, ...]
    unusual_values: Counter[str]
    seconds: float


def score_piece(report: Report, request: ScoreRequest, piece: tuple[range, ...]) -> ScoredPiece:
    """Scores some chunks of a file to a separate file. Raises as `score_whole`."""
    begin = time.perf_counter()
    scorer = request.scorer()
    stream = open_stream(request.file, request.settings, scorer.scaling, scorer.schema)
    stream.size = sum(map(len, piece))
    path = piece_file(request.output)
    with closing(prefetched(lambda: stream.batches_of(piece))) as batches:
        scored = _scored(request, stream, batches, report)
        with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
            written = tuple(append_table(file, _as_table(each), "zstd") for each in scored)
    return ScoredPiece(path, written, stream.unusual_values, time.perf_counter() - begin)


def join_pieces(report: Report, request: ScoreRequest, pieces: list[ScoredPiece]) -> ScoredFile:
    """Joins the pieces of a file to the output that `score_whole` would write. Raises as that."""
    begin = time.perf_counter()
    scorer = request.scorer()
    stream = open_stream(request.file, request.settings, scorer.scaling, scorer.schema)
    unusual_values: Counter[str] = Counter()
    for piece in pieces:
        unusual_values.update(piece.unusual_values)
    stream.note_unusual_values(unusual_values)
    done = _write(request, stream, _stored_batches(pieces), begin - sum(piece.seconds for piece in pieces))
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    return done


def _stored_batches(pieces: Iterable[ScoredPiece]) -> Iterator[ScoredBatch]:
    """The batches as they were, but that their jets have no constituents. Raises InputFileError where one is not."""
    for piece in pieces:
        with piece.path.open("rb") as file:
            for each in piece.batches:
                yield _from_table(read_table(file, each, piece.path))


def _as_table(each: ScoredBatch) -> pa.Table:
    scalars = each.batch.jets.scalars
    columns = {f"{_JETS}{name}": scalars.column(name) for name in scalars.column_names}
    if each.of_data is not None:
        columns[_OF_DATA] = pa.array(each.of_data)
    columns |= {f"{_SCORES}{name}": each.table.column(name) for name in each.table.column_names}
    cleaning = each.batch.cleaning
    counts = [cleaning.non_finite, cleaning.beyond_pi, each.batch.without_fractions, each.batch.other_contents]
    return pa.table(columns).replace_schema_metadata({_UNUSUAL_VALUES: json.dumps(counts).encode()})


def _from_table(content: pa.Table) -> ScoredBatch:
    non_finite, beyond_pi, *further = json.loads(content.schema.metadata[_UNUSUAL_VALUES])
    lengths = np.zeros(len(content), dtype=np.int64)
    no_constituents = {
        kind.name: Ragged.from_lengths(np.empty((0, len(kind.features)), np.float32), lengths) for kind in CONSTITUENTS
    }
    jets = Jets(_columns(content, _JETS), no_constituents)
    table = _columns(content, _SCORES)
    scores = np.stack([table.column(name).to_numpy() for name in SCORE_COLUMNS], axis=1)
    part = table.column(PART).combine_chunks().indices.to_numpy()
    cleaning = CleaningReport(non_finite=non_finite, beyond_pi=beyond_pi)
    batch = JetBatch(jets, np.empty(0, np.float32), None, cleaning, *further)
    of_data = content.column(_OF_DATA).to_numpy() if _OF_DATA in content.column_names else None
    return ScoredBatch(batch, scores, part, table, of_data)


def _columns(content: pa.Table, prefix: str) -> pa.Table:
    names = [name for name in content.column_names if name.startswith(prefix)]
    chosen = content.select(names).rename_columns([name.removeprefix(prefix) for name in names])
    return chosen.replace_schema_metadata(None)

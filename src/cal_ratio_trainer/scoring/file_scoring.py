"""One file of jets to one file of scores, whole or in pieces, batch by batch."""

import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.score import ScoreSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.evaluation.shares import Selection, selections
from cal_ratio_trainer.files.streams import StoredTable
from cal_ratio_trainer.ntuple.pieces import piece_file
from cal_ratio_trainer.runs.directory import run_at
from cal_ratio_trainer.scoring.blinding import Blinding, blinding_of
from cal_ratio_trainer.scoring.fold_scorer import AnyScorer, FoldScorer, find_any_scorer, folds_of
from cal_ratio_trainer.scoring.inputs import stream_options
from cal_ratio_trainer.scoring.open_stream import open_stream
from cal_ratio_trainer.scoring.parts import JetPart
from cal_ratio_trainer.scoring.score_file import BLIND_ABOVE, FOLDS, JetScores, score_table, writing_scores
from cal_ratio_trainer.scoring.score_pieces import ScoredBatch, read_batches, write_batches
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, StreamOptions
from cal_ratio_trainer.scoring.tally import ScoreTally
from cal_ratio_trainer.workers.executor import Executor, Report
from cal_ratio_trainer.workers.files import Pieces
from cal_ratio_trainer.workers.prefetch import prefetched
from cal_ratio_trainer.workers.processes import available_cores


@dataclass
class ScoredFile:
    """What became of one file.

    Attributes:
        file: as the user gave it.
        output: where its scores are; None where it failed.
        tally: what was counted; None where it failed.
        seconds: how long it took.
        simulation: what made its events, as its metadata say.
        reason: why it failed, a sentence; empty where it did not.
        notes: what a user should know, a sentence each.
    """

    file: str
    output: Path | None = None
    tally: ScoreTally | None = None
    seconds: float = 0.0
    simulation: str | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def jets(self) -> int:
        """How many jets were scored."""
        return self.tally.jets if self.tally is not None else 0


@dataclass(frozen=True)
class ScoreJob:
    """What is the same for all files of one call, as it travels to whoever scores.

    Attributes:
        settings: of the call, with absolute folders.
        run: tells this call from others, so that nobody takes the network of an earlier one.
    """

    settings: ScoreSettings
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of(cls, settings: ScoreSettings, executor: Executor) -> "ScoreJob":
        """For an executor, whose processes share the cores of a machine."""
        changes: dict[str, Any] = {}
        if executor.is_elsewhere:
            changes["output_path"] = settings.output_path.absolute()
            given = Path(settings.training or "")
            if settings.training is not None and (given.exists() or run_at(given) is not None):
                changes["training"] = str(given.absolute())
        elif not executor.is_alone and settings.threads is None:
            changes["threads"] = max(1, available_cores() // executor.places)
        return cls(settings.model_copy(update=changes))

    def work(self) -> "Work":
        """The network and all that goes with it, loaded once in each process."""
        return _loaded(self.settings.model_dump_json(), self.run)


@dataclass(frozen=True)
class ScoreRequest:
    """One file to score, and where its scores go."""

    file: str
    output: Path
    job: ScoreJob


@dataclass(frozen=True)
class Work:
    """The network, and how files are read for it."""

    scorer: AnyScorer
    options: StreamOptions
    selections: tuple[Selection, ...]
    settings: ScoreSettings

    def blinding(self, stream: JetStream) -> Blinding | None:
        """What is hidden of a file; None where that is nothing."""
        return blinding_of(self.settings.blind_above, stream.origin)

    def scored(
        self, stream: JetStream, batches: Iterable[tuple[JetBatch, int]], report: Report
    ) -> Iterator[ScoredBatch]:
        """Score batch by batch."""
        lookup, done = self.scorer.lookup(stream.path), 0
        blinding = self.blinding(stream)
        report(0, stream.size)
        for batch, used in batches:
            folds = folds_of(self.scorer, batch.jets, stream.name)
            scores = self.scorer.scores(batch.jets, stream.labelled)
            part = lookup.parts(batch.jets)
            of_data = None
            if blinding is not None:
                of_data = blinding.of_data(batch.jets)
                # Before anything is counted or written: pieces of a file are files too.
                blinding.hide(scores, of_data)
            found = JetScores(scores, part, folds, of_data)
            table = score_table(batch, found, stream.labelled, self.settings.keep_columns)
            yield ScoredBatch(batch, scores, part, table, of_data)
            done += used
            report(done, stream.size)


@lru_cache(maxsize=1)
def _loaded(settings_json: str, run: str) -> Work:
    settings = ScoreSettings.model_validate_json(settings_json)
    if settings.training is None:
        raise ConfigError(["no network is given: its name is the last word, or --training"])
    scorer = find_any_scorer(settings.training, settings)
    return Work(scorer, stream_options(settings, scorer.scaling), selections(settings.cuts), settings)


def score_whole(report: Report, request: ScoreRequest, may_be_cut: bool) -> ScoredFile | Pieces:
    """Score one file, or cut it.

    Raises:
        InputFileError: it cannot be scored.
        ConfigError: the network needs masses that are not known.
        OSError: the output cannot be written.
    """
    begin = time.perf_counter()
    work = request.job.work()
    stream = open_stream(request.file, work.options)
    if may_be_cut and (pieces := stream.pieces(work.settings.piece_events)):
        return Pieces(pieces)
    with closing(prefetched(stream.batches)) as batches:
        return _write(request, stream, work.scored(stream, batches, report), begin)


@dataclass(frozen=True)
class ScoredPiece:
    """A scored piece: its file, where the batches stand in it, what was odd in it, and how long it took."""

    path: Path
    batches: tuple[StoredTable, ...]
    oddities: Counter[str]
    seconds: float


def score_piece(report: Report, request: ScoreRequest, piece: tuple[range, ...]) -> ScoredPiece:
    """Score some chunks of a file into a file of their own. Raises as `score_whole`."""
    begin = time.perf_counter()
    work = request.job.work()
    stream = open_stream(request.file, work.options)
    stream.size = sum(map(len, piece))
    path = piece_file(request.output)
    with closing(prefetched(lambda: stream.batches_of(piece))) as batches:
        written = write_batches(path, work.scored(stream, batches, report))
    return ScoredPiece(path, written, stream.oddities, time.perf_counter() - begin)


def join_pieces(report: Report, request: ScoreRequest, pieces: list[ScoredPiece]) -> ScoredFile:
    """Put the pieces of a file together, as `score_whole` would have made it. Raises as that."""
    begin = time.perf_counter()
    stream = open_stream(request.file, request.job.work().options)
    oddities: Counter[str] = Counter()
    for piece in pieces:
        oddities.update(piece.oddities)
    stream.note_oddities(oddities)
    batches = (batch for piece in pieces for batch in read_batches(piece.path, piece.batches))
    done = _write(request, stream, batches, begin - sum(piece.seconds for piece in pieces))
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    return done


def _write(request: ScoreRequest, stream: JetStream, batches: Iterable[ScoredBatch], begin: float) -> ScoredFile:
    work = request.job.work()
    blinding = work.blinding(stream)
    tally = ScoreTally.empty(stream.region, stream.labelled, work.selections, blinding)
    lookup = work.scorer.lookup(stream.path)
    with writing_scores(request.output, is_leased=True) as writer:
        for each in batches:
            tally.add(each.batch, each.scores, each.part, each.of_data)
            writer.write(each.table)
        hides = [blinding.note()] if blinding is not None else []
        notes = [*stream.notes, *hides, *tally.oddity_sentences(), *([lookup.note] if lookup.note else [])]
        writer.finish(_description(work, stream, tally, notes))
    seconds = time.perf_counter() - begin
    return ScoredFile(request.file, request.output, tally, seconds, stream.simulation, "", notes)


def _description(work: Work, stream: JetStream, tally: ScoreTally, notes: list[str]) -> dict[str, Any]:
    scorer, blinding = work.scorer, work.blinding(stream)
    size = stream.path.stat().st_size if stream.path is not None else None
    folds = {"count": scorer.rule.count, "fold": scorer.rule.expression} if isinstance(scorer, FoldScorer) else None
    return {
        "network": scorer.name,
        "network_of_run": os.fspath(scorer.run.path) if scorer.run is not None else None,
        "hypothesis": {column: scorer.hypothesis.value(column) for column in scorer.mass_columns},
        "scaling": scorer.scaling.model_dump(),
        "input": {"path": stream.name, "size_bytes": size},
        "region": stream.region,
        "simulation": stream.simulation,
        BLIND_ABOVE: None if blinding is None else blinding.above,
        "jets_by_part": {part.word: tally.jets_by_part().get(part.word, 0) for part in JetPart},
        "notes": [*scorer.notes, *notes],
        **({FOLDS: folds} if folds else {}),
    }

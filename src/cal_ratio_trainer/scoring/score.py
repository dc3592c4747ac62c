"""Files of jets to files of scores: one after the other, batch by batch."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.score import ScoreSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.evaluation.shares import Selection, selections
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.scoring.inputs import files_named, outputs_for, stream_options
from cal_ratio_trainer.scoring.parts import JetPart, PartLookup
from cal_ratio_trainer.scoring.prefetch import prefetched
from cal_ratio_trainer.scoring.score_file import ScoreWriter, score_table, writing_scores
from cal_ratio_trainer.scoring.scorer import Scorer, find_scorer
from cal_ratio_trainer.scoring.streams import JetStream, Region, StreamOptions, open_stream
from cal_ratio_trainer.scoring.tally import ScoreTally

_log = logging.getLogger(__name__)


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
class ScoreSummary:
    """All files of one call.

    Attributes:
        network: the name of the network.
        notes: what a user should know of it, a sentence each.
        files: one entry each, in order.
        pt_ranges: of jet pt, in which the run compares data and MC.
    """

    network: str
    notes: tuple[str, ...]
    files: tuple[ScoredFile, ...]
    pt_ranges: tuple[PtRange, ...]

    @property
    def failed(self) -> tuple[ScoredFile, ...]:
        """The files that could not be scored."""
        return tuple(file for file in self.files if file.reason)

    @property
    def jets(self) -> int:
        """How many jets were scored."""
        return sum(file.jets for file in self.files)

    def notes_of_files(self) -> list[str]:
        """What a user should know of the files, each sentence once, with the files it is about."""
        about: dict[str, list[str]] = {}
        for file in self.files:
            for note in dict.fromkeys(file.notes):
                about.setdefault(note, []).append(Path(file.file).name)
        return [f"{_some(names)}: {note}" for note, names in about.items()]

    def tallies(self, region: Region, labelled: bool) -> list[ScoreTally]:
        """Those of the files of one kind."""
        known = [file.tally for file in self.files if file.tally is not None]
        return [tally for tally in known if (tally.region, tally.labelled) == (region, labelled)]


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names) if len(names) <= most else f"{names[0]} and {len(names) - 1} more files"


def score_files(settings: ScoreSettings) -> ScoreSummary:
    """Score every jet of the files; a bad file is a failed entry and the others go on.

    Memory does not grow with the files, but for pickled frames, which are held whole.

    Raises:
        ConfigError: no files or no network are given, or the network needs masses that are not known.
        InputFileError, RunError: the network cannot be used, a pattern matches nothing; or the only file fails.
        SameOutput: two files would be written to one.
        OSError: an output cannot be written.
    """
    if settings.training is None:
        raise ConfigError(["no network is given: its name is the last word, or --training"])
    files = files_named(settings.input_files)
    outputs = outputs_for(files, settings.output_report.parent)
    scorer = find_scorer(settings.training, settings)
    options = stream_options(settings, scorer.scaling)
    work = _Work(scorer, options, selections(settings.cuts), settings.keep_columns)
    done = []
    for file, output in outputs.items():
        try:
            done.append(work.score(file, output))
        except InputFileError as error:
            if len(files) == 1:
                raise
            reason = error.reason if error.file == file else str(error)
            _log.warning("%s: failed: %s", file, reason)
            done.append(ScoredFile(file, reason=reason))
    return ScoreSummary(scorer.name, scorer.notes, tuple(done), scorer.pt_ranges)


@dataclass(frozen=True)
class _Work:
    """What is the same for all files."""

    scorer: Scorer
    options: StreamOptions
    selections: tuple[Selection, ...]
    keep_columns: Sequence[str]

    def score(self, file: str, output: Path) -> ScoredFile:
        begin = time.perf_counter()
        stream = open_stream(file, self.options)
        tally = ScoreTally.empty(stream.region, stream.labelled, self.selections)
        lookup = self.scorer.lookup(stream.path)
        with writing_scores(output) as writer:
            self._stream(stream, lookup, tally, writer)
            notes = [*stream.notes, *tally.oddity_sentences(), *([lookup.note] if lookup.note else [])]
            writer.finish(self._description(stream, tally, notes))
        seconds = time.perf_counter() - begin
        return ScoredFile(file, output, tally, seconds, stream.simulation, "", notes)

    def _stream(self, stream: JetStream, lookup: PartLookup, tally: ScoreTally, writer: ScoreWriter) -> None:
        with progress(f"score {Path(stream.name).name}", stream.size, stream.unit) as line:
            for batch, used in prefetched(stream.batches):
                scores = self.scorer.scores(batch.jets, stream.labelled)
                part = lookup.parts(batch.jets)
                tally.add(batch, scores, part)
                writer.write(score_table(batch, scores, part, stream.labelled, self.keep_columns))
                line.advance(used)

    def _description(self, stream: JetStream, tally: ScoreTally, notes: list[str]) -> dict[str, Any]:
        scorer = self.scorer
        size = stream.path.stat().st_size if stream.path is not None else None
        return {
            "network": scorer.name,
            "network_of_run": str(scorer.run.path) if scorer.run is not None else None,
            "hypothesis": {column: scorer.hypothesis.value(column) for column in scorer.mass_columns},
            "scaling": scorer.scaling.model_dump(),
            "input": {"path": stream.name, "size_bytes": size},
            "region": stream.region,
            "simulation": stream.simulation,
            "jets_by_part": {part.word: tally.jets_by_part().get(part.word, 0) for part in JetPart},
            "notes": [*scorer.notes, *notes],
        }

"""Files of jets to files of scores: by this process, by several, or by a cluster."""

import logging
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cal_ratio_trainer.config.base import folder_of_scores, in_shard
from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, SameOutput
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.runs.finding import is_network
from cal_ratio_trainer.scoring.file_scoring import (
    ScoredFile,
    ScoreRequest,
    join_pieces,
    loaded_scorer,
    score_piece,
    score_whole,
    settings_for,
)
from cal_ratio_trainer.scoring.streams import Region, files_named
from cal_ratio_trainer.scoring.tally import ScoreTally
from cal_ratio_trainer.workers.executor import WorkerLost
from cal_ratio_trainer.workers.files import FileProgress, Steps, do_files
from cal_ratio_trainer.workers.opening import opened_executor

__all__ = ["ScoreSummary", "ScoredFile", "score_files"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreSummary:
    """All files of one call.

    Attributes:
        network: the name of the network.
        notes: notes for the user, one sentence each.
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
        """Number of jets that were scored."""
        return sum(file.jets for file in self.files)

    def notes_of_files(self) -> list[str]:
        """Notes on the files, each once, with the names of the files."""
        about: dict[str, list[str]] = {}
        for file in self.files:
            for note in dict.fromkeys(file.notes):
                about.setdefault(note, []).append(Path(file.file).name)
        return [
            f"{', '.join(names) if len(names) <= 3 else f'{names[0]} and {len(names) - 1} more files'}: {note}"
            for note, names in about.items()
        ]

    def tallies(self, region: Region, labelled: bool, blinded: bool) -> list[ScoreTally]:
        """Tallies of the files of one kind."""
        known = [file.tally for file in self.files if file.tally is not None]
        kind = (region, labelled, blinded)
        return [tally for tally in known if (tally.region, tally.labelled, tally.blinding is not None) == kind]


def score_files(settings: ScoreSettings) -> ScoreSummary:
    """Scores every jet of the files; a bad file is a failed entry and does not stop the others.

    Memory does not grow with the files, but for pickled frames, which are held whole.

    Raises:
        ConfigError: no files or no network are given, or the network needs masses that are not known.
        InputFileError, RunError: the network cannot be used, a pattern matches nothing; or the only file fails.
        SameOutput: two files would be written to one.
        OSError: an output cannot be written.
    """
    _refuse_missing_words(settings)
    files = files_named(settings.input_files)
    outputs = outputs_for(files, folder_of_scores(settings.output_report))
    own = [file for position, file in enumerate(outputs) if in_shard(position, settings.shard)]
    unit = "events" if any(file.endswith(".root") for file in own) else "jets"
    with progress("score", None, unit) as line:
        file_progress = FileProgress(line, len(own))

        def finished(file: ScoredFile) -> None:
            file_progress.finish(read=not file.reason)
            if file.reason:
                _log.warning("%s: failed: %s", file.file, file.reason)

        with opened_executor(settings, len(own), line.message) as executor:
            executor.on_progress = file_progress.report
            used, call = settings_for(executor, settings), secrets.token_hex(8)
            requests = [ScoreRequest(file, outputs[file].absolute(), used, call) for file in own]
            scorer = loaded_scorer(used.model_dump_json(), call)
            steps = Steps(
                begun=lambda request: request,
                whole=score_whole,
                piece=score_piece,
                join=join_pieces,
                elsewhere=lambda request: _failed(
                    request, InputFileError(request.output, "is being written by another process"), len(own)
                ),
                failed=lambda request, error: _failed(request, error, len(own)),
            )
            done = do_files(executor, requests, steps, settings.lease_timeout, finished)
    for file in done:
        if file.output is not None:
            file.output = outputs[file.file]
    return ScoreSummary(scorer.name, scorer.notes, tuple(done), scorer.pt_ranges)


def _refuse_missing_words(settings: ScoreSettings) -> None:
    """Raises ConfigError where files or network are not given, or the network does not come last."""
    if settings.training is None:
        raise ConfigError(["no network is given: name it last, or with --training"])
    if not settings.input_files:
        raise ConfigError(
            [f"no files of jets are given, only {settings.training}, which is read as the name of the network"]
        )
    if not is_network(settings.training, settings.output_path):
        for network in settings.input_files:
            if is_network(network, settings.output_path):
                words = [file for file in (*settings.input_files, settings.training) if file != network]
                right = shlex.join(["cr_trainer", "score", *words, network])
                raise ConfigError([f"{network} is a network, which comes last: {right}"])


def outputs_for(files: Sequence[str], folder: Path) -> dict[str, Path]:
    """The output for the scores of each file: its name with the ending .parquet, in the folder.

    Raises:
        SameOutput: two files would be written to one.
        InputFileError: an output is one of the files.
    """
    given = {Path(file).resolve(): file for file in files if not is_remote(file)}
    outputs: dict[str, Path] = {}
    first: dict[Path, str] = {}
    for file in files:
        output = folder / f"{PurePosixPath(urlsplit(file).path if is_remote(file) else file).stem}.parquet"
        if output in first:
            raise SameOutput(first[output], file, output, "score them in two calls with an --output_report each")
        if output.resolve() in given:
            raise InputFileError(output, "is an input and cannot be the output too; give another --output_report")
        first[output] = file
        outputs[file] = output
    return outputs


def _failed(request: ScoreRequest, error: BaseException, files: int) -> ScoredFile:
    """A failed entry; the error of the only file is that of the command."""
    if isinstance(error, WorkerLost):
        return ScoredFile(request.file, reason=f"{error} while it was scored (out of memory?)")
    if not isinstance(error, InputFileError) or files == 1:
        raise error
    return ScoredFile(request.file, reason=error.reason if error.file == request.file else str(error))

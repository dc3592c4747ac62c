"""The folder of a run: its number, its networks, its files, its lease.

A run has networks 0 ... K-1. Without folds or seeds K is 1, and the folder is that of the network:

    training_results/<model name>/<number>/

Each network of a fold set is trained without one fold of the events and reads just the jets of these. Each member of an
ensemble is trained on the same split with another seed, and reads all jets. Both have a folder that is a whole run by
itself:

    training_results/<model name>/<number>/
      run.json               status, rule, planned epochs; figures of the set once all networks are trained
      training_params.yaml   the settings of the set: `folds` without `fold`, or `seeds` without `member`
      fold_0/ ... fold_<K-1>/, or member_0/ ... member_<K-1>/
"""

import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.loading import MAX_BYTES_OF_RUN, read_config
from cal_ratio_trainer.config.training import FIRST_SETTINGS, VALUES_BEFORE, TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, SetRule
from cal_ratio_trainer.errors import InputFileError, UserError, did_you_mean
from cal_ratio_trainer.files.atomic import refuse_unusable_folder, write_text
from cal_ratio_trainer.files.json_text import read_json
from cal_ratio_trainer.files.leases import DEFAULT_TIMEOUT_S, Lease, is_leased, leased
from cal_ratio_trainer.runs.record import read_record

FINISHED, RUNNING, INCOMPLETE = "finished", "running", "incomplete"
"""Status of a run or set of networks that came to its end, of one that did not, and of a set that lacks networks."""

DIVERGED = "diverged"
"""Status of a run whose loss became NaN: going on would end the same way."""

IMPORTED = "imported"
"""Status of a run that was not trained here: there is nothing to go on with but its weights."""

_SET_RULES: tuple[type[SetRule], ...] = (FoldRule, EnsembleRule)
_OF_SET = re.compile(rf"({'|'.join(rule.word for rule in _SET_RULES)})_(\d+)")
"""Name of the folder of one network of a set, with its number."""

_DIGITS = 5
_MAX_FIGURE = 1e100
"""Bound on the figures of a history, which come from float32 numbers; the square of a figure must not overflow."""
_held: dict[Path, Lease] = {}
"""Leases of the runs that this process trains, by folder."""

_log = logging.getLogger(__name__)


class RunError(UserError):
    """A run that is asked for is not there, or cannot be used as asked."""


class NoRunName(RunError):
    """A text given for a run is neither the name of one nor the path of its folder."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is no run; give NAME/RUN, e.g. default/0, default/-1 for the newest, or the folder of a run"
        )


@dataclass(frozen=True)
class RunDirectory:
    """One run: training_results/<model name>/<number>, or fold_<i> or member_<i> in the folder of a set of networks."""

    path: Path

    @property
    def network_number(self) -> int | None:
        """Its number within a set of networks; None for a run of its own."""
        found = _OF_SET.fullmatch(self.path.name)
        return int(found[2]) if found else None

    @property
    def numbered_folder(self) -> Path:
        """<model name>/<number>: its own folder, or that of the set that it belongs to."""
        return self.path if self.network_number is None else self.path.parent

    @property
    def number(self) -> int:
        """The run's number; for a network of a set that of the set."""
        return int(self.numbered_folder.name)

    @property
    def name(self) -> str:
        """Name for users: 'model/00003', 'model/00003/fold_1'."""
        words = [self.numbered_folder.parent.name, self.numbered_folder.name]
        return "/".join(words if self.network_number is None else [*words, self.path.name])

    @property
    def set_rule(self) -> SetRule | None:
        """Rule by which the networks of a set are used as one; None for a run with one network."""
        if self.network_number is not None:
            return None
        record = self.read_record()
        described = ((rule, record.get(rule.count_setting)) for rule in _SET_RULES)
        return next((rule(known["count"]) for rule, known in described if known), None)

    @property
    def networks(self) -> tuple["RunDirectory", ...]:
        """The folders of networks 0 ... K-1, which need not exist yet; a run with one network is its own."""
        rule = self.set_rule
        return (self,) if rule is None else networks_in(self.path, rule)

    @property
    def settings_file(self) -> Path:
        """Every option as it was used."""
        return self.path / "training_params.yaml"

    @property
    def record_file(self) -> Path:
        """Versions, hardware, data, timings, status."""
        return self.path / "run.json"

    @property
    def checkpoint_file(self) -> Path:
        """State that a continuation starts from."""
        return self.path / "keras" / "checkpoint.safetensors"

    @property
    def history_file(self) -> Path:
        """One row per epoch."""
        return self.path / "history.json"

    @property
    def evaluation_file(self) -> Path:
        """Figures of merit of the newest evaluation."""
        return self.path / "evaluation.json"

    @property
    def importance_file(self) -> Path:
        """Permutation importance of the inputs of one of its networks."""
        return self.path / "importance.json"

    @property
    def page_file(self) -> Path:
        """The run's page, renewed while it trains."""
        return self.path / "index.html"

    def histograms_file(self, epoch: int) -> Path:
        """The score histograms of an epoch."""
        return self.path / "histograms" / f"{epoch:03d}.json"

    def weights_file(self, epoch: int) -> Path:
        """The whole network after an epoch."""
        return self.path / "keras" / f"final_model_weights_{epoch}.keras"

    def read_record(self) -> dict[str, Any]:
        """The content of run.json; empty where there is no such file.

        Raises:
            InputFileError: it cannot be read, is damaged, or is no record of a run.
        """
        try:
            return read_record(self.record_file)
        except FileNotFoundError:
            return {}

    def read_history(self) -> list[dict[str, float]]:
        """One row per epoch, from epoch 0; unknown figures are NaN.

        Raises:
            RunError: there is no history.
            InputFileError: it cannot be read, is damaged, or is no history.
        """
        file, no_history = self.history_file, "is no history of a training"
        try:
            rows = read_json(file)
        except FileNotFoundError as error:
            raise RunError(f"run {self.name} has no history that can be read ({file.name})") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputFileError(file, f"{no_history}: expected a list of rows, one per epoch")
        for number, row in enumerate(rows):
            for name, value in row.items():
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if value is not None and not (is_number and abs(value) < _MAX_FIGURE):
                    raise InputFileError(file, f"{no_history}: {name} of row {number} is {value!r:.80}")
            if row.get("epoch", number) != number:
                raise InputFileError(file, f"has epoch {row['epoch']} as row {number}: rows are missing")
        return [{name: math.nan if value is None else float(value) for name, value in row.items()} for row in rows]

    def read_settings(self) -> dict[str, Any]:
        """All settings of the run, under today's names.

        Raises:
            InputFileError: training_params.yaml is missing, damaged, not as the run wrote it, or lacks settings.
        """
        file, known = self.settings_file, self.read_record().get("settings_sha256")
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            settings = TrainSettings.with_new_names(read_config(file, MAX_BYTES_OF_RUN))
        except ValueError as error:
            raise InputFileError(file, str(error)) from error
        except OSError as error:
            raise InputFileError(file, f"cannot be read: {error.strerror or error}") from error
        if known is not None and digest not in known:
            raise InputFileError(
                file,
                f"is not as run {self.name} wrote it (run.json has another digest): it was edited or is damaged. "
                f"'cr_trainer train --config {file}' starts a new run with these settings",
            )
        missing = [name for name in FIRST_SETTINGS if name not in settings]
        if missing:
            raise InputFileError(
                file, f"lacks {', '.join(missing)}: a run stores every setting, so the file was edited or is damaged"
            )
        return VALUES_BEFORE | settings

    def write_settings(self, settings: TrainSettings, before: Mapping[str, Any] | None = None) -> list[str]:
        """Writes training_params.yaml.

        Args:
            settings: of the run.
            before: the record of a run that goes on. It is first written with the digests of the old and the new
                settings, so that a kill between the two files leaves settings that can be read.

        Returns:
            `settings_sha256` for the record: the digests of settings that are accepted.
        """
        text = settings.as_yaml()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if before and digest not in before.get("settings_sha256", [digest]):
            self.write_record({**before, "settings_sha256": [*before["settings_sha256"], digest]})
        write_text(self.settings_file, text)
        return [digest]

    def refuse_removed(self, run_id: str | None) -> None:
        """Checks that the folder is still that of the run, before a write that would create it again.

        Args:
            run_id: `id` of run.json when the training began.

        Raises:
            RunError: the folder was removed, or holds another run; or another process has taken the run over.
        """
        record = self.read_record()
        if not record or record.get("id") != run_id:
            raise RunError(
                f"run {self.name}: its folder {self.path} was removed, moved or replaced while it was trained; nothing "
                "more is written there"
            )
        lease = _held.get(self.path)
        if lease is not None and lease.is_lost():
            raise RunError(
                f"run {self.name} was taken over by another process, because this one did not respond for "
                f"{DEFAULT_TIMEOUT_S:g} s (suspended?); nothing more is written there"
            )

    def kept_epochs(self) -> list[int]:
        """The epochs whose weights are on disk, rising."""
        stem = self.weights_file(0).stem.removesuffix("0")
        numbers = [path.stem.removeprefix(stem) for path in (self.path / "keras").glob(f"{stem}*")]
        return sorted({int(number) for number in numbers if number.isdecimal()})

    def write_record(self, record: dict[str, Any]) -> None:
        """Replaces run.json."""
        write_text(self.record_file, json.dumps(record, indent=2, default=str) + "\n")

    def remove_remains(self) -> None:
        """Removes unfinished files of a killed process; only for the holder of the lease."""
        for remains in self.path.rglob(".*.part*"):
            # Other processes may be looking at the lease at this moment.
            if remains.suffix != ".lease":
                remains.unlink(missing_ok=True)

    @property
    def is_in_use(self) -> bool:
        """True while a process trains it, as far as one look at its lease tells."""
        return is_leased(self.record_file)

    def is_free(self) -> bool:
        """True where no process trains it. A lease of another machine is watched until it is renewed, or stale."""
        if not self.is_in_use:
            return True
        try:
            with self.lock():
                return True
        except (RunError, OSError):
            # An OSError: it is another user's.
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the lease of the run during the block (`.run.json.lease`, see `files.leases`).

        That of a process that was killed is free at once on its own machine; elsewhere this waits until it is stale.

        Raises:
            RunError: another process is training the run.
        """
        with leased(self.record_file, watches=True) as lease:
            if lease is None:
                raise RunError(f"run {self.name} is being trained by another process")
            _held[self.path] = lease
            try:
                yield
            finally:
                del _held[self.path]


def networks_in(folder: Path, rule: SetRule) -> tuple[RunDirectory, ...]:
    """The folders of the networks of a set in its folder, which need not exist yet."""
    return tuple(RunDirectory(folder / f"{rule.word}_{number}") for number in range(rule.count))


@cache
def warn_without_digests(run: str) -> None:
    """Warns, once per process, that changes to the files of a run of an earlier version cannot be detected."""
    _log.warning(
        "run %s is of an earlier version, which kept no digests: changes to its settings, checkpoint or networks "
        "cannot be detected",
        run,
    )


def new_run(output_path: Path, model_name: str) -> RunDirectory:
    """Makes the folder of the next free number; two processes never get the same.

    Raises:
        UnusableOutput: a file or a link to nothing is in the place of the folder above.
    """
    model = output_path / model_name
    refuse_unusable_folder(model, "output_path")
    number = max((run.number for run in runs_of(output_path, model_name)), default=-1) + 1
    while True:
        path = model / f"{number:0{_DIGITS}d}"
        try:
            # With the folders above: a run that failed may be removing them, with its own, at this moment.
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        return RunDirectory(path)


def runs_of(output_path: Path, model_name: str) -> list[RunDirectory]:
    """The runs of a model by rising number; none where there is no such model."""
    model = output_path / model_name
    if not model.is_dir():
        return []
    folders = [path for path in model.iterdir() if path.is_dir() and path.name.isdecimal()]
    return [RunDirectory(path) for path in sorted(folders, key=lambda path: int(path.name))]


def find_run(output_path: Path, model_name: str, number: int) -> RunDirectory:
    """A run by its number; -1 is the newest, -2 the one before.

    Raises:
        RunError: there is no such model or run; names what is there.
    """
    runs = runs_of(output_path, model_name)
    if not runs:
        raise RunError(_no_model(output_path, model_name))
    if number < 0 and -number <= len(runs):
        return runs[number]
    for run in runs:
        if run.number == number:
            return run
    there = ", ".join(str(run.number) for run in runs)
    raise RunError(f"model {model_name} has no run {number} under {output_path}; its runs: {there}")


def _no_model(output_path: Path, name: str) -> str:
    folders = [path.name for path in output_path.iterdir() if path.is_dir()] if output_path.is_dir() else []
    models = sorted(folder for folder in folders if runs_of(output_path, folder))
    there = f"models there: {', '.join(models)}" if models else "there are no runs; --output_path says where they are"
    return f"no model {name}{did_you_mean(name, models)} under {output_path}; {there}"


def named_run(name: str, output_path: Path) -> RunDirectory:
    """The run that a user names: 'model/3', 'model/-1' for the newest of a model, 'model/3/fold_0' for one of a set.

    Args:
        name: such a name, or the path of a run's folder, as `train` and `import` print it.
        output_path: the folder that holds all runs; a path may lead to a run elsewhere.

    Raises:
        RunError: this is no name of a run, or there is no such run; names those that are there.
    """
    run, rest = run_and_rest(name, output_path)
    if rest:
        raise NoRunName(name)
    return run


def run_and_rest(name: str, output_path: Path) -> tuple[RunDirectory, list[str]]:
    """The run at the beginning of a name or path, and the remaining words. Raises RunError as `named_run`."""
    model, *words = name.strip("/").split("/")
    is_name = bool(words) and words[0].removeprefix("-").isdecimal()
    at_path = None if is_name and runs_of(output_path, model) else run_at(Path(name))
    if at_path is not None:
        run, words = at_path
    elif is_name:
        run, words = find_run(output_path, model, int(words[0])), words[1:]
    else:
        run, words = _run_in_folder(name)
    if not words or not words[0].startswith(tuple(f"{rule.word}_" for rule in _SET_RULES)):
        return run, words
    folder = RunDirectory(run.path / words[0])
    if folder.network_number is None or not folder.path.is_dir():
        there = sorted(path.name for rule in _SET_RULES for path in run.path.glob(f"{rule.word}_*"))
        raise RunError(f"run {run.name} has no {words[0]}; there is: {', '.join(there) or 'it is no set of networks'}")
    return folder, words[1:]


def _run_in_folder(name: str) -> tuple[RunDirectory, list[str]]:
    """The run of a path such as 'training_results/default/0', whose number is shortened, and the remaining words."""
    parts = Path(name).parts
    for place in range(2, len(parts)):
        model, folder = parts[place - 1], Path(*parts[: place - 1])
        if parts[place].removeprefix("-").isdecimal() and runs_of(folder, model):
            return find_run(folder, model, int(parts[place])), list(parts[place + 1 :])
    raise NoRunName(name)


def run_at(path: Path) -> tuple[RunDirectory, list[str]] | None:
    """The run whose folder is a path or one of its parents, and the remaining words; None where there is none."""
    path = Path(os.path.normpath(path.absolute()))
    for folder in (path, *path.parents):
        run = RunDirectory(folder)
        if folder.name.isdecimal() and (run.record_file.is_file() or run.settings_file.is_file()):
            return run, list(path.relative_to(folder).parts)
    return None

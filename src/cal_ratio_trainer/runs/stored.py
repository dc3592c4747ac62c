"""Files of a run as they are read and checked, and the history as it is written.

A run may have been made by any version of this program, and its folder may come from elsewhere: each file is checked.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cal_ratio_trainer.config.loading import MAX_BYTES_OF_RUN, read_config
from cal_ratio_trainer.config.training import FIRST_SETTINGS, VALUES_BEFORE, TrainSettings
from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.files.json_text import read_json
from cal_ratio_trainer.jets.metadata import Scaling

FINISHED, RUNNING, INCOMPLETE = "finished", "running", "incomplete"
"""Status of a run or set of networks that came to its end, of one that did not, and of a set that lacks networks."""

DIVERGED = "diverged"
"""Status of a run whose loss became NaN: going on would end the same way."""

IMPORTED = "imported"
"""Status of a run that was not trained here: there is nothing to go on with but its weights."""

KILLED, UNKNOWN = "killed", "unknown"
"""Status of a run that says it is running but that no process holds, and of one without a record that can be read."""

HistoryRow = dict[str, float]

HISTORY_NAMES = (
    "ks_qcd_hist",
    "ks_sig_hist",
    "ks_bib_hist",
    "adv_loss",
    "adv_acc",
    "val_adv_loss",
    "val_adv_acc",
    "original_lossf",
    "original_acc",
    "val_original_lossf",
    "val_original_acc",
    "original_adv_lossf",
    "original_adv_acc",
    "val_original_adv_lossf",
    "val_original_adv_acc",
)
"""Columns of the earlier program's history, in its order; those of this program follow them."""

_MAX_VALUE = 1e100
"""Bound on the numbers of a history, which come from float32; the square of one must not overflow."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]

_log = logging.getLogger(__name__)


class RunError(UserError):
    """A run that is asked for is not there, or cannot be used as asked."""


class _Checked(BaseModel):
    """Part of run.json as it is read. Every entry may be missing; entries without a field here are not checked."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _DataFile(_Checked):
    file: str = ""
    sha256: str | None = None
    size_bytes: _Count = 0
    jets_used: _Count = 0
    simulation: str | None = None
    scaling: Scaling | None = None
    notes: list[str] = []


class _Region(_DataFile):
    name: str


class _DataFiles(_DataFile):
    regions: list[_Region] = []


class _ComputedBy(_Checked):
    processes: _Count = 1


class _Networks(_Checked):
    count: int = Field(ge=2, le=100)


class _InitialWeights(_Checked):
    model_config = ConfigDict(extra="forbid")

    run: str
    file: str
    sha256: str


class _Imported(_Checked):
    files: dict[str, dict[str, Any]] = {}


class _Record(_Checked):
    id: str | None = None
    status: Literal["running", "finished", "interrupted", "failed", "diverged", "imported"] = "running"
    settings_sha256: list[str] = []
    started: str | None = None
    ended: str | None = None
    tag: str | None = None
    note: str | None = None
    command: str = ""
    reason: str = ""
    seed: _Count = 0
    planned_epochs: _Count = 0
    finished_epochs: _Count = 0
    versions: dict[str, str | None] = {}
    machine: dict[str, Any] = {}
    computed_by: _ComputedBy = _ComputedBy()
    data: dict[str, _DataFiles] = {}
    folds: _Networks | None = None
    seeds: _Networks | None = None
    initial_weights: _InitialWeights | None = None
    imported: _Imported | None = None
    continued: list[Any] = []
    history_references: dict[str, float | None] = {}
    notes: list[str] = []
    timings: dict[str, Any] = {}
    test: dict[str, Any] = {}


def read_record(file: Path) -> dict[str, Any]:
    """The content of a run.json.

    Raises:
        FileNotFoundError: there is no such file.
        InputFileError: it cannot be read, is damaged, or is no record of a run; names the entry.
    """
    content = read_json(file, bad_numbers=True)
    if not isinstance(content, dict):
        raise InputFileError(file, f"is no record of a run: it holds a {type(content).__name__}, expected an object")
    try:
        _Record.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"]))
        found = f"{entry} is {first['input']!r:.80}: {first['msg']}"
        raise InputFileError(file, f"is no record of a run: {found}") from error
    return content


def read_history(file: Path, run: str) -> list[HistoryRow]:
    """One row per epoch, from epoch 0; unknown metrics are NaN.

    Args:
        file: history.json.
        run: name of the run, for the message.

    Raises:
        RunError: there is no history.
        InputFileError: it cannot be read, is damaged, or is no history.
    """
    no_history = "is no history of a training"
    try:
        rows = read_json(file)
    except FileNotFoundError as error:
        raise RunError(f"run {run} has no history that can be read ({file.name})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputFileError(file, f"{no_history}: expected a list of rows, one per epoch")
    for number, row in enumerate(rows):
        for name, value in row.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and abs(value) < _MAX_VALUE):
                raise InputFileError(file, f"{no_history}: {name} of row {number} is {value!r:.80}")
        if row.get("epoch", number) != number:
            raise InputFileError(file, f"has epoch {row['epoch']} as row {number}: rows are missing")
    return [{name: math.nan if value is None else float(value) for name, value in row.items()} for row in rows]


def read_settings(file: Path, run: str, digests: Sequence[str] | None) -> dict[str, Any]:
    """All settings of a run, under today's names; their values are not checked.

    Args:
        file: training_params.yaml.
        run: name of the run, for the message.
        digests: `settings_sha256` of run.json; None for a run of an earlier version, which has none.

    Raises:
        InputFileError: the file is missing, damaged, not as the run wrote it, or lacks settings.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        settings = TrainSettings.with_new_names(read_config(file, MAX_BYTES_OF_RUN))
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    except OSError as error:
        raise InputFileError(file, f"cannot be read: {error.strerror or error}") from error
    if digests is not None and digest not in digests:
        raise InputFileError(
            file,
            f"is not as run {run} wrote it (run.json has another digest): it was edited or is damaged. "
            f"'cr_trainer train --config {file}' starts a new run with these settings",
        )
    missing = [name for name in FIRST_SETTINGS if name not in settings]
    if missing:
        raise InputFileError(
            file, f"lacks {', '.join(missing)}: a run stores every setting, so the file was edited or is damaged"
        )
    return VALUES_BEFORE | settings


@cache
def warn_without_digests(run: str) -> None:
    """Warns, once per process, that changes to the files of a run of an earlier version cannot be detected."""
    _log.warning(
        "run %s is of an earlier version, which kept no digests: changes to its settings, checkpoint or networks "
        "cannot be detected",
        run,
    )


def write_history(folder: Path, history: Sequence[HistoryRow]) -> None:
    """Writes history.json, its copy in keras/, and the two files of losses to the folder of a run."""
    text = history_text(history)
    write_text(folder / "history.json", text)
    write_text(folder / "keras" / "history_checkpoint.json", text)
    write_text(folder / "train_loss.txt", "".join(f"{row['original_lossf']!r}\n" for row in history))
    write_text(folder / "test_loss.txt", "".join(f"{row['val_original_lossf']!r}\n" for row in history))


def history_text(history: Sequence[HistoryRow]) -> str:
    """The content of history.json: a list of rows; null for a value that is not finite."""
    rows = [
        {"epoch": number} | {name: value if math.isfinite(value) else None for name, value in row.items()}
        for number, row in enumerate(history)
    ]
    return json.dumps(rows, indent=1) + "\n"


def without_query(file: str) -> str:
    """A file as the user named it; a URL without what may be secret behind its question mark.

    >>> without_query("https://host/jets.parquet?token=1"), without_query("what?.parquet")
    ('https://host/jets.parquet', 'what?.parquet')
    """
    return file.partition("?")[0] if "://" in file else file


def file_name(file: str) -> str:
    """Name of a file without folders, and of a URL without its query."""
    return without_query(file).rstrip("/").rpartition("/")[2]


def time_of(text: Any) -> datetime | None:
    """A time of a record; None if it is no time."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)

"""run.json of a training: written when it begins, and when it ends before its last epoch."""

import logging
import math
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cal_ratio_trainer.datasets.used_events import EventGroup, trained_before, write_used_events
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.runs.directory import DIVERGED, RunDirectory
from cal_ratio_trainer.runs.record import new_record, now, versions
from cal_ratio_trainer.training.checkpoint import checkpoint_progress
from cal_ratio_trainer.training.loop import TrainingDiverged
from cal_ratio_trainer.training.setup import Training
from cal_ratio_trainer.training.signals import TrainingStopped

_log = logging.getLogger(__name__)


def begin_record(
    run: RunDirectory, training: Training, references: Mapping[str, float | None], done: int, planned: int
) -> dict[str, Any]:
    """Writes settings, used events and run.json of a run that begins or goes on.

    Args:
        run: its folder.
        training: its training.
        references: reference lines of the history plots.
        done: number of finished epochs.
        planned: number of epochs at its end.

    Returns:
        Content of run.json.
    """
    start, settings = training.start, training.settings
    before = run.read_record() if start.run is not None else {}
    record: dict[str, Any] = {"id": before.get("id") if before else secrets.token_hex(16)}
    record |= new_record(training.data, training.loaded.files, settings, planned)
    record["computed_by"] = training.computed_by()
    record["history_references"] = dict(references)
    by_row, earlier = settings.split == "row", tuple[EventGroup, ...]()
    if known := before.get("initial_weights"):
        record |= {"initial_weights": known, "notes": before.get("notes", [])}
    elif start.initial is not None:
        events = start.initial.events()
        earlier = events or ()
        number = None if events is None else trained_before(training.data, by_row, events)
        record |= {"initial_weights": start.initial.described(), "notes": [start.initial.sentence(number)]}
    if before:
        # A finished run that goes on gets its whole patience again.
        record["patience_from"] = done if start.is_finished else before.get("patience_from", 0)
        record["started"] = before.get("started", record["started"])
        record["continued"] = [*before.get("continued", []), {"at": now(), "versions": versions()}]
        record["finished_epochs"] = done
        for name, file in record["data"].items():
            known = before.get("data", {}).get(name, {}).get("sha256")
            if known not in (None, file["sha256"]):
                _log.warning("%s has changed since the run began; the run does not go on exactly", file["file"])
        run.remove_remains()
    record["settings_sha256"] = run.write_settings(settings, before)
    write_used_events(run.path, training.data, by_row, earlier)
    run.write_record(record)
    return record


def end_early(run: RunDirectory, training: Training, record: Mapping[str, Any], error: BaseException) -> None:
    """Writes into run.json that and why a training ended; removes a new folder in which no epoch was finished.

    Args:
        run: the run.
        training: its training.
        record: content of run.json; empty where the training ended before it was written.
        error: the reason.
    """
    try:
        known = run.read_record()
        if record:
            run.refuse_removed(record["id"])
        trained = run.checkpoint_file.exists() or run.history_file.exists()
        if training.start.run is None and not trained:
            shutil.rmtree(run.path, ignore_errors=True)
            with suppress(OSError):
                run.path.parent.rmdir()
            return
        finished = len(checkpoint_progress(run.checkpoint_file, known.get("id")).history)
    except UserError as unusable:
        if str(unusable) != str(error):
            _log.warning("run.json does not say that the run has ended: %s", unusable)
        return
    status = "interrupted" if isinstance(error, TrainingStopped | KeyboardInterrupt) else "failed"
    ended = {
        "status": DIVERGED if isinstance(error, TrainingDiverged) else status,
        "reason": str(error) or type(error).__name__,
        "ended": now(),
        "finished_epochs": finished,
    }
    run.write_record({**(record or known), **ended})


def figures_as_json(figures: TestFigures) -> dict[str, float | None]:
    """Figures of merit for run.json; JSON has no infinite rejection."""
    return {name: value if math.isfinite(value) else None for name, value in figures.numbers().items()}

"""How processes that train one fold set between them come together: who makes it, who has which fold.

A fold belongs to whoever makes its folder, and then holds its lock.
"""

import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from cal_ratio_trainer.config.shared import FigureSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.runs.directory import DIVERGED, new_run, runs_of
from cal_ratio_trainer.runs.fold_set import RUNNING, FoldSet
from cal_ratio_trainer.runs.record import machine, now, versions

_MAY_DIFFER = {
    *("fold", "cache_path", "threads", "device", "plot_processes", "epoch_plots", "tensorboard"),
    *FigureSettings.model_fields,
}
"""Settings in which the jobs that train one set may differ."""


def new_fold_set(settings: TrainSettings) -> FoldSet:
    """Make the folder of a set with the next free number."""
    if settings.folds is None:
        raise ValueError("these settings have no folds")
    run = new_run(settings.output_path, settings.model_name)
    rule = FoldRule(settings.folds)
    digests = run.write_settings(settings.model_copy(update={"fold": None}))
    run.write_record(
        {
            "id": secrets.token_hex(16),
            "settings_sha256": digests,
            "status": RUNNING,
            "folds": {"count": rule.count, "rule": f"network i is used where {rule.expression} == i"},
            "started": now(),
            "tag": settings.tag,
            "note": settings.note,
            "command": " ".join(sys.argv),
            "seed": settings.seed,
            "planned_epochs": settings.epochs,
            "finished_epochs": 0,
            "versions": versions(),
            "machine": machine(),
        }
    )
    return FoldSet(run, rule)


def joined_set(settings: TrainSettings, fold: int) -> FoldSet:
    """The newest set of the same training in which nobody has begun a fold, else a new one; the fold is claimed there.

    So the jobs of a batch system, each with a fold of its own, come together into one set.
    """
    with _one_at_a_time(settings.output_path / settings.model_name):
        lacking = (found for found in _sets_of(settings) if not found.run.fold(fold).path.exists())
        fold_set = next(lacking, None) or new_fold_set(settings)
        fold_set.claimed(fold)
    return fold_set


def begun_set(settings: TrainSettings) -> FoldSet | None:
    """The newest set of the same training that is not complete; None where there is none."""
    return next(iter(_sets_of(settings)), None)


def release(fold_set: FoldSet, fold: int) -> None:
    """Where nothing came of a fold its folder goes, and with the last one that of the set, whose number is free."""
    run = fold_set.run.fold(fold)
    if run.record_file.exists() or (run.path.is_dir() and run.is_in_use):
        return
    model = fold_set.run.path.parent
    with _one_at_a_time(model) as lock:
        shutil.rmtree(run.path, ignore_errors=True)
        if not any(each.path.exists() for each in fold_set.folds):
            shutil.rmtree(fold_set.run.path, ignore_errors=True)
            if not runs_of(model.parent, model.name):
                Path(lock.lock_file).unlink(missing_ok=True)
    with suppress(OSError):
        model.rmdir()


def _one_at_a_time(model: Path) -> AbstractContextManager[BaseFileLock]:
    """Of several processes that look for a set, or make or remove one, one after the other does it."""
    model.mkdir(parents=True, exist_ok=True)
    return FileLock(model / ".folds.lock")


def _sets_of(settings: TrainSettings) -> Sequence[FoldSet]:
    """Sets of the same training that are not complete and have not diverged, the newest first."""
    found = [FoldSet.of(run) for run in reversed(runs_of(settings.output_path, settings.model_name))]
    return [
        each
        for each in found
        if each is not None
        and not each.is_complete
        and not any(run.read_record().get("status") == DIVERGED for run in each.folds)
        and _is_same_training(each, settings)
    ]


def _is_same_training(found: FoldSet, settings: TrainSettings) -> bool:
    try:
        stored = found.settings
    except ValueError:
        # Settings of another version of this program.
        return False
    return _compared(stored) == _compared(settings)


def _compared(settings: TrainSettings) -> Mapping[str, Any]:
    # Folders may be given in several ways, and the set was found in this one.
    told = settings.model_dump(mode="json", exclude={*_MAY_DIFFER, "output_path"})
    for name in ("main_training_file", "cr_training_file"):
        if told[name] is not None and "://" not in told[name] and Path(told[name]).exists():
            told[name] = str(Path(told[name]).absolute())
    return told

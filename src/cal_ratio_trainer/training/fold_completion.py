"""What makes a run of K trained networks: their history, test jets, figures and plots as those of one."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.plotting.worker import DrawingFailed, WorkerDied
from cal_ratio_trainer.runs.directory import RunError
from cal_ratio_trainer.runs.evaluation_file import write_evaluation
from cal_ratio_trainer.runs.fold_history import BestOfFolds, mean_history
from cal_ratio_trainer.runs.fold_networks import folds_at
from cal_ratio_trainer.runs.fold_sample import fold_sample, write_fold_sample
from cal_ratio_trainer.runs.fold_set import FINISHED, FoldSet
from cal_ratio_trainer.runs.history import history_text
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE
from cal_ratio_trainer.runs.record import now, record_text
from cal_ratio_trainer.runs.redraw import redraw_run


@dataclass(frozen=True)
class Completed:
    """The figures of merit of a set, and names of plots that could not be drawn with the reason."""

    figures: TestFigures
    undrawn: dict[str, str]


def complete(fold_set: FoldSet, say: Callable[[str], None], details: Callable[[TestFigures], str]) -> Completed | None:
    """Write what the set has as a run; all its folds are trained.

    Args:
        fold_set: the set.
        say: told what a user should read.
        details: figures of merit as text, for training_details.txt.

    Returns:
        What came of it; None where another process is doing the same.

    Raises:
        RunError: the folds were not trained on the same files.
        UserError: what a fold left cannot be read.
    """
    _refuse_different_files(fold_set)
    try:
        lock = fold_set.run.lock()
    except RunError:
        say(f"{fold_set.run.name} is being completed by another process")
        return None
    with lock:
        say(f"all folds are trained; {fold_set.run.name} is put together")
        figures = _written(fold_set, details)
    return Completed(figures, _undrawn(fold_set))


def _written(fold_set: FoldSet, details: Callable[[TestFigures], str]) -> TestFigures:
    run = fold_set.run
    sample, networks = fold_sample(fold_set, torch.device("cpu")), folds_at(fold_set).load()
    main, control = write_fold_sample(sample, networks, fold_set)
    figures = evaluate_test_sample(main, control, pt_ranges=sample.pt_ranges)
    histories = [each.read_history() for each in fold_set.folds]
    history = mean_history(histories)
    write_text(run.history_file, history_text(history))
    write_evaluation(run, len(history) - 1, figures)
    record = _record(fold_set, histories, figures)
    text = "\n".join((record_text(record), fold_set.settings.as_yaml(), details(figures)))
    write_text(run.path / "training_details.txt", text)
    run.write_record(record)
    return figures


def _record(
    fold_set: FoldSet, histories: Sequence[Sequence[Mapping[str, float]]], figures: TestFigures
) -> dict[str, Any]:
    records = [run.read_record() for run in fold_set.folds]
    best = BestOfFolds.of(histories, DEFAULT_RULE)
    return fold_set.run.read_record() | {
        "status": FINISHED,
        "ended": now(),
        "finished_epochs": min(map(len, histories)),
        "best_epochs": {"by fold": list(best.epochs)} if best is not None else {},
        "test": {name: value if math.isfinite(value) else None for name, value in figures.numbers().items()},
        "data": {kind: _data(kind, records) for kind in records[0]["data"]},
        "history_references": records[0].get("history_references", {}),
        "timings": {"total_s": sum(each.get("timings", {}).get("total_s", 0.0) for each in records)},
        "machines": sorted({str(each.get("machine", {}).get("host")) for each in records}),
    }


def _data(kind: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    described = [record["data"][kind] for record in records]
    # Every jet is used by all folds but its own.
    jets = round(sum(each["jets_used"] for each in described) / (len(records) - 1))
    return {**described[0], "jets_used": jets, "notes": []}


def _refuse_different_files(fold_set: FoldSet) -> None:
    for kind in ("main", "control"):
        sums = [run.read_record().get("data", {}).get(kind, {}).get("sha256") for run in fold_set.folds]
        if len(set(sums)) > 1:
            told = json.dumps({run.path.name: str(each)[:10] for run, each in zip(fold_set.folds, sums, strict=True)})
            raise RunError(
                f"the folds of {fold_set.run.name} were trained on different {kind} files (checksums {told}): an event "
                "of one may be in another, so they make no set"
            )


def _undrawn(fold_set: FoldSet) -> dict[str, str]:
    """Draw the plots of the set; what kept them from being drawn, if anything."""
    try:
        redraw_run(fold_set.run)
    except (DrawingFailed, WorkerDied, UserError, OSError) as error:
        return {f"plots of {fold_set.run.name}": str(error)}
    return {}

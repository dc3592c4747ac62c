"""One training from settings to a finished run folder."""

import json
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from cal_ratio_trainer.datasets.used_events import write_used_events
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.network.engine import engine_for
from cal_ratio_trainer.runs.directory import DIVERGED, RunDirectory, refuse_unusable
from cal_ratio_trainer.runs.figure_data import write_evaluation
from cal_ratio_trainer.runs.initial_weights import InitialWeights
from cal_ratio_trainer.runs.networks import network_of
from cal_ratio_trainer.runs.recommendation import best_epochs
from cal_ratio_trainer.runs.record import new_record, now, record_text, shares_of, timings_of, versions
from cal_ratio_trainer.training.checkpoint import Progress, checkpoint_progress, load_checkpoint
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.epoch import EpochResult
from cal_ratio_trainer.training.event_log import EventLog, event_log
from cal_ratio_trainer.training.follower_rank import COMPLETE, agree_on_late_signal, tell_the_others
from cal_ratio_trainer.training.loop import Training, TrainingDiverged
from cal_ratio_trainer.training.outputs import score_test_part, write_epoch, write_test_sample
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.run_plots import RunPlots
from cal_ratio_trainer.training.setup import Work, new_training, plan_of, prepared_work
from cal_ratio_trainer.training.signals import StopRequest, TrainingStopped, stop_requests
from cal_ratio_trainer.training.threads import threads_given_back

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainSummary:
    """What a finished training is said to have done.

    Attributes:
        run: its folder.
        epochs: how many epochs it has in all.
        figures: of merit, on the test part.
        best: the best epoch by each criterion, on the validation part.
        record: the content of run.json.
        undrawn: names of plots that could not be drawn, each with the reason.
        stop: a signal that came when only the end was left to do, and that did not keep the training from finishing.
    """

    run: RunDirectory
    epochs: int
    figures: TestFigures
    best: dict[str, int]
    record: dict[str, Any]
    undrawn: dict[str, str]
    stop: StopRequest


# A fold that goes on has the threads of its checkpoint; the next one is to have those of a fresh process.
@threads_given_back()
def train(
    start: Start, say: Callable[[str], None], details: Callable[[TestFigures], str], ranks: Ranks = ALONE
) -> TrainSummary:
    """Train as the settings say, or go on with an earlier run.

    Args:
        start: settings, and the run to go on with, if any.
        say: told what a user should read while it runs.
        details: figures of merit as text, for training_details.txt.
        ranks: the processes that share the training; this one is the first, the others call `take_part`.

    Raises:
        TrainingStopped: SIGTERM or ^C; the run can be continued.
        UserError: settings or files cannot be used.
    """
    if ranks.place.processes > 1:
        ranks.word_of_first(json.dumps(start.for_the_others()))
    if start.run is None:
        refuse_unusable(start.settings.output_path, start.settings.model_name)
    work = prepared_work(start, say, details, ranks)
    run = start.run or start.new_run()
    with run.lock():
        summary = _train_in(run, work)
    agree_on_late_signal(ranks, summary.stop)
    return summary


def _train_in(run: RunDirectory, work: Work) -> TrainSummary:
    progress = Progress()
    if run.checkpoint_file.exists():
        progress = load_checkpoint(run.checkpoint_file, work.step, run.read_record().get("id"))
    epochs = work.start.epochs_in_all(len(progress.history))
    record: dict[str, Any] = {}
    try:
        with stop_requests() as stop, RunPlots(run, work.settings, work.prepared.data) as plots:
            record |= _begin_record(run, work, plots, done=len(progress.history), planned=epochs)
            work.say(f"run {run.name} in {run.path}")
            with event_log(run, work.settings, progress.history) as events:
                training = _recorded(new_training(run, work, record["id"]), plots, events)
                plan = plan_of(training)
                for sentence in filter(None, (work.prepared.place.sentence(), plan.sentence())):
                    work.say(sentence)
                record["memory"] = plan.described() | work.prepared.place.described()
                plots.draw_missing(progress.history)
                tell_the_others(run, work, progress, epochs)
                with plan.watching():
                    progress = _fit(training, work, progress, (epochs, stop), (plots, record))
            record |= {
                "timings": timings_of(training.timings, work.prepared.seconds, work.compiling),
                "computed_by": _computed_by(work),
            }
            # A signal from here on would only spoil what takes seconds to complete.
            return _finish(training, work, (progress, stop), (plots, record))
    except BaseException as error:
        _end_early(run, work, record, error)
        if isinstance(error, TrainingStopped | TrainingDiverged):
            work.ranks.word_of_first(COMPLETE)
        raise


def _fit(
    training: Training,
    work: Work,
    progress: Progress,
    until: tuple[int, StopRequest],
    leaving: tuple[RunPlots, dict[str, Any]],
) -> Progress:
    plots, record = leaving
    try:
        return training.fit(progress, *until)
    except (TrainingStopped, TrainingDiverged):
        begin = time.perf_counter()
        record |= _show_newest_epoch(training, work, plots)
        # All that was asked for is drawn; a second ^C ends it.
        plots.finish()
        record |= {"plots": plots.described() | {"last_epoch_to_last_plot_s": time.perf_counter() - begin}}
        raise


def _show_newest_epoch(training: Training, work: Work, plots: RunPlots) -> dict[str, Any]:
    """Final plots and test jets of a run that ends early, and figures for its record: of its newest finished epoch."""
    if not plots.history:
        return {}
    try:
        # The weights in memory may be those of the middle of an epoch.
        newest = network_of(training.run, str(len(plots.history) - 1))
        training.step.classifier.set_weights(newest.load().weights())
        return {"test": _as_json(_leave_test_figures(training, work, plots))}
    except (UserError, OSError) as error:
        _log.warning("the final plots do not show epoch %d: %s", len(plots.history) - 1, error)
        return {}


def _leave_test_figures(training: Training, work: Work, plots: RunPlots) -> TestFigures:
    """Score the test part; leave its jets and figures of merit, and hand the final plots over."""
    scored = score_test_part(training.step.classifier, training.tensors, training.data, work.settings)
    figures = scored.figures
    write_test_sample(training.run, training.data, scored)
    write_evaluation(training.run, len(plots.history) - 1, figures)
    plots.refresh(figures)
    return figures


def _as_json(figures: TestFigures) -> dict[str, float | None]:
    # JSON knows no infinite rejection.
    return {name: value if math.isfinite(value) else None for name, value in figures.numbers().items()}


def _recorded(training: Training, plots: RunPlots, events: EventLog | None) -> Training:
    run, settings, step = training.run, training.settings, training.step

    def evaluate() -> TestFigures:
        figures = score_test_part(step.classifier, training.tensors, training.data, settings).figures
        write_evaluation(run, len(plots.history) - 1, figures)
        return figures

    def record_epoch(progress: Progress, result: EpochResult) -> None:
        write_epoch(run, training.run_id, settings, step.classifier, progress, result)
        plots.after_epoch(progress.history, result.histograms, evaluate)
        if events is not None:
            events.add(len(progress.history) - 1, result.row)

    return replace(training, record_epoch=record_epoch)


def _begin_record(run: RunDirectory, work: Work, plots: RunPlots, *, done: int, planned: int) -> dict[str, Any]:
    """Write settings, events and record of a run that starts or goes on, with its epochs done and planned."""
    prepared = work.prepared
    before = run.read_record() if work.start.run is not None else {}
    record: dict[str, Any] = {"id": before.get("id") if before else secrets.token_hex(16)}
    record |= new_record(prepared.data, prepared.files, work.settings, planned)
    record["computed_by"] = _computed_by(work)
    record["history_references"] = plots.references_as_json()
    if initial := work.start.initial or InitialWeights.of_record(before):
        record |= {"initial_weights": initial.described(), "notes": [initial.sentence]}
    if before:
        record["started"] = before.get("started", record["started"])
        record["continued"] = [*before.get("continued", []), {"at": now(), "versions": versions()}]
        record["finished_epochs"] = done
        _warn_of_other_data(before, record)
        run.remove_remains()
    record["settings_sha256"] = run.write_settings(work.settings, before)
    write_used_events(run.path, prepared.data, by_row=work.settings.split == "row")
    run.write_record(record)
    return record


def _computed_by(work: Work) -> dict[str, Any]:
    device = next(work.step.classifier.parameters()).device
    precision = work.settings.matmul_precision if device.type == "cuda" else "ieee"
    engine = engine_for(device, torch.float32, work.settings.engine).value
    return {
        "device": device.type,
        "engine": engine,
        "matmul_precision": precision,
        "cuda_graph": work.step.records_graphs,
        "processes": work.ranks.place.processes,
        "nodes": work.ranks.place.nodes,
    }


def _warn_of_other_data(before: dict[str, Any], record: dict[str, Any]) -> None:
    for name, file in record["data"].items():
        known = before.get("data", {}).get(name, {}).get("sha256")
        if known not in (None, file["sha256"]):
            _log.warning("%s is not what it was when the run began; the run does not go on exactly", file["file"])


def _finish(
    training: Training, work: Work, end: tuple[Progress, StopRequest], leaving: tuple[RunPlots, dict[str, Any]]
) -> TrainSummary:
    (progress, stop), (plots, record), run, begin = end, leaving, training.run, time.perf_counter()
    run.refuse_removed(training.run_id)
    figures = _leave_test_figures(training, work, plots)
    parts = (record_text(record), work.settings.as_yaml(), work.details(figures))
    write_text(run.path / "training_details.txt", "\n".join(parts))
    plots.finish()
    best = best_epochs(progress.history)
    end_s = time.perf_counter() - begin
    record |= {
        "status": "finished",
        "ended": now(),
        "finished_epochs": len(progress.history),
        "best_epochs": best,
        "test": _as_json(figures),
        "plots": plots.described() | {"last_epoch_to_last_plot_s": end_s},
    }
    record["timings"]["end_s"] = end_s
    record["timings"]["shares"] = shares_of(record["timings"])
    run.refuse_removed(training.run_id)
    run.write_record(record)
    return TrainSummary(run, len(progress.history), figures, best, record, plots.undrawn, stop)


def _end_early(run: RunDirectory, work: Work, record: dict[str, Any], error: BaseException) -> None:
    try:
        known = run.read_record()
        if record:
            run.refuse_removed(record["id"])
        trained = run.checkpoint_file.exists() or run.history_file.exists()
        if work.start.run is None and not trained:
            # Nothing came of a folder that this process made: the number is free again.
            shutil.rmtree(run.path, ignore_errors=True)
            with suppress(OSError):
                run.path.parent.rmdir()
            return
        finished = len(checkpoint_progress(run.checkpoint_file, known.get("id")).history)
    except UserError as unusable:
        if str(unusable) != str(error):
            _log.warning("run.json does not say that the run has ended: %s", unusable)
        return
    reason = str(error) or type(error).__name__
    ended = {"status": _status_after(error), "reason": reason, "ended": now(), "finished_epochs": finished}
    run.write_record((record or known) | ended)


def _status_after(error: BaseException) -> str:
    if isinstance(error, TrainingDiverged):
        return DIVERGED
    return "interrupted" if isinstance(error, TrainingStopped | KeyboardInterrupt) else "failed"

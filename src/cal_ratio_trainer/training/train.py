"""One training from settings to a finished run folder: set up, fit, finish.

`train` runs in the first process, `follow` in all others that torchrun started; they call `ranks` in the same order.
"""

import json
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.used_events import EventGroup, trained_before, write_used_events
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import refuse_unusable_folder, write_text
from cal_ratio_trainer.runs.figure_data import EpochHistograms, write_evaluation
from cal_ratio_trainer.runs.recommendation import best_epochs
from cal_ratio_trainer.runs.record import new_record, now, record_text, shares_of, timings_of, versions
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import DIVERGED, HistoryRow
from cal_ratio_trainer.training.checkpoint import (
    TrainingState,
    checkpoint_progress,
    load_checkpoint,
    state_bytes,
    take_state,
)
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.event_log import EventLog, event_log
from cal_ratio_trainer.training.loop import NO_OBSERVER, Observer, TrainingDiverged, TrainingLoop
from cal_ratio_trainer.training.mlflow_log import MlflowLog, mlflow_log, require_mlflow
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.run_plots import RunPlots
from cal_ratio_trainer.training.setup import LoadedData, Training, restored_threads, set_up
from cal_ratio_trainer.training.signals import NOTHING_CHANGED, StopRequest, TrainingStopped, stop_requests
from cal_ratio_trainer.training.test_part import score_test_part, write_test_sample


def begin_record(
    run: Run, training: Training, references: Mapping[str, float | None], done: int, planned: int
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


def end_early(run: Run, training: Training, record: Mapping[str, Any], error: BaseException) -> None:
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


ShowRun = Callable[[Run, float | None], None]
"""Shows a run to its user, after each epoch with the seconds until its end, and with None when it has ended."""


def show_nothing(run: Run, seconds_left: float | None) -> None:
    """Shows nothing."""


_FILES_COMPLETE = "all files are complete"
"""Text for which the followers wait while the first process writes the last files."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainSummary:
    """Result of a finished training.

    Attributes:
        run: its folder.
        epochs: number of epochs in all.
        figures: of merit, on the test part.
        best: the best epoch by each criterion, on the validation part.
        record: the content of run.json.
        undrawn: names of plots that could not be drawn, each with the reason.
        stop: a signal that came during the last files, and that did not keep the training from finishing.
    """

    run: Run
    epochs: int
    figures: TestFigures
    best: dict[str, int]
    record: dict[str, Any]
    undrawn: dict[str, str]
    stop: StopRequest


# A fold that goes on has the threads of its checkpoint; the next one is to have those of a fresh process.
@restored_threads()
def train(
    start: Start,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    ranks: Ranks = ALONE,
    show: ShowRun = show_nothing,
    observer: Observer = NO_OBSERVER,
    loaded: LoadedData | None = None,
) -> TrainSummary:
    """Trains as the settings say, or goes on with an earlier run.

    Args:
        start: settings, and the run to go on with, if any.
        say: receives what a user should read while it runs.
        details: figures of merit as text, for training_details.txt.
        ranks: the processes that share the training; this one is the first, the others call `follow`.
        show: called while it trains, and once its files are complete.
        observer: follows the training, which no other process may share then.
        loaded: the training files, if an earlier training has read the same jets; None reads them.

    Raises:
        TrainingStopped: SIGTERM or ^C; the run can be continued.
        UserError: settings or files cannot be used.
    """
    if ranks.place.processes > 1:
        ranks.broadcast_text(json.dumps(start.as_broadcast()))
    if start.run is None:
        refuse_unusable_folder(start.settings.output_path / start.settings.model_name, "output_path")
    require_mlflow(start.settings)
    training = set_up(start, say, ranks, loaded)
    run = start.run or start.new_run()
    with ExitStack() as held:
        try:
            held.enter_context(run.lock())
        except OSError:
            # On a full disk the folder can be made, but no lease in it.
            if start.run is None:
                with suppress(OSError):
                    run.path.rmdir()
                    run.path.parent.rmdir()
            raise
        summary = _train_in(run, training, say, details, show, observer)
    _share_late_signal(ranks, summary.stop)
    return summary


def _train_in(
    run: Run,
    training: Training,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    show: ShowRun,
    observer: Observer,
) -> TrainSummary:
    progress, settings, record = TrainingState(), training.settings, dict[str, Any]()
    if run.checkpoint_file.exists():
        progress = load_checkpoint(run.checkpoint_file, training.step, run.read_record().get("id"))
    epochs = training.start.epochs_in_all(len(progress.history))
    with (
        _ended_on_error(run, training, record, show),
        stop_requests() as stop,
        RunPlots(run, settings, training.data, draws=observer.draws) as plots,
        ExitStack() as held,
    ):
        record |= begin_record(run, training, plots.references_as_json(), len(progress.history), epochs)
        say(f"run {run.name} in {run.path}")
        observer.begin(run)
        for note in record.get("notes", []) if training.start.run is None else []:
            say(note)
        logs = held.enter_context(_opened_logs(run, settings, progress.history, record))

        def after_epoch(history: list[HistoryRow], histograms: EpochHistograms) -> None:
            plots.after_epoch(history, histograms, lambda: _evaluate(run, training, len(history) - 1))
            for log in logs:
                log.add(history)
            seconds_an_epoch = (time.perf_counter() - begin) / (len(history) - len(progress.history))
            show(run, (epochs - len(history)) * seconds_an_epoch)

        plan, place = training.memory_plan(), training.loaded.place
        for sentence in filter(None, (place.sentence(), plan.sentence())):
            say(sentence)
        record["memory"] = plan.described() | place.described()
        plots.draw_missing(progress.history)
        _broadcast_progress(run, training, progress, epochs)
        loop = TrainingLoop(training, run, record["id"], record.get("patience_from", 0), after_epoch, observer)
        begin = time.perf_counter()
        with plan.explained_errors():
            try:
                progress = loop.fit(progress, epochs, stop)
            except (TrainingStopped, TrainingDiverged):
                _show_newest_epoch(run, training, plots, record)
                raise
        if len(progress.history) < epochs:
            record["reason"] = observer.reason or (
                f"early stopping: for {settings.early_stopping} epochs none has come onto the Pareto front of AUC "
                f"and K-S; {len(progress.history)} of {epochs} epochs are done"
            )
            say(record["reason"])
        record["timings"] = timings_of(loop.timings, training.loaded.seconds, training.compiling_s)
        record["computed_by"] = training.computed_by()
        # A signal from here on would only spoil what takes seconds to complete.
        summary = _finish(run, training, progress, record, plots, details, stop)
        show(run, None)
        for log in logs:
            log.finish(summary.figures)
        return summary


@contextmanager
def _ended_on_error(run: Run, training: Training, record: Mapping[str, Any], show: ShowRun) -> Iterator[None]:
    """Completes the files of a run when an exception ends its training, and lets the other processes end."""
    try:
        yield
    except BaseException as error:
        end_early(run, training, record, error)
        show(run, None)
        if isinstance(error, TrainingStopped | TrainingDiverged):
            # From here on the others end, and torchrun ends this process with them.
            training.ranks.broadcast_text(_FILES_COMPLETE)
        raise


@contextmanager
def _opened_logs(
    run: Run, settings: TrainSettings, history: list[HistoryRow], record: Mapping[str, Any]
) -> Iterator[list[EventLog | MlflowLog]]:
    """Logs of a run in TensorBoard and MLflow, as far as the settings ask for them; arguments as `mlflow_log`."""
    with event_log(run, settings, history) as events, mlflow_log(run, settings, history, record) as tracked:
        yield [log for log in (events, tracked) if log is not None]


def _evaluate(run: Run, training: Training, epoch: int) -> TestFigures:
    figures = score_test_part(training).figures()
    write_evaluation(run.evaluation_file, epoch, figures)
    return figures


def _write_test_results(run: Run, training: Training, plots: RunPlots) -> TestFigures:
    """Scores the test part; writes its jets and figures of merit, and hands the final plots over."""
    scored = score_test_part(training)
    figures = scored.figures(training.settings.seed if training.settings.c2st_every else None)
    write_test_sample(run, training.data, scored)
    write_evaluation(run.evaluation_file, len(plots.history) - 1, figures)
    plots.refresh(figures)
    return figures


def _show_newest_epoch(run: Run, training: Training, plots: RunPlots, record: dict[str, Any]) -> None:
    """Writes final plots and test jets of the newest finished epoch of a run that ends early; adds to its record."""
    begin = time.perf_counter()
    if plots.history:
        newest = len(plots.history) - 1
        try:
            # The weights in memory may be those of the middle of an epoch.
            training.step.network.set_weights(run.network_at(str(newest)).load().weights())
            record["test"] = figures_as_json(_write_test_results(run, training, plots))
        except (UserError, OSError) as error:
            _log.warning("the final plots do not show epoch %d: %s", newest, error)
    # Waits for all figures; a second ^C ends that.
    plots.finish()
    record["plots"] = plots.described() | {"last_epoch_to_last_plot_s": time.perf_counter() - begin}


def _finish(
    run: Run,
    training: Training,
    progress: TrainingState,
    record: dict[str, Any],
    plots: RunPlots,
    details: Callable[[TestFigures], str],
    stop: StopRequest,
) -> TrainSummary:
    begin = time.perf_counter()
    run.refuse_removed(record["id"])
    figures = _write_test_results(run, training, plots)
    parts = (record_text(record), training.settings.as_yaml(), details(figures))
    write_text(run.path / "training_details.txt", "\n".join(parts))
    plots.finish()
    best = best_epochs(progress.history)
    end_s = time.perf_counter() - begin
    record |= {
        "status": "finished",
        "ended": now(),
        "finished_epochs": len(progress.history),
        "best_epochs": best,
        "test": figures_as_json(figures),
        "plots": plots.described() | {"last_epoch_to_last_plot_s": end_s},
    }
    record["timings"]["end_s"] = end_s
    record["timings"]["shares"] = shares_of(record["timings"])
    run.refuse_removed(record["id"])
    run.write_record(record)
    return TrainSummary(run, len(progress.history), figures, best, record, plots.undrawn, stop)


def follow(ranks: Ranks) -> None:
    """Shares one training after the other with the first process; neither writes nor prints.

    Args:
        ranks: the processes.

    Raises:
        TrainingStopped, UserError: as `train`.
    """
    # The block includes the time in which the first process writes files: losing a process would end all.
    with stop_requests() as stop:
        while (content := json.loads(ranks.broadcast_text())) is not None:
            if stop.signal_number:
                raise TrainingStopped(NOTHING_CHANGED, stop.exit_status)
            _follow_training(Start.from_broadcast(content), ranks, stop)


def _follow_training(start: Start, ranks: Ranks, stop: StopRequest) -> None:
    training = set_up(start, lambda text: None, ranks)
    content = json.loads(ranks.broadcast_text())
    take_state(training.step, ranks.broadcast_bytes(b""))
    try:
        with training.memory_plan().explained_errors():
            progress = TrainingState(content["epoch"], content["step"])
            TrainingLoop(training, Run(Path(content["run"]))).fit(progress, content["epochs"], stop)
    except (TrainingStopped, TrainingDiverged):
        # All have stopped at the same step, and the first process still completes its files.
        ranks.broadcast_text()
        raise
    _share_late_signal(ranks, stop)


def _broadcast_progress(run: Run, training: Training, progress: TrainingState, epochs: int) -> None:
    """Sends to the followers at which epoch and step the training begins, with networks and optimisers."""
    if training.ranks.place.processes > 1:
        content = {"run": str(run.path), "epoch": progress.epoch, "step": progress.step, "epochs": epochs}
        training.ranks.broadcast_text(json.dumps(content))
        training.ranks.broadcast_bytes(state_bytes(training.step))


def _share_late_signal(ranks: Ranks, stop: StopRequest) -> None:
    """Makes a signal that came to any process while the last files were written one of all processes."""
    ranks.broadcast_text(_FILES_COMPLETE)
    stop.signal_number = ranks.all_reduce_max(stop.signal_number or 0) or None

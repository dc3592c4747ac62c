"""One training from settings to a finished run folder: set up, fit, finish.

`train` runs in the first process, `follow` in all others that torchrun started; they call `ranks` in the same order.
"""

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from cal_ratio_trainer.datasets.used_events import EventGroup, trained_before, write_used_events
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import refuse_unusable_folder
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.record import history_references, new_record, now, timings_of, versions
from cal_ratio_trainer.training.checkpoint import TrainingState, load_checkpoint, state_bytes, take_state
from cal_ratio_trainer.training.finish import TrainSummary, end_early, finish, finish_stopped
from cal_ratio_trainer.training.loop import NO_OBSERVER, Observer, TrainingDiverged, TrainingLoop
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.setup import LoadFiles, Training, restored_threads, set_up
from cal_ratio_trainer.training.signals import NOTHING_CHANGED, StopRequest, TrainingStopped, stop_requests
from cal_ratio_trainer.training.start import Start

_FILES_COMPLETE = "all files are complete"
"""Text for which the followers wait while the first process writes the last files."""

_log = logging.getLogger(__name__)


# A fold that goes on has the threads of its checkpoint; the next one is to have those of a fresh process.
@restored_threads()
def train(
    start: Start,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    ranks: Ranks = ALONE,
    observer: Observer = NO_OBSERVER,
    load: LoadFiles | None = None,
) -> TrainSummary:
    """Trains as the settings say, or goes on with an earlier run.

    Args:
        start: settings, and the run to go on with, if any.
        say: receives what a user should read while it runs.
        details: metrics as text, for training_details.txt.
        ranks: the processes that share the training; this one is the first, the others call `follow`.
        observer: follows the training, and shows it.
        load: reads the training files, see `set_up`.

    Raises:
        TrainingStopped: SIGTERM or ^C; the run can be continued.
        UserError: settings or files cannot be used.
    """
    if ranks.place.processes > 1:
        ranks.broadcast_text(json.dumps(start.as_broadcast()))
    if start.run is None:
        refuse_unusable_folder(start.settings.output_path / start.settings.model_name, "output_path")
    observer.prepare(start.settings)
    training = set_up(start, say, ranks, load)
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
        summary = _train_in(run, training, say, details, observer)
    _share_late_signal(ranks, summary.stop)
    return summary


def _train_in(
    run: RunFolder,
    training: Training,
    say: Callable[[str], None],
    details: Callable[[TestFigures], str],
    observer: Observer,
) -> TrainSummary:
    progress, settings, record = TrainingState(), training.settings, dict[str, Any]()
    if run.checkpoint_file.exists():
        progress = load_checkpoint(run.checkpoint_file, training.step, run.read_record().get("id"))
    epochs = training.start.epochs_in_all(len(progress.history))
    with _ended_on_error(run, training, record, observer), stop_requests() as stop, ExitStack() as held:
        record |= begin_record(run, training, len(progress.history), epochs)
        say(f"run {run.name} in {run.path}")
        for note in record.get("notes", []) if training.start.run is None else []:
            say(note)
        plan, place = training.memory_plan(), training.loaded.place
        for sentence in filter(None, (place.sentence(), plan.sentence())):
            say(sentence)
        record["memory"] = plan.described() | place.described()
        held.enter_context(observer.following(run, training, progress.history, record))
        _broadcast_progress(run, training, progress, epochs)
        loop = TrainingLoop(training, run, record["id"], record.get("patience_from", 0), observer)
        with plan.explained_errors():
            try:
                progress = loop.fit(progress, epochs, stop)
            except (TrainingStopped, TrainingDiverged):
                finish_stopped(run, training, record, observer)
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
        summary = finish(run, training, progress, record, observer, details, stop)
        observer.ended(run, summary.figures)
        return summary


@contextmanager
def _ended_on_error(
    run: RunFolder, training: Training, record: Mapping[str, Any], observer: Observer
) -> Iterator[None]:
    """Completes the files of a run when an exception ends its training, and lets the other processes end."""
    try:
        yield
    except BaseException as error:
        end_early(run, training, record, error)
        observer.ended(run, None)
        if isinstance(error, TrainingStopped | TrainingDiverged):
            # From here on the others end, and torchrun ends this process with them.
            training.ranks.broadcast_text(_FILES_COMPLETE)
        raise


def begin_record(run: RunFolder, training: Training, done: int, planned: int) -> dict[str, Any]:
    """Writes settings, used events and run.json of a run that begins or goes on.

    Args:
        run: its folder.
        training: its training.
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
    record["history_references"] = history_references(training.data, settings)
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


def follow(ranks: Ranks, load: LoadFiles | None = None) -> None:
    """Shares one training after the other with the first process; neither writes nor prints.

    Args:
        ranks: the processes.
        load: reads the training files, see `set_up`.

    Raises:
        TrainingStopped, UserError: as `train`.
    """
    # The block includes the time in which the first process writes files: losing a process would end all.
    with stop_requests() as stop:
        while (content := json.loads(ranks.broadcast_text())) is not None:
            if stop.signal_number:
                raise TrainingStopped(NOTHING_CHANGED, stop.exit_status)
            _follow_training(Start.from_broadcast(content), ranks, load, stop)


def _follow_training(start: Start, ranks: Ranks, load: LoadFiles | None, stop: StopRequest) -> None:
    training = set_up(start, lambda text: None, ranks, load)
    content = json.loads(ranks.broadcast_text())
    take_state(training.step, ranks.broadcast_bytes(b""))
    try:
        with training.memory_plan().explained_errors():
            progress = TrainingState(content["epoch"], content["step"])
            TrainingLoop(training, RunFolder(Path(content["run"]))).fit(progress, content["epochs"], stop)
    except (TrainingStopped, TrainingDiverged):
        # All have stopped at the same step, and the first process still completes its files.
        ranks.broadcast_text()
        raise
    _share_late_signal(ranks, stop)


def _broadcast_progress(run: RunFolder, training: Training, progress: TrainingState, epochs: int) -> None:
    """Sends to the followers at which epoch and step the training begins, with networks and optimisers."""
    if training.ranks.place.processes > 1:
        content = {"run": str(run.path), "epoch": progress.epoch, "step": progress.step, "epochs": epochs}
        training.ranks.broadcast_text(json.dumps(content))
        training.ranks.broadcast_bytes(state_bytes(training.step))


def _share_late_signal(ranks: Ranks, stop: StopRequest) -> None:
    """Makes a signal that came to any process while the last files were written one of all processes."""
    ranks.broadcast_text(_FILES_COMPLETE)
    stop.signal_number = ranks.all_reduce_max(stop.signal_number or 0) or None

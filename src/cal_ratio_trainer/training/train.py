"""One training from settings to a finished run folder."""

import logging
import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cal_ratio_trainer.config.training import DEMO, TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.files.cache import local_copy
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.network.adversary import Adversary
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.device import chosen_device, unserved_card
from cal_ratio_trainer.network.engine import Engine, engine_for, fallback_notice, set_matmul_precision
from cal_ratio_trainer.network.shape import HIDDEN_WIDTHS, NetworkShape, branch_shape
from cal_ratio_trainer.training.allocator import keep_freed_memory
from cal_ratio_trainer.training.checkpoint import Progress, checkpoint_epochs, load_checkpoint
from cal_ratio_trainer.training.choosing import ChosenData, choose_training_data
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.cuda_step import StaticStep
from cal_ratio_trainer.training.data import TrainingData, read_training_data
from cal_ratio_trainer.training.data_place import DataPlace, Place, data_place, step_size
from cal_ratio_trainer.training.data_table import data_sentences
from cal_ratio_trainer.training.epoch import EpochResult
from cal_ratio_trainer.training.evaluation_file import write_evaluation
from cal_ratio_trainer.training.event_log import EventLog, event_log
from cal_ratio_trainer.training.initial_weights import InitialWeights
from cal_ratio_trainer.training.interrupts import StopRequest, TrainingStopped, stop_requests, stopped_at_once
from cal_ratio_trainer.training.kept_weights import best_epochs
from cal_ratio_trainer.training.loop import Training, TrainingDiverged
from cal_ratio_trainer.training.memory import step_bytes
from cal_ratio_trainer.training.memory_plan import MemoryPlan, memory_plan
from cal_ratio_trainer.training.outputs import score_test_part, write_epoch, write_test_sample
from cal_ratio_trainer.training.record import DataFile, new_record, now, record_text, timings_of, versions
from cal_ratio_trainer.training.run_directory import DIVERGED, RunDirectory
from cal_ratio_trainer.training.run_plots import RunPlots
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.splits import Part
from cal_ratio_trainer.training.step import AdversarialStep, LossSettings, TrainingTensors
from cal_ratio_trainer.training.used_events import write_used_events

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
    """

    run: RunDirectory
    epochs: int
    figures: TestFigures
    best: dict[str, int]
    record: dict[str, Any]
    undrawn: dict[str, str]


@dataclass(frozen=True)
class Prepared:
    """Data in memory, before a run has a folder."""

    data: TrainingData
    tensors: TrainingTensors
    place: DataPlace
    main: DataFile
    control: DataFile
    seconds: float


def train(start: Start, say: Callable[[str], None], details: Callable[[TestFigures], str]) -> TrainSummary:
    """Train as the settings say, or go on with an earlier run.

    Args:
        start: settings, and the run to go on with, if any.
        say: told what a user should read while it runs.
        details: figures of merit as text, for training_details.txt.

    Raises:
        TrainingStopped: SIGTERM or ^C; the run can be continued.
        UserError: settings or files cannot be used.
    """
    settings = start.settings
    keep_freed_memory()
    torch.set_num_threads(start.threads or settings.threads or torch.get_num_threads())
    with stopped_at_once():
        initial = start.initial.read(network_shape(settings)) if start.initial else None
        prepared = _prepare(settings)
        _say_what_the_data_are(prepared.data, settings, say)
        _say_what_is_slower_than_it_could_be(settings, say)
        sampler = _sampler(settings, prepared.data)
        step = _networks(settings, prepared.place)
        if initial is not None:
            step.classifier.set_weights(initial)
    run = start.run or start.new_run()
    with run.lock():
        return _train_in(run, _Work(start, prepared, sampler, step, say, details))


@dataclass(frozen=True)
class _Work:
    start: Start
    prepared: Prepared
    sampler: Sampler
    step: AdversarialStep
    say: Callable[[str], None]
    details: Callable[[TestFigures], str]

    @property
    def settings(self) -> TrainSettings:
        return self.start.settings


def _train_in(run: RunDirectory, work: _Work) -> TrainSummary:
    progress = Progress()
    if run.checkpoint_file.exists():
        progress = load_checkpoint(run.checkpoint_file, work.step)
    epochs = work.start.epochs_in_all(len(progress.history))
    record: dict[str, Any] = {}
    try:
        with stop_requests() as stop, RunPlots(run, work.settings, work.prepared.data) as plots:
            record |= _begin_record(run, work, epochs, plots)
            work.say(f"run {run.name} in {run.path}")
            with event_log(run, work.settings, progress.history) as events:
                training = _training(run, work, plots, events)
                plan = _memory_plan(training)
                for sentence in filter(None, (work.prepared.place.sentence(), plan.sentence())):
                    work.say(sentence)
                record["memory"] = plan.described() | work.prepared.place.described()
                plots.draw_missing(progress.history)
                with plan.watching():
                    progress = _fit(training, progress, epochs, stop, (plots, record))
            record |= {"timings": timings_of(training.timings, work.prepared.seconds)}
            # A signal from here on would only spoil what takes seconds to complete.
            return _finish(training, work, progress, (plots, record))
    except BaseException as error:
        _end_early(run, work, record, error)
        raise


def _fit(
    training: Training, progress: Progress, epochs: int, stop: StopRequest, leaving: tuple[RunPlots, dict[str, Any]]
) -> Progress:
    plots, record = leaving
    try:
        return training.fit(progress, epochs, stop)
    except (TrainingStopped, TrainingDiverged):
        # All that was asked for is drawn; a second ^C ends it.
        plots.finish()
        record |= {"plots": plots.described()}
        raise


def _training(run: RunDirectory, work: _Work, plots: RunPlots, events: EventLog | None) -> Training:
    settings, data, step = work.settings, work.prepared.data, work.step
    tensors = work.prepared.tensors

    def evaluate() -> TestFigures:
        figures = score_test_part(step.classifier, tensors, data, settings).figures
        write_evaluation(run, len(plots.history) - 1, figures)
        return figures

    def record_epoch(progress: Progress, result: EpochResult) -> None:
        write_epoch(run, settings, step.classifier, progress, result)
        plots.after_epoch(progress.history, result.histograms, evaluate)
        if events is not None:
            events.add(len(progress.history) - 1, result.row)

    return Training(
        settings=settings,
        run=run,
        data=data,
        tensors=tensors,
        step=step,
        sampler=work.sampler,
        record_epoch=record_epoch,
    )


def _memory_plan(training: Training) -> MemoryPlan:
    classifier, settings = training.step.classifier, training.settings
    engine = engine_for(training.tensors.jets.device, torch.float32, settings.engine)
    return memory_plan(classifier.shape, engine, training.tensors, training.sampler, settings.accumulate)


def _begin_record(run: RunDirectory, work: _Work, epochs: int, plots: RunPlots) -> dict[str, Any]:
    prepared = work.prepared
    before = run.read_record() if work.start.run is not None else {}
    record = new_record(prepared.data, prepared.main, prepared.control, work.settings, epochs)
    record["computed_by"] = _computed_by(work)
    record["history_references"] = plots.references_as_json()
    if initial := work.start.initial or InitialWeights.of_record(before):
        record |= {"initial_weights": initial.described(), "notes": [initial.sentence]}
    if before:
        record["started"] = before.get("started", record["started"])
        record["continued"] = [*before.get("continued", []), {"at": now(), "versions": versions()}]
        record["finished_epochs"] = checkpoint_epochs(run.checkpoint_file)
        _warn_of_other_data(before, record)
        run.remove_remains()
    write_text(run.settings_file, work.settings.as_yaml())
    write_used_events(run.path, prepared.data, by_row=work.settings.split == "row")
    run.write_record(record)
    return record


def _computed_by(work: _Work) -> dict[str, Any]:
    device = next(work.step.classifier.parameters()).device
    precision = work.settings.matmul_precision if device.type == "cuda" else "ieee"
    engine = engine_for(device, torch.float32, work.settings.engine).value
    is_recorded = isinstance(work.step, StaticStep)
    return {"device": device.type, "engine": engine, "matmul_precision": precision, "cuda_graph": is_recorded}


def _warn_of_other_data(before: dict[str, Any], record: dict[str, Any]) -> None:
    for name, file in record["data"].items():
        known = before.get("data", {}).get(name, {}).get("sha256")
        if known not in (None, file["sha256"]):
            _log.warning("%s is not what it was when the run began; the run does not go on exactly", file["file"])


def _finish(
    training: Training, work: _Work, progress: Progress, leaving: tuple[RunPlots, dict[str, Any]]
) -> TrainSummary:
    (plots, record), run, begin = leaving, training.run, time.perf_counter()
    scored = score_test_part(training.step.classifier, training.tensors, training.data, work.settings)
    figures = scored.figures
    write_test_sample(run, training.data, scored)
    write_evaluation(run, len(progress.history) - 1, figures)
    parts = (record_text(record), work.settings.as_yaml(), work.details(figures))
    write_text(run.path / "training_details.txt", "\n".join(parts))
    plots.refresh(figures)
    plots.finish()
    best = best_epochs(progress.history)
    end_s = time.perf_counter() - begin
    record |= {
        "status": "finished",
        "ended": now(),
        "finished_epochs": len(progress.history),
        "best_epochs": best,
        # JSON knows no infinite rejection.
        "test": {name: value if math.isfinite(value) else None for name, value in figures.numbers().items()},
        "plots": plots.described() | {"last_epoch_to_last_plot_s": end_s},
    }
    record["timings"]["end_s"] = end_s
    run.write_record(record)
    return TrainSummary(run, len(progress.history), figures, best, record, plots.undrawn)


def _end_early(run: RunDirectory, work: _Work, record: dict[str, Any], error: BaseException) -> None:
    trained = run.checkpoint_file.exists() or run.history_file.exists()
    if work.start.run is None and not trained:
        # Nothing came of a folder that this process made: the number is free again.
        shutil.rmtree(run.path, ignore_errors=True)
        with suppress(OSError):
            run.path.parent.rmdir()
        return
    finished = checkpoint_epochs(run.checkpoint_file)
    reason = str(error) or type(error).__name__
    known = record or run.read_record()
    run.write_record(
        known | {"status": _status_after(error), "reason": reason, "ended": now(), "finished_epochs": finished}
    )


def _status_after(error: BaseException) -> str:
    if isinstance(error, TrainingDiverged):
        return DIVERGED
    return "interrupted" if isinstance(error, TrainingStopped | KeyboardInterrupt) else "failed"


def _prepare(settings: TrainSettings) -> Prepared:
    begin = time.perf_counter()
    main, control = training_files(settings)
    chosen = choose_training_data(settings, main.path, control.path)
    place = _data_place(settings, chosen)
    data, inputs = read_training_data(chosen, place.storage)
    tensors = data.tensors(inputs, training_device(settings), place.tensors)
    return Prepared(data, tensors, place, main, control, time.perf_counter() - begin)


def _data_place(settings: TrainSettings, chosen: ChosenData) -> DataPlace:
    device, epoch = training_device(settings), step_size(settings, chosen)
    engine = engine_for(device, torch.float32, settings.engine)
    size = epoch.of(_splits(settings, int(epoch.main)))
    return data_place(settings, chosen, device, step_bytes(network_shape(settings), size, engine, settings.accumulate))


def training_files(settings: TrainSettings) -> tuple[DataFile, DataFile]:
    """The two training files on this machine: copied if remote, made if they are the demo."""
    names = (settings.main_training_file, settings.cr_training_file)
    found = {name: local_copy(name, settings.cache_path) for name in names if name != DEMO}
    made: tuple[Path, ...] = ()
    if DEMO in names:
        # A mistyped or damaged file is told before the demo is made for the other one.
        for path in found.values():
            open_jets(path)
        made = _demo_files(settings)
    main, control = (DataFile(name, found.get(name) or made[i]) for i, name in enumerate(names))
    return main, control


def _demo_files(settings: TrainSettings) -> tuple[Path, ...]:
    # Simulation and conversion bring uproot and awkward along, which a training on files does not need.
    from cal_ratio_trainer.training.demo_data import demo_training_files

    files = demo_training_files(settings.cache_path)
    return files.main, files.control


def network_shape(settings: TrainSettings) -> NetworkShape:
    """The classifier that the settings describe."""
    branches = (
        ("clusters", settings.cluster_filters, settings.cluster_lstm_nodes),
        ("tracks", settings.track_filters, settings.track_lstm_nodes),
        ("muon_segments", settings.muon_segment_filters, settings.muon_segment_lstm_nodes),
    )
    return NetworkShape(
        branches=tuple(branch_shape(name, tuple(filters), nodes) for name, filters, nodes in branches),
        hidden=tuple(max(1, int(width * settings.hidden_layer_fraction)) for width in HIDDEN_WIDTHS),
        lstm_layers=settings.lstm_layers,
        masses=len(settings.parametrised_masses),
        dropout=settings.dropout,
    )


def training_device(settings: TrainSettings) -> torch.device:
    """Where to train. Raises ConfigError where a GPU is asked for and there is none that can be used."""
    return chosen_device(settings.device)


def _networks(settings: TrainSettings, place: DataPlace) -> AdversarialStep:
    device = training_device(settings)
    # Said before anything is trained: an engine that does not work there.
    engine = engine_for(device, torch.float32, settings.engine)
    set_matmul_precision(device, settings.matmul_precision)
    classifier = Classifier(network_shape(settings), settings.seed, settings.engine).to(device)
    adversary = Adversary(settings.seed + 1).to(device)
    losses = LossSettings(settings.adversary_weight, settings.regularization, settings.dropout)
    # A recorded step reads its mini-batch at once, and reads it on the GPU.
    at_once = settings.accumulate == 1 and place.place is Place.DEVICE
    recorded = settings.cuda_graph and at_once and engine is Engine.TRITON and device.type == "cuda"
    kind = StaticStep if recorded else AdversarialStep
    return kind(classifier, adversary, settings.learning_rate, losses, settings.seed, settings.accumulate)


def _sampler(settings: TrainSettings, data: TrainingData) -> Sampler:
    main = data.main.positions(Part.TRAIN)
    control = data.control_positions(Part.TRAIN) if settings.adversary_weight else data.control_positions(Part.UNUSED)
    return Sampler(main, control, _splits(settings, len(main)), settings.seed, settings.reshuffle)


def _splits(settings: TrainSettings, main_jets: int) -> int:
    return settings.num_splits or max(1, round(main_jets / (settings.batch_size or 1)))


def _say_what_is_slower_than_it_could_be(settings: TrainSettings, say: Callable[[str], None]) -> None:
    unserved = unserved_card() if settings.device == "auto" else None
    slower = fallback_notice(training_device(settings)) if settings.engine == "auto" else None
    if unserved:
        say(f"training runs on the CPU: {unserved}")
    elif slower:
        say(slower)


def _say_what_the_data_are(data: TrainingData, settings: TrainSettings, say: Callable[[str], None]) -> None:
    for sentence in data_sentences(data, settings):
        say(sentence)

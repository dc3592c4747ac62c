"""End of a training: the test part is scored and evaluated, the last files and the record are written."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.scored import FloatArray, ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures, evaluate_test_sample
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, JetsWriter
from cal_ratio_trainer.network.classifier import logits_of
from cal_ratio_trainer.runs.figure_data import ranges_of, write_evaluation
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.recommendation import best_epochs
from cal_ratio_trainer.runs.record import now, record_text, shares_of
from cal_ratio_trainer.runs.stored import DIVERGED
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, JUDGED_FILE, MAIN_FILE, REGION, scored_jets
from cal_ratio_trainer.training.checkpoint import TrainingState, checkpoint_progress
from cal_ratio_trainer.training.loop import Observer, TrainingDiverged
from cal_ratio_trainer.training.setup import Training
from cal_ratio_trainer.training.signals import StopRequest, TrainingStopped

_TRAINED_STREAM = 3

_FILES = {"main": MAIN_FILE, "control": CONTROL_FILE, "judged": JUDGED_FILE}

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

    run: RunFolder
    epochs: int
    figures: TestFigures
    best: dict[str, int]
    record: dict[str, Any]
    undrawn: dict[str, str]
    stop: StopRequest


def score_test_part(training: Training, c2st_seed: int | None = None) -> tuple[TestFigures, dict[str, FloatArray]]:
    """Scores the test part of all files, and a sample of the training part that the run's seed draws.

    Args:
        training: the training.
        c2st_seed: seed of the C2ST; None leaves it out.

    Returns:
        The metrics, and the scores [jets, 3] of the jets in 'main', 'control' and 'judged', as far as these exist.
    """
    data, tensors, settings = training.data, training.tensors, training.settings
    classifier, main = training.step.network, data.main
    control_logits = logits_of(classifier, tensors, data.control_positions(Part.TEST))
    judged_logits = logits_of(classifier, tensors, data.judged_positions(Part.TEST))
    positions, wanted = main.positions(Part.TRAIN), len(main.positions(Part.TEST))
    if len(positions) > wanted:
        random = np.random.default_rng([settings.seed, _TRAINED_STREAM])
        positions = np.sort(random.choice(positions, wanted, replace=False))

    def scored(some: IndexArray) -> ScoredJets:
        scores = logits_of(classifier, tensors, some).softmax(dim=1).cpu().numpy()
        return scored_jets(main.jets.scalars.take(some), scores, main.weight[some], main.metadata)

    tested = {"main": scored(main.positions(Part.TEST))}
    tested["control"] = data.scored_control(data.control, Part.TEST, control_logits)
    if data.judged is not None:
        tested["judged"] = data.scored_control(data.judged, Part.TEST, judged_logits)
    figures = evaluate_test_sample(
        tested["main"],
        tested["control"],
        scored(positions),
        pt_ranges=ranges_of(settings.pt_ranges, data.control.metadata.scaling),
        c2st_seed=c2st_seed,
        judged=tested.get("judged"),
    )
    return figures, {name: jets.scores for name, jets in tested.items()}


def evaluate_test_part(run: RunFolder, training: Training, epoch: int) -> TestFigures:
    """Metrics of the test part in the middle of a training, without C2ST; writes them as those of an epoch."""
    figures, _ = score_test_part(training)
    write_evaluation(run.evaluation_file, epoch, figures)
    return figures


def write_test_sample(run: RunFolder, data: TrainingData, scores: Mapping[str, FloatArray]) -> None:
    """Writes the test jets of each file with weights and scores: later analyses need no training file.

    Args:
        run: folder of the run.
        data: jets of the training.
        scores: scores [jets, 3] of the test jets, as `score_test_part` returns them.
    """
    for kind, sample in data.samples.items():
        positions = sample.positions(Part.TEST)
        jets = sample.test_jets.with_columns(
            {
                "weight": sample.loss_weight[positions],
                "evaluation_weight": sample.weight[positions],
                **{f"jet_nn_{label.output}": scores[kind][:, label] for label in Label},
            }
        )
        if data.compares_regions and sample.region is not None:
            numbers = sample.region[positions].astype(np.int32)
            jets = jets.with_columns({REGION: pa.DictionaryArray.from_arrays(numbers, sample.region_names)})
        note = f"test part of run {run.name}, scored by its newest network"
        metadata = sample.metadata.model_copy(update={"notes": [*sample.metadata.notes, note]})
        with writing(run.path / _FILES[kind], JetsWriter) as writer:
            for start in range(0, len(jets), ROWS_A_GROUP):
                writer.write(jets.slice(start, start + ROWS_A_GROUP))
            writer.finish(metadata)


def write_test_results(run: RunFolder, training: Training, epoch: int) -> TestFigures:
    """Scores the test part by the network of an epoch; writes its jets and metrics."""
    figures, scores = score_test_part(training, training.settings.seed if training.settings.c2st_every else None)
    write_test_sample(run, training.data, scores)
    write_evaluation(run.evaluation_file, epoch, figures)
    return figures


def finish(
    run: RunFolder,
    training: Training,
    progress: TrainingState,
    record: dict[str, Any],
    observer: Observer,
    details: Callable[[TestFigures], str],
    stop: StopRequest,
) -> TrainSummary:
    """Writes the last files and the record of a training whose epochs are done; arguments as `train`."""
    begin = time.perf_counter()
    run.refuse_removed(record["id"])
    figures = write_test_results(run, training, len(progress.history) - 1)
    observer.evaluated(figures)
    parts = (record_text(record), training.settings.as_yaml(), details(figures))
    write_text(run.path / "training_details.txt", "\n".join(parts))
    plots = observer.drawn()
    best = best_epochs(progress.history)
    end_s = time.perf_counter() - begin
    record |= {
        "status": "finished",
        "ended": now(),
        "finished_epochs": len(progress.history),
        "best_epochs": best,
        "test": figures_as_json(figures),
        **({"plots": plots | {"last_epoch_to_last_plot_s": end_s}} if plots else {}),
    }
    record["timings"]["end_s"] = end_s
    record["timings"]["shares"] = shares_of(record["timings"])
    run.refuse_removed(record["id"])
    run.write_record(record)
    return TrainSummary(run, len(progress.history), figures, best, record, plots.get("not_drawn", {}), stop)


def finish_stopped(run: RunFolder, training: Training, record: dict[str, Any], observer: Observer) -> None:
    """Writes test jets and metrics of the newest finished epoch of a run that ends early; adds them to its record."""
    begin = time.perf_counter()
    newest = -1
    try:
        newest = len(checkpoint_progress(run.checkpoint_file, record["id"]).history) - 1
        if newest >= 0:
            # The weights in memory may be those of the middle of an epoch.
            training.step.network.set_weights(run.network_at(str(newest)).load().weights())
            figures = write_test_results(run, training, newest)
            observer.evaluated(figures)
            record["test"] = figures_as_json(figures)
    except (UserError, OSError) as error:
        _log.warning("the final plots do not show epoch %d: %s", newest, error)
    if plots := observer.drawn():
        record["plots"] = plots | {"last_epoch_to_last_plot_s": time.perf_counter() - begin}


def end_early(run: RunFolder, training: Training, record: Mapping[str, Any], error: BaseException) -> None:
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

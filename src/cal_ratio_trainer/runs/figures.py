"""Figures of a training under the names of the manual, and all of them once more from what a run's folder holds."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.config.loading import settings_from
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.metadata import DataTaking, Scaling
from cal_ratio_trainer.plotting import Drawing, FigureLabels, figure_labels
from cal_ratio_trainer.plotting.catalogue import epoch_drawings, final_drawings
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings
from cal_ratio_trainer.plotting.pareto import ParetoPlot, RunEpochs, draw_pareto
from cal_ratio_trainer.plotting.pool import draw_in_parallel
from cal_ratio_trainer.plotting.roc import importance_drawings
from cal_ratio_trainer.runs.directory import IMPORTED, RunDirectory, RunError
from cal_ratio_trainer.runs.figure_data import EpochHistograms, ranges_of, read_evaluation, read_importance
from cal_ratio_trainer.runs.overview import BestEpoch
from cal_ratio_trainer.runs.recommendation import (
    ks_beyond_identical,
    ks_sums,
    lacks_control_region,
    pareto_front,
    recommended_epoch,
)

_log = logging.getLogger(__name__)

_EARLIER_DEFAULTS = {"energy_tev": 13.0, "luminosity_fb": 139.0}
"""Defaults of earlier versions, which the settings of their runs hold."""


def drawings_of_history(
    history: Sequence[Mapping[str, float]], references: HistoryReferences, with_adversary: bool
) -> list[Drawing]:
    """AUC against K-S sum, and histories of all values; those of adversary or control region only if there is one."""
    with_ks = not lacks_control_region(history)
    # Not every epoch needs to know all: a run can have been continued by a later version of this program.
    names = [
        name
        for name in dict.fromkeys(name for row in history for name in row)
        if (with_adversary or name.startswith("cr_") or "adv" not in name) and (with_ks or not name.startswith("ks_"))
        # With few control jets there is no result in any epoch.
        if "c2st_" not in name or any(math.isfinite(row.get(name, math.nan)) for row in history)
    ]
    values = {name: [row.get(name, math.nan) for row in history] for name in names}
    return [*_drawing_of_front(history), *history_drawings(values, references)]


def _drawing_of_front(history: Sequence[Mapping[str, float]]) -> list[Drawing]:
    """AUC against K-S sum of every epoch; nothing if no epoch has both."""
    aucs = [row.get("val_auc", math.nan) for row in history]
    front = pareto_front(list(zip(aucs, map(ks_beyond_identical, history), strict=True)))
    if not front:
        return []
    recommended = recommended_epoch(history)
    best = BestEpoch.of(front[0], history[front[0]])
    plot = ParetoPlot(
        runs=(RunEpochs("Epochs", np.array(aucs), np.array(ks_sums(history)), recommended),),
        front=tuple((0, epoch) for epoch in front),
        recommended=None if recommended is None else (0, recommended),
        identical=((best.ks_expected, best.ks_spread),),
        ks_title="K-S sum of MC and data",
        recommended_name=f"epoch {recommended}",
    )
    return [Drawing("auc_ks", draw_pareto, (plot,), caption="AUC against K-S sum, all epochs, validation part")]


def history_references(data: TrainingData, settings: TrainSettings) -> HistoryReferences:
    """Reference lines of the histories: the loss without information, and the share of the most frequent class."""
    main = data.main.jets.label[data.main.positions(Part.VALIDATION)]
    main_majority = float(np.bincount(main).max() / len(main))
    if "control" not in data.samples:
        return HistoryReferences(uninformed_loss=None, main_majority=main_majority)
    control = data.control.is_data[data.control.positions(Part.VALIDATION)]
    validated, trained = (
        float(np.log(2) * data.control.loss_weight[data.control.positions(part)].mean())
        for part in (Part.VALIDATION, Part.TRAIN)
    )
    return HistoryReferences(
        uninformed_loss=validated,
        uninformed_training_loss=trained,
        main_majority=main_majority,
        control_majority=float(max(control.mean(), 1 - control.mean())),
        kept_below=settings.ks_limit,
    )


def stored_references(record: Mapping[str, Any]) -> HistoryReferences:
    """The same as a run's record has them; those of the first versions of this program have none."""
    return HistoryReferences.from_dict(record.get("history_references", {}))


def redraw_run(run: RunDirectory, figure_settings: Mapping[str, Any] | None = None) -> list[Path]:
    """Draws every plot of a run into its folder: those of each epoch, the histories, the final ones.

    What a run does not have is left out with a warning: an interrupted one may have no final plots.

    Args:
        run: the run.
        figure_settings: values of `FigureSettings` by name that are to take the place of the run's.

    Returns:
        The files written.

    Raises:
        RunError: the run has no record or history that can be read.
        ConfigError: a value cannot be used.
        OSError: a file cannot be written.
    """
    labels = labels_of_run(run, figure_settings)
    return draw_in_parallel(drawings_of_run(run), run.path, labels)


def labels_of_run(run: RunDirectory, figure_settings: Mapping[str, Any] | None = None) -> FigureLabels:
    """Headings over the plots of a run; those of the demo say so, whatever the settings are.

    Raises:
        RunError: the run does not say what its jets are.
        ConfigError: a value of `figure_settings` cannot be used.
    """
    stored = _settings(run)
    of_figures = {name: getattr(stored, name) for name in FigureSettings.model_fields}
    described = [_data(run, name) for name in ("main", "control")]
    if not any("data_taking" in each for each in described):
        # A run of an earlier version: these were its defaults, whatever its jets were.
        of_figures |= {name: None for name, value in _EARLIER_DEFAULTS.items() if of_figures[name] == value}
    layers = [("run", of_figures), ("command line", dict(figure_settings or {}))]
    return figure_labels(settings_from(FigureSettings, layers), *map(DataTaking.of_record, described))


def drawings_of_run(run: RunDirectory) -> list[Drawing]:
    """All plots of a run, still to be drawn, under the names of the manual.

    Raises:
        RunError: the run has no record or history that can be read.
    """
    record = run.read_record()
    if record.get("status") == IMPORTED:
        return _of_imported(run, record)
    settings, history = _settings(run), run.read_history()
    scaling = _data(run, "control").get("scaling")
    pt_ranges = ranges_of(settings.pt_ranges, Scaling(**scaling) if scaling else None)
    drawings: list[Drawing] = []
    # The outputs after an epoch are a matter of each network of a set; its folder has none of its own.
    for epoch, row in enumerate(history if run.set_rule is None else ()):
        try:
            stored = EpochHistograms.read(run.histograms_file(epoch)).with_ks_of(row, pt_ranges)
        except InputFileError as error:
            _log.warning("the plots of epoch %d are left out: %s", epoch, error)
        else:
            drawings += epoch_drawings(epoch, stored.histograms, stored.ks, f"{stored.main_part} part")
    drawings += drawings_of_history(history, stored_references(record), settings.has_adversary)
    return drawings + _finals(run, history) + _importance(run)


def _of_imported(run: RunDirectory, record: Mapping[str, Any]) -> list[Drawing]:
    remedy = "'cr_trainer analyze' draws the outputs of its networks on files that are given to it"
    if not run.history_file.is_file():
        raise RunError(f"run {run.name} was imported without a history, so there is nothing to draw of it; {remedy}")
    _log.warning("run %s was imported: only its history can be drawn; %s", run.name, remedy)
    history = run.read_history()
    # NaN stands for what the earlier program did not write; there is no empty figure of it.
    known = {name for row in history for name, value in row.items() if math.isfinite(value)}
    rows = [{name: value for name, value in row.items() if name in known} for row in history]
    return drawings_of_history(rows, stored_references(record), _settings(run).has_adversary)


def _finals(run: RunDirectory, history: Sequence[Mapping[str, float]]) -> list[Drawing]:
    try:
        epoch, figures = read_evaluation(run)
    except InputFileError as error:
        _log.warning("the final plots are left out: %s", error)
        return []
    if epoch != len(history) - 1:
        _log.warning("the final plots show epoch %d, the last one that was evaluated on the test part", epoch)
    return final_drawings(figures)


def _importance(run: RunDirectory) -> list[Drawing]:
    if not run.importance_file.is_file():
        return []
    try:
        return importance_drawings("importance", read_importance(run)[1])
    except InputFileError as error:
        _log.warning("the importance of the inputs is left out: %s", error)
        return []


def _settings(run: RunDirectory) -> TrainSettings:
    return settings_from(TrainSettings, [("run", run.read_settings())])


def _data(run: RunDirectory, name: str) -> dict[str, Any]:
    record = run.read_record()
    if record.get("status") == IMPORTED:
        return {}  # the earlier program did not record them
    try:
        # Without control region its scaling and simulation are those of the main file.
        described: dict[str, Any] = record["data"].get(name) or record["data"]["main"]
    except KeyError as error:
        raise RunError(f"run {run.name} has no {run.record_file.name} that describes its jets") from error
    return described

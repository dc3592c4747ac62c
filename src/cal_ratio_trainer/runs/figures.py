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
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.plotting import Drawing, FigureLabels, figure_labels
from cal_ratio_trainer.plotting.catalogue import epoch_drawings, final_drawings
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings
from cal_ratio_trainer.plotting.pareto import ParetoPlot, RunEpochs, draw_pareto
from cal_ratio_trainer.plotting.roc import importance_drawings
from cal_ratio_trainer.runs.figure_data import EpochHistograms, read_evaluation, read_importance
from cal_ratio_trainer.runs.recommendation import (
    BestEpoch,
    ks_beyond_identical,
    ks_sums,
    lacks_control_region,
    pareto_front,
    recommended_epoch,
)

_log = logging.getLogger(__name__)

REMEDY = "'cr_trainer analyze' draws the outputs of its networks on files that are given to it"
"""Advice for a run of which there are no outputs."""

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


def stored_references(record: Mapping[str, Any]) -> HistoryReferences:
    """Reference lines of the histories in a run's record; none in those of the first versions of this program."""
    return HistoryReferences.from_dict(record.get("history_references", {}))


def labels_of_run(
    settings: TrainSettings, described: Sequence[Mapping[str, Any]], replaced: Mapping[str, Any]
) -> FigureLabels:
    """Headings over the figures of a run; those of the demo say so, whatever the settings are.

    Args:
        settings: of the run.
        described: main and control training file as the record describes them.
        replaced: values of `FigureSettings` by name that replace those of the run.

    Raises:
        ConfigError: a value of `replaced` cannot be used.
    """
    of_figures = {name: getattr(settings, name) for name in FigureSettings.model_fields}
    if not any("data_taking" in each for each in described):
        # A run of an earlier version: these were its defaults, whatever its jets were.
        of_figures |= {name: None for name, value in _EARLIER_DEFAULTS.items() if of_figures[name] == value}
    layers = [("run", of_figures), ("command line", dict(replaced))]
    return figure_labels(settings_from(FigureSettings, layers), *map(DataTaking.of_record, described))


def drawings_of_epoch(epoch: int, stored: EpochHistograms) -> list[Drawing]:
    """Outputs after an epoch."""
    return epoch_drawings(epoch, stored.histograms, stored.ks, f"{stored.main_part} part")


def drawings_of_imported(
    history: Sequence[Mapping[str, float]], record: Mapping[str, Any], settings: TrainSettings
) -> list[Drawing]:
    """History of an imported run, without the columns that the earlier program did not write, which are NaN."""
    known = {name for row in history for name, value in row.items() if math.isfinite(value)}
    rows = [{name: value for name, value in row.items() if name in known} for row in history]
    return drawings_of_history(rows, stored_references(record), settings.has_adversary)


def final_drawings_in(evaluation_file: Path, newest: int) -> list[Drawing]:
    """Final figures from the metrics of a run, whose newest epoch has this number; none, with a warning, without."""
    try:
        epoch, figures = read_evaluation(evaluation_file)
    except InputFileError as error:
        _log.warning("the final plots are left out: %s", error)
        return []
    if epoch != newest:
        _log.warning("the final plots show epoch %d, the last one that was evaluated on the test part", epoch)
    return final_drawings(figures)


def importance_drawings_in(file: Path) -> list[Drawing]:
    """Importance of the inputs, if a run has it."""
    if not file.is_file():
        return []
    try:
        return importance_drawings("importance", read_importance(file)[1])
    except InputFileError as error:
        _log.warning("the importance of the inputs is left out: %s", error)
        return []

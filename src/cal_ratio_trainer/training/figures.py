"""Which figures a training leaves, under the names of the manual."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting import figure_labels, write_all
from cal_ratio_trainer.plotting.finals import final_drawings
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings
from cal_ratio_trainer.training.checkpoint import HistoryRow
from cal_ratio_trainer.training.data import TrainingData
from cal_ratio_trainer.training.splits import Part


def draw_run(
    folder: Path, history: Sequence[HistoryRow], figures: TestFigures, data: TrainingData, settings: TrainSettings
) -> list[Path]:
    """Histories of loss, accuracy and K-S, and the score distributions of the test part.

    A training without adversary has no figures of one.

    Returns:
        The files written.
    """
    columns = {
        name: [row[name] for row in history] for name in history[0] if settings.adversary_weight or "adv" not in name
    }
    drawings = history_drawings(columns, _references(data, settings)) + final_drawings(figures)
    return write_all(drawings, folder, figure_labels(settings, data.simulation))


def _references(data: TrainingData, settings: TrainSettings) -> HistoryReferences:
    main = data.main.jets.label[data.main.positions(Part.VALIDATION)]
    control = data.control.is_data[data.control.positions(Part.VALIDATION)]
    weight = data.control.loss_weight[data.control.positions(Part.VALIDATION)]
    return HistoryReferences(
        clueless_loss=float(np.log(2) * weight.mean()),
        main_majority=float(np.bincount(main).max() / len(main)),
        control_majority=float(max(control.mean(), 1 - control.mean())),
        kept_below=settings.ks_limit,
    )

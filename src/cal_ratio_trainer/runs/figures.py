"""Which figures a training leaves, under the names of the manual, and what stands over them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings
from cal_ratio_trainer.runs.kept_weights import lacks_control_region


def drawings_of_history(
    history: Sequence[Mapping[str, float]], references: HistoryReferences, with_adversary: bool
) -> list[Drawing]:
    """Histories of loss, accuracy, AUC and K-S; those of adversary or control region only where there is one."""
    with_ks = not lacks_control_region(history)
    # Not every epoch needs to know all: a run can have been continued by a later version of this program.
    names = [
        name
        for name in dict.fromkeys(name for row in history for name in row)
        if (with_adversary or "adv" not in name) and (with_ks or not name.startswith("ks_"))
    ]
    return history_drawings({name: [row.get(name, math.nan) for row in history] for name in names}, references)


def history_references(data: TrainingData, settings: TrainSettings) -> HistoryReferences:
    """What the histories are held against: knowing nothing, and always saying the most frequent class."""
    main = data.main.jets.label[data.main.positions(Part.VALIDATION)]
    main_majority = float(np.bincount(main).max() / len(main))
    if "control" not in data.samples:
        return HistoryReferences(clueless_loss=None, main_majority=main_majority)
    control = data.control.is_data[data.control.positions(Part.VALIDATION)]
    validated, trained = (
        float(np.log(2) * data.control.loss_weight[data.control.positions(part)].mean())
        for part in (Part.VALIDATION, Part.TRAIN)
    )
    return HistoryReferences(
        clueless_loss=validated,
        clueless_training_loss=trained,
        main_majority=main_majority,
        control_majority=float(max(control.mean(), 1 - control.mean())),
        kept_below=settings.ks_limit,
    )


def stored_references(record: Mapping[str, Any]) -> HistoryReferences:
    """The same as a run's record has them; those of the first versions of this program have none."""
    stored = record.get("history_references", {})
    known = {name: stored.get(name) for name in HistoryReferences.__dataclass_fields__}
    return HistoryReferences(**known)

"""Small fold sets for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.training import Layers, TrainSettings
from cal_ratio_trainer.formats.keras_file import read_keras
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.training.fold_set import FoldSet
from cal_ratio_trainer.training.train_folds import FoldSetSummary, fold_work, train_folds

TINY: dict[str, Any] = {
    "epochs": 2,
    "num_splits": 3,
    "sample_fraction": 1.0,
    "train_fraction": 0.5,
    "threads": 1,
    "tensorboard": False,
    "cluster_filters": [8, 4],
    "track_filters": [8, 4],
    "muon_segment_filters": [4],
    "hidden_layer_fraction": 0.05,
}


def set_settings(files: tuple[Path, Path], output_path: Path, **changes: Any) -> TrainSettings:
    """Settings of a set of two tiny networks."""
    given = {"main_training_file": str(files[0]), "cr_training_file": str(files[1]), "folds": 2}
    return TrainSettings.make(output_path=output_path, **{**TINY, **given, **changes})


def train_set(settings: TrainSettings, continue_from: str | None = None, **flags: Any) -> FoldSetSummary:
    """Trains a set as `cr_trainer train` with `--continue` and further flags, without drawing."""
    layers: Layers = [("packaged defaults", settings.model_dump()), ("command line", flags)]
    work = fold_work(layers, settings, continue_from)
    assert work is not None
    with pytest.MonkeyPatch.context() as patch:
        # Drawing takes most of the time of so small a training.
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        patch.setattr("cal_ratio_trainer.training.train_folds.redraw_run", lambda run: [])
        return train_folds(work, say=lambda text: None, details=lambda figures: f"AUC {figures.roc.auc}")


def set_of(summary: FoldSetSummary) -> FoldSet:
    """The set on disk."""
    found = FoldSet.of(summary.run)
    assert found is not None
    return found


def newest_weights(run: RunDirectory) -> dict[str, np.ndarray]:
    """The newest weights of a network."""
    return read_keras(run.path / "keras" / "final_model.keras")[1]


def are_equal(first: RunDirectory, second: RunDirectory) -> bool:
    """The newest weights of both are the same to the last bit."""
    one, other = newest_weights(first), newest_weights(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)

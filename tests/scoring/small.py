"""Small networks, files and trainings for tests of scoring."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.files.parquet import open_parquet
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.score_file import SCORES_KEY
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files

OUTPUTS = ("jet_nn_qcd", "jet_nn_sig", "jet_nn_bib")


def score_settings(folder: Path, files: Sequence[Path | str], network: Path | str, **changes: Any) -> ScoreSettings:
    """Settings that score files with a network into folder/scores."""
    given = {"output_report": folder / "scores" / "report.md", "output_path": folder, "threads": 1}
    return ScoreSettings.make(input_files=[str(file) for file in files], training=str(network), **(given | changes))


def small_run(folder: Path, **changes: Any) -> tuple[Run, Path, Path]:
    """A training of one epoch without figures: its run (of model 'default'), its main and its control file."""
    main, control = write_training_files(folder, 900, 600)
    given = {"epochs": 1, "num_splits": 4, "sample_fraction": 0.8, "threads": 1, "train_fraction": 0.6, "seed": 3}
    settings = TrainSettings.make(
        main_training_file=str(main), cr_training_file=str(control), output_path=folder, **(given | changes)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        summary = train(Start(settings), say=lambda text: None, details=lambda figures: "")
    return Run(summary.run.path), main, control


def scores_in(table: Any) -> np.ndarray:
    """The three score columns of a table, [jets, 3]."""
    return np.stack([table.column(f"jet_nn_{label.output}").to_numpy() for label in Label], axis=1)


def read_score_description(path: Path) -> dict[str, Any]:
    """Returns the metadata of a file of scores."""
    description: dict[str, Any] = json.loads((open_parquet(path).metadata.metadata or {})[SCORES_KEY])
    return description

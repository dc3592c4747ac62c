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
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Label, Ragged
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.scoring.score_file import SCORES_KEY
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.train import train
from tests.training.synthetic import write_training_files

SCALING = Scaling(min_jet_pt=0, max_jet_pt=500)
OUTPUTS = ("jet_nn_qcd", "jet_nn_sig", "jet_nn_bib")


def write_network(path: Path, seed: int = 1, shape: NetworkShape = DEFAULT_SHAPE) -> Path:
    """An untrained network whose scores depend visibly on every input."""
    weights = Classifier(shape, seed).weights()
    write_keras(path, shape, {name: values * np.float32(2.0) for name, values in weights.items()})
    return path


def converted_jets(jets: int, seed: int = 1, **columns: Any) -> Jets:
    """Jets as convert stores them, with realistic values; two per event."""
    rng = np.random.default_rng(seed)
    lists = {}
    for kind, mean in zip(CONSTITUENTS, (9, 4, 3), strict=True):
        lengths = np.minimum(1 + rng.poisson(mean, jets), kind.limit)
        values = rng.normal(size=(int(lengths.sum()), len(kind.features))).astype(np.float32)
        for position, feature in enumerate(kind.features):
            if feature.unit == "MeV":
                values[:, position] = rng.exponential(2e4, len(values)) + 1
            elif feature.unit in ("GeV", "mm"):
                values[:, position] = rng.exponential(20.0, len(values))
        lists[kind.name] = Ragged.from_lengths(values, lengths)
    number = np.arange(jets)
    scalars = {
        "label": rng.integers(0, 3, jets),
        "jet_pt": rng.uniform(40, 500, jets),
        "jet_eta": rng.uniform(-2.5, 2.5, jets),
        "jet_phi": rng.uniform(-3, 3, jets),
        "eventNumber": 10_000 * seed + number // 2,
        "runNumber": np.full(jets, 284500),
        "mcChannelNumber": np.full(jets, 361020),
        "jet_index": number % 2,
        "mcEventWeight": rng.uniform(0.5, 1.5, jets),
    }
    return Jets.from_columns(scalars | columns, lists)


def write_converted(path: Path, jets: Jets) -> Path:
    """A file of converted jets."""
    write_jets(path, jets, JetMetadata(stage="converted"))
    return path


def write_built(path: Path, jets: Jets, scaling: Scaling = SCALING) -> Path:
    """A file of scaled jets."""
    write_jets(path, jets, JetMetadata(stage="built", kind="main", scaling=scaling))
    return path


def score_settings(folder: Path, files: Sequence[Path | str], network: Path | str, **changes: Any) -> ScoreSettings:
    """Settings that score files with a network into folder/scores."""
    given = {"output_report": folder / "scores" / "report.md", "output_path": folder, "threads": 1}
    return ScoreSettings.make(input_files=[str(file) for file in files], training=str(network), **(given | changes))


def small_run(folder: Path, **changes: Any) -> tuple[RunDirectory, Path, Path]:
    """A training of one epoch without figures: its run (of model 'default'), its main and its control file."""
    main, control = write_training_files(folder, 900, 600)
    given = {"epochs": 1, "num_splits": 4, "sample_fraction": 0.8, "threads": 1, "train_fraction": 0.6, "seed": 3}
    settings = TrainSettings.make(
        main_training_file=str(main), cr_training_file=str(control), output_path=folder, **(given | changes)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        summary = train(Start(settings), say=lambda text: None, details=lambda figures: "")
    return summary.run, main, control


def scores_in(table: Any) -> np.ndarray:
    """The three score columns of a table, [jets, 3]."""
    return np.stack([table.column(f"jet_nn_{label.output}").to_numpy() for label in Label], axis=1)


def read_score_description(path: Path) -> dict[str, Any]:
    """Returns the metadata of a file of scores."""
    description: dict[str, Any] = json.loads((open_parquet(path).metadata.metadata or {})[SCORES_KEY])
    return description

"""Runs and fold sets as a training leaves them: written by hand with known figures, or by small real trainings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.runs.networks import with_digest
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.loop import NO_OBSERVER, Observer
from cal_ratio_trainer.training.network_set import NetworkSet
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from cal_ratio_trainer.training.train_networks import NetworkSetSummary, set_work, train_networks

OUTPUTS = ("qcd", "sig", "bib")


def history_row(
    auc: float, ks: float, *, expected: float = 0.45, spread: float = 0.09, loss: float = 0.5
) -> dict[str, float]:
    """Row of a history: AUC, K-S sum of all outputs with the value of identical distributions, loss of the network."""
    row = {"val_auc": auc, "val_original_lossf": loss, "val_original_adv_lossf": 0.70, "val_adv_loss": 0.69}
    row |= {"original_lossf": loss, "original_acc": 0.8, "val_original_acc": 0.8}
    for output in OUTPUTS:
        figures = {"hist": ks, "expected": expected, "spread": spread}
        row |= {f"ks_{output}_{name}": value / 3 for name, value in figures.items()}
    return row


def write_run(
    folder: Path,
    history: Sequence[Mapping[str, float | None]] | None = (),
    record: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """A run without networks and jets.

    Args:
        folder: Folder of the run, e.g. tmp_path / 'default' / '00000'.
        history: Rows of the history; None omits the file.
        record: Entries that replace those of a finished run; None removes one.
        settings: Settings that replace the defaults.
    """
    folder.mkdir(parents=True)
    if history is not None:
        (folder / "history.json").write_text(json.dumps([{"epoch": i} | dict(row) for i, row in enumerate(history)]))
    whole = {**finished_record(len(history or ())), **(record or {})}
    (folder / "run.json").write_text(json.dumps({name: value for name, value in whole.items() if value is not None}))
    chosen = TrainSettings.make(output_path=folder.parents[1], model_name=folder.parent.name, **(settings or {}))
    (folder / "training_params.yaml").write_text(chosen.as_yaml())
    return Run(folder)


def change_settings(run: Run, **changes: Any) -> None:
    """Changes the settings of a run as if it was trained with others."""
    changed = run.write_settings(TrainSettings.make(**{**run.read_settings(), **changes}))
    run.write_record({**run.read_record(), "settings_sha256": changed})


def sign_network(run: Run, file: Path, epoch: int) -> None:
    """Signs a network as if a run wrote it after an epoch."""
    file.write_bytes(with_digest(file.read_bytes(), run.read_record()["id"], epoch))


def finished_record(epochs: int) -> dict[str, Any]:
    """Content of run.json of a finished run."""
    files = {
        kind: {"file": f"/data/{kind}.parquet", "sha256": kind[0] * 64, "simulation": "demo"}
        for kind in ("main", "control")
    }
    return {
        "status": "finished",
        "started": "2026-11-24T00:33:01+00:00",
        "ended": "2026-11-24T00:39:31+00:00",
        "seed": 1,
        "planned_epochs": epochs,
        "finished_epochs": epochs,
        "versions": {"cal_ratio_trainer": "0.1.0", "commit": "a7b01abab55f40ee6ae1c4fc486bfd294213db47-dirty"},
        "data": files,
        "test": {"auc": 0.9932, "max_efficiency_ratio": 13.04},
    }


def train_small(files: tuple[Path, Path], output_path: Path, observer: Observer = NO_OBSERVER, **changes: Any) -> Run:
    """Real training of one or two seconds, without plots and logs unless an observer draws or writes them."""
    small: dict[str, Any] = {"epochs": 3, "num_splits": 4, "sample_fraction": 1.0, "threads": 1, "train_fraction": 0.5}
    settings = TrainSettings.make(
        main_training_file=str(files[0]),
        cr_training_file=str(files[1]),
        output_path=output_path,
        **{**small, **changes},
    )
    return Run(train(Start(settings), lambda text: None, lambda figures: "", observer=observer).run.path)


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


def train_set(settings: TrainSettings, continue_from: str | None = None, **flags: Any) -> NetworkSetSummary:
    """Trains a set as `cr_trainer train` with `--continue` and further flags, without drawing."""
    layers: Layers = [("packaged defaults", settings.model_dump()), ("command line", flags)]
    work = set_work(layers, settings, continue_from)
    assert work is not None
    with pytest.MonkeyPatch.context() as patch:
        # Drawing takes most of the time of so small a training.
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        patch.setattr("cal_ratio_trainer.runs.run.Run.redraw", lambda run: [])
        return train_networks(work, say=lambda text: None, details=lambda figures: f"AUC {figures.roc.auc}")


def set_of(summary: NetworkSetSummary) -> NetworkSet:
    """The set on disk."""
    found = NetworkSet.of(summary.run)
    assert found is not None
    return found


def newest_weights(run: Run) -> dict[str, np.ndarray]:
    """The newest weights of a network."""
    return read_own_network(run.path / "keras" / "final_model.keras").weights


def are_equal(first: Run, second: Run) -> bool:
    """The newest weights of both are the same to the last bit."""
    one, other = newest_weights(first), newest_weights(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)

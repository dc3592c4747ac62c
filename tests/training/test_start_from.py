"""Trainings that start from the weights of an earlier network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.used_events import read_used_events
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import train_set
from tests.training.test_optimizers import settings_of

NOTHING_LEARNED = {"epochs": 1, "learning_rate": 1e-12, "adversary_weight": 0.0, "dropout": 0.0}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small main and control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"), 300, 200)


@pytest.fixture(scope="module")
def folder(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run first/0, which has kept its epochs 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        started(settings_of(files, folder, model_name="first", epochs=2, adversary_weight=0.0, keep_weights="all"))
    return folder


def started(settings: TrainSettings) -> tuple[TrainSummary, str]:
    """A training by these settings, and what it says."""
    said: list[str] = []
    start = find_start([("defaults", {}), ("command line", {})], settings, None)
    return train(start, said.append, details=lambda figures: ""), "\n".join(said)


def weights_of(run: RunFolder, epoch: str) -> dict[str, np.ndarray]:
    return run.network_at(epoch).load().weights()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("by_path", [False, True], ids=["by name", "by the path of a file"])
def test_the_weights_of_an_epoch_are_those_that_a_training_starts_from(
    files: tuple[Path, Path], folder: Path, by_path: bool
) -> None:
    first = Run(folder / "first" / "00000")
    name = str(first.path / "keras" / "final_model_weights_0.keras") if by_path else "first/0/0"
    more = {"average_weights": 0.9, "standardize_inputs": by_path}
    settings = settings_of(files, folder, start_from=name, **more, **NOTHING_LEARNED)
    summary, said = started(settings)
    expected = weights_of(first, "0")
    for weight, values in weights_of(summary.run, "last").items():
        np.testing.assert_allclose(values, expected[weight], atol=1e-5)
    record = summary.run.read_record()
    assert record["initial_weights"]["run"] == (name if by_path else "first/00000/0")
    assert "trained on no event of the validation and test part" in record["notes"][0]
    assert said.count(record["notes"][0]) == 1
    details = (summary.run.path / "training_details.txt").read_text()
    assert record["notes"][0] in " ".join(details.split())


@pytest.mark.usefixtures("without_figures")
def test_test_events_that_the_earlier_network_was_trained_on_are_counted_and_stay_known(
    files: tuple[Path, Path], folder: Path
) -> None:
    changes = {**NOTHING_LEARNED, "start_from": "first/0", "seed": 9}
    run = started(settings_of(files, folder, model_name="second", **changes))[0].run
    own = started(settings_of(files, folder, model_name="alone", **{**changes, "start_from": None}))[0].run
    earlier, judged = trained_on(folder / "first" / "00000"), set[int]()
    for group in read_used_events(own.path) or ():
        judged |= set(group.words[np.isin(group.part, (Part.VALIDATION, Part.TEST))].tolist())
    assert len(judged & earlier) > 20
    assert f"was trained on {len(judged & earlier)} events of the validation" in run.read_record()["notes"][0]
    assert trained_on(run.path) == earlier | trained_on(own.path)


def trained_on(folder: Path) -> set[int]:
    groups = read_used_events(folder) or ()
    return {int(word) for group in groups for word in group.words[group.part == Part.TRAIN]}


def test_networks_that_cannot_be_started_from_are_refused(files: tuple[Path, Path], folder: Path) -> None:
    def settings(name: str, **changes: Any) -> TrainSettings:
        return settings_of(files, folder, model_name="refused", **{"start_from": name, **changes})

    with pytest.raises(ConfigError, match=r"than that of first/00000/1: its clusters\.dense\.0\.kernel"):
        started(settings("first/0", cluster_filters=[5, 4]))
    with pytest.raises(RunError, match="has no weights of epoch 7; kept are 0, 1"):
        started(settings("first/0/7"))
    with pytest.raises(InputFileError, match="no such file"):
        started(settings("nothing.keras"))
    with pytest.raises(ConfigError, match=r"it has to be a set of 2 folds, .*; first/00000/1 is none"):
        train_set(settings("first/0", folds=2))
    assert not (folder / "refused").exists()


@pytest.mark.usefixtures("without_figures")
def test_each_fold_starts_from_the_network_of_the_same_fold(files: tuple[Path, Path], tmp_path: Path) -> None:
    small = {**NOTHING_LEARNED, "folds": 2, "train_fraction": 0.5}
    first = train_set(settings_of(files, tmp_path, model_name="first", **{**small, "learning_rate": 0.01})).run
    second = train_set(settings_of(files, tmp_path, model_name="second", start_from="first/0", **small)).run
    for before, after in zip(first.networks, second.networks, strict=True):
        expected = weights_of(before, "last")
        for weight, values in weights_of(after, "last").items():
            np.testing.assert_allclose(values, expected[weight], atol=1e-6)
    with pytest.raises(ConfigError, match="has 2 networks; name one, or give --folds"):
        started(settings_of(files, tmp_path, start_from="first/0"))

"""`convert training` on fold sets: K files, each checked, and the rule beside them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.runs.network_export import TrainingExport, export_training
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.network_set import NetworkSet
from tests.factories.files import write_training_files
from tests.factories.runs import newest_weights, set_of, set_settings, train_set, train_small


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> NetworkSet:
    """A set of two networks."""
    folder = tmp_path_factory.mktemp("folds")
    files = write_training_files(folder, 500, 400)
    return set_of(train_set(set_settings(files, folder, epochs=1)))


def exported(trained: NetworkSet, training: str, output: Path, **changes: Any) -> TrainingExport:
    given = {"training": training, "output_json": output, "output_path": trained.run.path.parents[1]}
    return export_training(ConvertTrainingSettings.make(**{**given, **changes}))


def test_a_set_becomes_a_file_for_each_network_and_one_card_with_the_rule(trained: NetworkSet, tmp_path: Path) -> None:
    done = exported(trained, "default/0/best", tmp_path / "model.json", folds=True, format="all")
    assert [path.name for path in done.exported.paths[::4]] == ["model_fold0.json", "model_fold1.json"]
    assert {path.name for path in tmp_path.glob("*.card.*")} == {"model.card.json", "model.card.md"}
    for fold, run in enumerate(trained.networks):
        expected = newest_weights(run)
        weights = read_own_network(tmp_path / f"model_fold{fold}.keras").weights
        assert all(np.array_equal(weights[name], expected[name]) for name in expected)
    card = json.loads((tmp_path / "model.card.json").read_text())
    assert (card["network"], card["folds"]["count"], card["folds"]["rule"]) == (
        "default/00000/best",
        2,
        "eventNumber % 2 == fold",
    )
    assert card["training"]["epoch"] == [0, 0]
    assert card["test_figures"]["auc"] == pytest.approx(trained.run.read_record()["test"]["auc"], rel=1e-3)
    for file in card["files"]:
        assert f"_fold{file['details']['fold']}" in file["file"]
        assert hashlib.sha256((tmp_path / file["file"]).read_bytes()).hexdigest() == file["sha256"]
        assert file["scores_agree_within"] == 1e-5
    page = (tmp_path / "model.card.md").read_text()
    assert "| `eventNumber % 2 == 1` | `model_fold1.json`, `model_fold1_keras3.json`" in page


def test_one_network_of_a_set_says_on_which_events_it_may_be_used(trained: NetworkSet, tmp_path: Path) -> None:
    done = exported(trained, "default/0/fold_1", tmp_path / "one.json")
    assert "exactly these" in done.notes[0]
    card = json.loads((tmp_path / "one.card.json").read_text())
    assert (card["folds"]["set"], card["folds"]["fold"]) == ("default/00000", 1)
    assert "This is network 1 of the 2 of the fold set default/00000" in (tmp_path / "one.card.md").read_text()


def test_a_set_is_not_taken_for_one_network_nor_a_network_for_a_set(trained: NetworkSet, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a set of 2 networks: --folds writes all .* default/00000/fold_0/0"):
        exported(trained, "default/0", tmp_path / "model.json")
    with pytest.raises(RunError, match="fold_1/0 is no fold set"):
        exported(trained, "default/0/fold_1", tmp_path / "model.json", folds=True)
    assert not list(tmp_path.iterdir())


def test_a_run_with_one_network_is_written_as_ever(trained: NetworkSet, tmp_path: Path) -> None:
    folder = trained.run.path.parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        files = (folder / "main.parquet", folder / "control.parquet")
        train_small(files, folder, model_name="alone", epochs=1)
    done = exported(trained, "alone/0", tmp_path / "model.json")
    assert [path.name for path in done.exported.paths] == ["model.json"]
    assert "folds" not in json.loads((tmp_path / "model.card.json").read_text())

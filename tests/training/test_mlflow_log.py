"""Runs of MLflow that follow a training, in stores that need no server."""

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from cal_ratio_trainer.config.loading import settings_from
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.runs.figure_data import read_evaluation
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training import mlflow_log as module
from cal_ratio_trainer.training.continuation import continued_start
from cal_ratio_trainer.training.mlflow_log import MlflowLog, mlflow_log, require_mlflow
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, train_small

NO_SERVER = "http://127.0.0.1:1"
RECORD = {"id": "0" * 32, "versions": {"commit": "a7b01abab55f"}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's store in files, which takes no time to make and is there for tests of its own."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Address of an empty store."""
    return (tmp_path / "store").as_uri()


def row(epoch: int) -> dict[str, float]:
    return {"val_original_lossf": 1 / (1 + epoch), "val_auc": math.nan if epoch == 1 else 0.9, "cr_a+b_c2st_auc": 0.5}


def rows(epochs: int) -> list[dict[str, float]]:
    return [row(epoch) for epoch in range(epochs)]


def tracked(store: str, model: str = "default") -> list[Any]:
    """The runs in a store."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(model)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def steps(store: str, metric: str) -> list[int]:
    """Epochs of which the only run in a store has a metric."""
    (run,) = tracked(store)
    return [each.step for each in MlflowClient(store).get_metric_history(run.info.run_id, metric)]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the training said about MLflow."""
    return [each.getMessage() for each in caplog.records if each.name == module.__name__]


def test_a_training_leaves_settings_figures_and_files_and_goes_on_in_the_same_run(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawing would take most of the time.
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    changes = {**TINY, "epochs": 1, "mlflow": store, "note": "first try"}
    run = train_small(write_training_files(tmp_path), tmp_path / "runs", RunDisplay(), **changes)
    (first,) = tracked(store)
    assert (first.info.run_name, first.info.status) == ("00000", "FINISHED")
    assert first.data.params["cluster_filters"] == "8, 4"
    assert first.data.tags["run"] == "default/00000"
    assert first.data.tags["mlflow.note.content"] == "first try"
    assert first.data.metrics["test/AUC"] == pytest.approx(read_evaluation(run.evaluation_file)[1].rocs[0].auc)
    listed = MlflowClient(store).list_artifacts(first.info.run_id)
    network = f"network_of_epoch_{first.data.tags['recommended epoch']}"
    assert {each.path for each in listed} >= {"history.json", "run.json", "training_params.yaml", network}
    networks = MlflowClient(store).list_artifacts(first.info.run_id, network)
    assert {Path(each.path).suffix for each in networks} == {".keras", ".safetensors"}
    start = continued_start(run, [("command line", {"epochs": 1})])
    train(start, lambda text: None, lambda figures: "", observer=RunDisplay())
    assert [each.info.run_id for each in tracked(store)] == [first.info.run_id]
    assert steps(store, "loss/training") == [0, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")
def test_a_folder_gets_a_database_and_files_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tracked 50% runs"
    with mlflow_log(Run(tmp_path), TrainSettings.make(mlflow=str(folder)), rows(1), RECORD):
        pass
    store = f"sqlite:///{folder}/mlflow.db"
    (found,) = tracked(store)
    assert (found.info.status, steps(store, "loss/validation")) == ("FINISHED", [0])
    MlflowClient(store).log_text(found.info.run_id, "text", "note.txt")
    assert (folder / "artifacts" / found.info.run_id / "artifacts" / "note.txt").is_file()
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "artifacts"}


def test_what_is_not_finite_is_a_gap_and_names_are_those_mlflow_takes(tmp_path: Path, store: str) -> None:
    with mlflow_log(Run(tmp_path), TrainSettings.make(mlflow=store), [], RECORD) as log:
        assert log is not None
        log.add(rows(3))
    assert steps(store, "AUC/validation") == [0, 2]
    assert steps(store, "region a_b C2ST/AUC") == [0, 1, 2]


def test_a_stopped_run_is_marked_and_goes_on_without_an_epoch_twice(tmp_path: Path, store: str) -> None:
    run, settings = Run(tmp_path), TrainSettings.make(mlflow=store, epochs=5)
    with pytest.raises(TrainingStopped), mlflow_log(run, settings, rows(2), RECORD):
        raise TrainingStopped("stopped", 143)
    assert [each.info.status for each in tracked(store)] == ["KILLED"]
    # A setting that may change when a run goes on.
    with mlflow_log(run, settings.model_copy(update={"epochs": 7}), rows(1), RECORD) as log:
        assert log is not None
        assert [each.info.status for each in tracked(store)] == ["RUNNING"]
        log.add(rows(2))
        log.add(rows(3))
    assert [each.info.status for each in tracked(store)] == ["FINISHED"]
    assert steps(store, "loss/validation") == [0, 1, 2]


def test_each_network_of_a_set_has_a_run_of_its_own(tmp_path: Path, store: str) -> None:
    for fold in (0, 1):
        run = Run(tmp_path / "study" / "00003" / f"fold_{fold}")
        settings = TrainSettings.make(mlflow=store, model_name="study", folds=2, fold=fold)
        with mlflow_log(run, settings, [], {**RECORD, "id": f"{fold}" * 32}):
            pass
    found = sorted((each.info.run_name, each.data.params["fold"]) for each in tracked(store, "study"))
    assert found == [("00003/fold_0", "0"), ("00003/fold_1", "1")]


def test_a_server_that_fails_is_told_once_and_at_the_end_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mlflow_log(Run(tmp_path), TrainSettings.make(mlflow=NO_SERVER), [], RECORD) as log:
        assert log is not None
        log.add(rows(1))
        log.add(rows(2))
    first, last = warnings_of(caplog)
    assert first.startswith(f"MLflow at {NO_SERVER} cannot be written for run ")
    assert last.startswith(f"MLflow at {NO_SERVER} lacks figures or files of run ")


def test_a_server_that_answers_again_gets_what_it_missed(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0)
    log = MlflowLog(store, Run(tmp_path), TrainSettings.make(), RECORD)
    with monkeypatch.context() as failing:
        failing.setattr(MlflowClient, "log_batch", _fail)
        log.add(rows(1))
        log.add(rows(2))
    log.add(rows(3))
    log.close("FINISHED")
    assert steps(store, "loss/validation") == [0, 1, 2]
    assert len(warnings_of(caplog)) == 1


def _fail(*given: Any, **more: Any) -> None:
    raise ConnectionError("503")


def test_after_a_failure_nothing_is_tried_for_a_while(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: Iterator[float] = iter([0.0, 0.0, 10.0, 209.0, 211.0, 211.0, 211.5])
    monkeypatch.setattr("cal_ratio_trainer.training.mlflow_log.time.perf_counter", lambda: next(times))
    log, tried = MlflowLog(store, Run(tmp_path), TrainSettings.make(), RECORD), list[int]()

    def try_in_vain() -> None:
        tried.append(1)
        raise ConnectionError("503")

    monkeypatch.setattr(log, "_send_epochs", try_in_vain)
    log.add(rows(1))  # takes 10 s
    log.add(rows(2))  # 199 s later
    assert len(tried) == 1
    log.add(rows(3))
    assert len(tried) == 2


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sqlalchemy" else name)
    require_mlflow(TrainSettings.make())
    require_mlflow(TrainSettings.make(mlflow="https://mlflow.example.org"))
    with pytest.raises(UserError, match=r"--mlflow needs the package sqlalchemy: pip install 'cal_ratio_trainer\[mlf"):
        require_mlflow(TrainSettings.make(mlflow=str(tmp_path)))


@pytest.mark.parametrize("address", ["sqllite:///runs.db", "", "ftp://host/runs", "runs?mode=ro"])
def test_what_is_neither_folder_nor_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"mlflow.*should be a folder, or an address"):
        settings_from(TrainSettings, [("command line", {"mlflow": address})])


@pytest.mark.parametrize(
    "address", ["https://me:secret@host", "postgresql://me:secret@host/runs", "https://secret@host"]
)
def test_a_password_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match=r"mlflow.*should have no password") as found:
        settings_from(TrainSettings, [("command line", {"mlflow": address})])
    assert "secret" not in str(found.value)

"""MLflow tracking of a run: settings, history, figures of merit and files go to the address in the setting `mlflow`."""

import importlib.util
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.training import MLFLOW_ADDRESS, TrainSettings
from cal_ratio_trainer.errors import UserError, harmless
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.recommendation import recommended_epoch
from cal_ratio_trainer.runs.stored import HistoryRow
from cal_ratio_trainer.training.monitoring import end_of_epoch, epoch_metrics, hyper_parameters, merit_metrics
from cal_ratio_trainer.training.signals import TrainingStopped

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that does not answer delays a training by half a minute, not by many.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Environment variables of MLflow where the user has not set them."""

_PAUSE = 20
"""Pause after a failed attempt, in units of its duration: failures take at most 5 % of the training's time."""

_ID = "cal_ratio_trainer.id"
"""Tag by which a continued run finds its MLflow run."""

_PARAMETERS_AT_ONCE = 100
"""MLflow's limit on parameters in one call."""

_log = logging.getLogger(__name__)


def require_mlflow(settings: TrainSettings) -> None:
    """Refuses settings that ask for MLflow where it is not installed.

    Raises:
        UserError: a package is missing; names the extra.
    """
    if settings.mlflow is None:
        return
    needed = ["mlflow", *([] if settings.mlflow.startswith("http") else ["sqlalchemy", "alembic"])]
    if missing := [package for package in needed if importlib.util.find_spec(package) is None]:
        raise UserError(f"--mlflow needs the package {missing[0]}: pip install 'cal_ratio_trainer[mlflow]'")


class MlflowLog:
    """MLflow run of a run; made by `mlflow_log`. A failure is a warning, and its data are sent again later."""

    def __init__(self, address: str, run: RunFolder, settings: TrainSettings, record: Mapping[str, Any]) -> None:
        self._address, self._run, self._settings, self._record = address, run, settings, record
        self._history: Sequence[HistoryRow] = ()
        self._figures: TestFigures | None = None
        self._client: Any = None
        self._run_id = ""
        self._logged_epochs = 0
        self._is_in_trouble = False
        self._next_attempt = 0.0

    def add(self, history: Sequence[HistoryRow]) -> None:
        """Sends the epochs that MLflow does not have yet."""
        self._history = history
        if time.perf_counter() >= self._next_attempt:
            self._attempt(self._send_epochs)

    def finish(self, figures: TestFigures) -> None:
        """Takes the figures of merit of the newest epoch on the test part."""
        self._figures = figures

    def close(self, status: str) -> None:
        """Sends the missing epochs, and the results of a finished training; warns if that is not possible.

        Args:
            status: FINISHED, KILLED or FAILED, as MLflow calls it.
        """
        # A batch system may kill a process soon after its signal, so a server that failed before is not waited for.
        if status == "FINISHED" or not self._is_in_trouble:
            self._attempt(lambda: self._send_end(status))
        if self._is_in_trouble:
            _log.warning("%s lacks figures or files of run %s, which are in %s", *self._names(), self._run.path)

    def _attempt(self, send: Callable[[], None]) -> None:
        begin = time.perf_counter()
        try:
            send()
        except Exception as error:
            # MLflow, databases and stores of files raise types of their own; none may end a training.
            if not self._is_in_trouble:
                reason = harmless(str(error) or type(error).__name__, kept="")[:300]
                _log.warning("%s cannot be written for run %s; the training goes on: %s", *self._names(), reason)
            self._is_in_trouble = True
            now = time.perf_counter()
            self._next_attempt = now + _PAUSE * (now - begin)
        else:
            self._is_in_trouble = False

    def _names(self) -> tuple[str, str]:
        return f"MLflow at {self._address}", self._run.name

    def _send_epochs(self) -> None:
        if self._client is None:
            self._connect()
        for epoch in range(self._logged_epochs, len(self._history)):
            self._send(epoch_metrics(self._history[epoch]), epoch)
            self._logged_epochs = epoch + 1

    def _send(self, values: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        ended = round(1000 * end_of_epoch(self._run, epoch))
        metrics = [Metric(_as_key(name), value, ended, epoch) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _send_end(self, status: str) -> None:
        self._send_epochs()
        if self._figures is not None:
            self._send(merit_metrics(self._figures), len(self._history) - 1)
            self._send_files()
        self._client.set_terminated(self._run_id, status)

    def _send_files(self) -> None:
        run, best = self._run, recommended_epoch(self._history)
        texts = (run.page_file, run.history_file, run.settings_file, run.record_file, run.path / "training_details.txt")
        for file in texts:
            if file.is_file():
                self._client.log_artifact(self._run_id, str(file))
        if best is not None:
            stem = run.network_at(str(best)).file.with_suffix("")
            for file in (stem.with_suffix(".keras"), stem.with_suffix(".safetensors")):
                if file.is_file():
                    self._client.log_artifact(self._run_id, str(file), f"network_of_epoch_{best}")
            self._client.set_tag(self._run_id, "recommended epoch", str(best))

    def _connect(self) -> None:
        """Finds the experiment and the run, or makes them."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        # These would log every step of making a database, and every repeated request.
        for name, level in (("mlflow", "WARNING"), ("alembic", "WARNING"), ("urllib3.connectionpool", "ERROR")):
            logging.getLogger(name).setLevel(level)
        uri, artifacts = _stores(self._address)
        client, model = MlflowClient(uri), self._settings.model_name
        experiment = client.get_experiment_by_name(model)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(model, artifacts)
        identity = self._record.get("id") or self._run.name
        known = client.search_runs([experiment_id], f"tags.`{_ID}` = '{identity}'", max_results=1)
        if known:
            self._run_id = known[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
            sent = client.get_metric_history(self._run_id, _as_key("loss/validation"))
            self._logged_epochs = max((metric.step for metric in sent), default=-1) + 1
        else:
            name = self._run.name.removeprefix(f"{model}/")
            self._run_id = client.create_run(experiment_id, tags=self._tags(identity), run_name=name).info.run_id
        # MLflow refuses to change a parameter; settings that may change when a run goes on keep their first value.
        given = known[0].data.params if known else {}
        values = hyper_parameters(self._settings).items()
        parameters = [Param(name, str(value)) for name, value in values if name not in given]
        for begin in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            client.log_batch(self._run_id, params=parameters[begin : begin + _PARAMETERS_AT_ONCE])
        self._client = client

    def _tags(self, identity: str) -> dict[str, str]:
        versions = self._record.get("versions", {})
        tags = {
            "run": self._run.name,
            "folder": str(self._run.path.absolute()),
            "tag": self._settings.tag,
            "mlflow.note.content": self._settings.note,
            "mlflow.source.git.commit": versions.get("commit"),
        }
        return {_ID: identity} | {name: str(value) for name, value in tags.items() if value}


@contextmanager
def mlflow_log(
    run: RunFolder, settings: TrainSettings, history: Sequence[HistoryRow], record: Mapping[str, Any]
) -> Iterator[MlflowLog | None]:
    """Opens the MLflow run of a run, the earlier one of a continued run; None if the setting `mlflow` is null.

    Args:
        run: the run.
        settings: of the run.
        history: finished epochs.
        record: content of run.json.
    """
    if settings.mlflow is None:
        yield None
        return
    log, status = MlflowLog(settings.mlflow, run, settings, record), "FAILED"
    log.add(history)
    try:
        yield log
        status = "FINISHED"
    except (TrainingStopped, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        log.close(status)


def _stores(address: str) -> tuple[str, str | None]:
    """Tracking address and artifact address: of a folder, an SQLite database in it and a folder beside that.

    The artifact address is None for a server or database, which chooses its own. Newer versions of MLflow refuse their
    own store in files, `file:FOLDER`.
    """
    if re.match(MLFLOW_ADDRESS, address):
        return address, None
    folder = Path(address).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder.as_posix()}/mlflow.db", (folder / "artifacts").as_uri()


def _as_key(name: str) -> str:
    """Name of a metric as MLflow takes it.

    >>> _as_key("region ttbar+jets C2ST/AUC")
    'region ttbar_jets C2ST/AUC'
    """
    return re.sub(r"[^\w\-. /]", "_", name)

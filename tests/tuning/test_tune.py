"""Studies of real trainings: the public function, the page, best.yaml, a signal in a trial, trials that are stopped."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.plotting import DEMO
from cal_ratio_trainer.plotting.pareto import TrialsPlot, trials_drawing
from cal_ratio_trainer.reporting.tuning import TuneResult
from cal_ratio_trainer.training.setup import LoadedData, load_data
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.tuning import tune
from cal_ratio_trainer.tuning.study import EPOCH, open_study, study_folder
from cal_ratio_trainer.tuning.tune import TrialObserver
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, history_row

NO_TIME: dict[str, Any] = {"trials": None, "hours": 1e-9}
"""Budget in which no trial begins."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A main and a control-region training file."""
    main, control = write_training_files(tmp_path_factory.mktemp("data"), 600, 400)
    return {"main_training_file": str(main), "cr_training_file": str(control)}


def tuned(files: dict[str, str], folder: Path, **changes: Any) -> TuneResult:
    """A study of two trials on these files."""
    given: dict[str, Any] = {"study": "first", "trials": 2, "agreement_measure": "ks", "output_path": folder}
    return crt.tune(TuneSettings.make(**{**TINY, "profile": "best", **files, **given, **changes}), progress=False)


def test_trials_are_runs_and_the_recommended_one_has_a_config_and_a_page(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[TrainSettings] = []

    def counted(settings: TrainSettings, *given: Any) -> LoadedData:
        read.append(settings)
        return load_data(settings, *given)

    monkeypatch.setattr(tune, "load_data", counted)
    result = tuned(files, tmp_path, objective="rejection", keep_trials="front")
    rows = result.records()
    assert [row["state"] for row in rows] == ["finished", "finished"]
    assert len(read) == 1
    assert not list((tmp_path / "first" / "00000").glob("*.png"))
    assert rows[0]["learning_rate"] == 0.005
    runs = crt.list_runs(output_path=tmp_path).records()
    assert [run["run"] for run in runs] == [row["run"] for row in rows] == ["first/00000", "first/00001"]
    history = crt.open_run("first/0", tmp_path).history
    assert rows[0]["rejection"] == history[int(rows[0]["epoch"])]["val_rejection_90"]
    best = next(row for row in rows if str(row["trial"]) == repr(result).partition("; trial ")[2][0])
    assert result.best_config is not None
    settings = load_settings(TrainSettings, result.best_config)
    assert (settings.model_name, settings.learning_rate) == ("default", best["learning_rate"])
    page = result.report.read_text("utf-8")
    assert "## Recommended settings" in page
    assert "Trials on the front" in page
    assert result.figures() == ["front"]
    assert result.page.is_file()
    kept = [(tmp_path / row["run"] / "keras").is_dir() for row in rows]
    assert kept == [row["on_front"] for row in rows]


def test_a_study_that_was_stopped_goes_on_bit_for_bit(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = tuned(files, tmp_path / "a", trials=1)
    see = TrialObserver.see

    def stopping(observer: TrialObserver, history: list[dict[str, float]]) -> None:
        see(observer, history)
        if len(history) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrialObserver, "see", stopping)
        with pytest.raises(TrainingStopped, match="cr_trainer tune first --resume"):
            tuned(files, tmp_path / "b", trials=1)
    with pytest.raises(ConfigError, match=r"epochs is 2 in study first and cannot become 3"):
        tuned(files, tmp_path / "b", trials=1, resume=True, epochs=3)
    resumed = tuned(files, tmp_path / "b", trials=1, resume=True)
    assert [row["state"] for row in resumed.records()] == ["killed", "finished"]
    runs = [crt.open_run("first/0", tmp_path / name) for name in ("a", "b")]
    assert runs[0].settings.learning_rate == runs[1].settings.learning_rate == 0.005
    assert str(runs[0].history) == str(runs[1].history)
    first, again = (dict(result.records()[-1], trial=0, seconds=0) for result in (undisturbed, resumed))
    assert first == again


def test_a_trial_is_stopped_where_enough_trials_with_its_schedule_were_clearly_better(
    files: dict[str, str], tmp_path: Path
) -> None:
    search = tmp_path / "search.yaml"
    search.write_text("learning_rate: [0.005, 0.001]\nschedule: [one_cycle, constant]")
    tuned(files, tmp_path, search=search, prune=1, **NO_TIME)
    opened = open_study(study_folder(tmp_path, "first"))
    for schedule in ("one_cycle", "constant"):
        opened.study.enqueue_trial({"learning_rate": 0.001, "schedule": schedule})
    good, bad = (history_row(auc, ks) | {"val_auc_error": 0.01} for auc, ks in ((0.9, 0.5), (0.8, 1.5)))
    reasons = []
    for row in (good, bad, bad):
        with opened.next_trial(None, None) as trial:
            assert trial is not None
            observer = TrialObserver(opened, trial, epochs=2)
            observer.see([row])
            reasons.append(observer.reason)
            assert f"{EPOCH}0" in trial.user_attrs
            opened.study.tell(trial, (0.9, 1.0))
    by_first = "stopped by the study after epoch 0: trial 0 clearly better in both objectives by then"
    assert reasons == ["", by_first, ""]


def test_a_study_in_which_nothing_can_be_trained_leaves_nothing(tmp_path: Path) -> None:
    nowhere = {name: str(tmp_path / "nowhere.parquet") for name in ("main_training_file", "cr_training_file")}
    with pytest.raises(crt.UserError, match=r"nowhere\.parquet"):
        tuned(nowhere, tmp_path / "runs")
    assert not study_folder(tmp_path / "runs", "first").exists()


def test_a_setting_on_the_command_line_is_not_searched(files: dict[str, str], tmp_path: Path) -> None:
    options = {**TINY, **files, **NO_TIME, "learning_rate": 0.002, "output_path": tmp_path}
    result = crt.tune(study="first", agreement_measure="ks", progress=False, **options)
    assert list(result.study.table.plan.search) == ["agreement_strength", "dropout", "schedule"]
    assert result.study.table.plan.settings.learning_rate == 0.002


def test_without_optuna_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    given = ["tune", "first", "--output_path", str(tmp_path)]
    done = CliRunner().invoke(cr_trainer(), given, standalone_mode=False)
    assert str(done.exception) == "cr_trainer tune needs the package optuna: pip install 'cal_ratio_trainer[tune]'"


@pytest.mark.parametrize("is_auc", [True, False])
def test_the_figure_of_the_trials_shows_errors_front_and_recommendation(is_auc: bool) -> None:
    figures = np.array([[0.98, 0.002], [0.97, 0.003], [0.9, 0.01]])
    excess, stopped = np.array([3.0, -0.5, 9.0]), np.array([False, False, True])
    plot = TrialsPlot(figures if is_auc else 20 * figures, excess, stopped, (0, 1), 1, 0, is_auc, "C2ST excess")
    axes = trials_drawing("front", plot).figure(DEMO).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {
        "Finished",
        "Stopped early",
        "Identical distributions ± 1σ",
        "Pareto front",
        "Profile or config",
        "Recommended",
    }

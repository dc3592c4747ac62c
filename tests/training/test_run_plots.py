"""Plots of a training: names, times of drawing, and errors."""

import itertools
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.jets.store import read_scalars
from cal_ratio_trainer.plotting import Drawing, FigureLabels, catalogue, histories
from cal_ratio_trainer.plotting.catalogue import EpochFigure, FinalFigures, epoch_plot_names
from cal_ratio_trainer.plotting.histories import HistoryFigure
from cal_ratio_trainer.plotting.pool import DrawingPool
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training import run_plots
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.signals import TrainingStopped
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.faults.commands import start_command
from tests.plotting.some_drawings import line
from tests.training.manual_plots import EPOCH_PLOTS, FINAL_PLOTS, HISTORIES


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A main and a control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def summary(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> TrainSummary:
    """Training with all plots, with labels of ATLAS data."""
    folder = tmp_path_factory.mktemp("runs")
    return run_training(settings_of(files, folder, tag="first", experiment="ATLAS", luminosity_fb=139))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Drawing, FigureLabels, int]]:
    """Requested plots, which are not drawn, in their order."""
    asked: list[tuple[Drawing, FigureLabels, int]] = []

    def take(
        self: DrawingPool, drawings: Iterable[Drawing], folder: Path, labels: FigureLabels, order: int = 0
    ) -> None:
        asked.extend((drawing, labels, order) for drawing in drawings)

    monkeypatch.setattr(DrawingPool, "submit", take)
    return asked


def settings_of(files: tuple[Path, Path], folder: Path, **changes: Any) -> TrainSettings:
    main, control = files
    small = {"epochs": 2, "num_splits": 4, "sample_fraction": 1.0, "threads": 1, "train_fraction": 0.7}
    return TrainSettings.make(
        main_training_file=str(main), cr_training_file=str(control), output_path=folder, **{**small, **changes}
    )


def run_training(settings: TrainSettings, start: Start | None = None) -> TrainSummary:
    return train(start or Start(settings), lambda text: None, details=lambda figures: "", observer=RunDisplay())


def going_on(settings: TrainSettings, **flags: Any) -> Start:
    return find_start([("defaults", {}), ("command line", flags)], settings, "-1")


def plots_in(run: RunFolder, suffix: str = ".png") -> set[str]:
    return {path.stem for path in run.path.glob(f"*{suffix}")}


def test_a_training_leaves_every_plot_of_the_manual(summary: TrainSummary) -> None:
    plots = plots_in(summary.run)
    of_epochs = {name for epoch in range(2) for name in epoch_plot_names(epoch)}
    assert of_epochs | HISTORIES | FINAL_PLOTS <= plots
    assert {name for name in plots if name[0].isdigit()} == of_epochs
    assert not [name for name in plots if name.endswith("mH0.0")]
    assert not list(summary.run.path.rglob("*.part*"))
    assert {f"001_{name}" for name in EPOCH_PLOTS} <= set(epoch_plot_names(1))


def test_one_entry_in_a_list_adds_a_figure_of_every_epoch_a_history_and_a_final_one(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_epoch = EpochFigure("main_signal_jets", "main", lambda epoch: (float(epoch.number),), line)
    final = FinalFigures("purity_<output>", lambda figures: [("sig", (figures.roc.auc,))], line)
    # In place of the others, which take their time; ordinarily `EPOCH_FIGURES.append(...)` and so on.
    monkeypatch.setattr(catalogue, "EPOCH_FIGURES", [of_epoch])
    monkeypatch.setattr(catalogue, "FINAL_FIGURES", [final])
    history = HistoryFigure("val_loss", "Loss", validation="val_original_lossf")
    monkeypatch.setattr(histories, "HISTORY_FIGURES", [history])
    run = run_training(settings_of(files, tmp_path, plot_processes=1)).run
    # The epochs by AUC and K-S are a picture of the whole history, as the page shows it.
    names = {"000_main_signal_jets", "001_main_signal_jets", "auc_ks", "purity_sig", "val_loss"}
    assert plots_in(run) == names
    assert {path.stem for path in Run(run.path).redraw()} == names


def test_the_record_says_what_the_plots_cost_and_the_runs_tag(summary: TrainSummary) -> None:
    record = json.loads(summary.run.record_file.read_text())
    plots = record["plots"]
    assert plots["drawn"] == len(plots_in(summary.run))
    assert 0 <= plots["epoch_wait_mean_s"] <= plots["epoch_wait_max_s"]
    assert plots["last_epoch_to_last_plot_s"] > 0
    assert plots["not_drawn"] == {} == summary.undrawn
    assert (record["tag"], record["note"]) == ("first", None)
    assert "tag: first" in (summary.run.path / "training_details.txt").read_text()


def test_figures_of_a_demo_never_say_atlas_nor_a_luminosity(
    asked: list[tuple[Drawing, FigureLabels, int]], files: tuple[Path, Path], tmp_path: Path
) -> None:
    run_training(settings_of(files, tmp_path, epochs=1, experiment="ATLAS", luminosity_fb=139))
    (labels,) = {labels for _, labels, _ in asked}
    assert f"{labels.experiment} {labels.qualifiers}" == "demo simulation"
    assert (labels.luminosity_fb, labels.conditions) == (None, "√$s$ = 13 TeV")


def test_a_finished_run_goes_on_under_another_tag_with_pdfs_and_without_plots_of_epochs(
    summary: TrainSummary, files: tuple[Path, Path], tmp_path: Path, asked: list[tuple[Drawing, FigureLabels, int]]
) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run_training(settings)
    asked.clear()
    flags = {"tag": "second", "note": "with PDFs", "plot_format": "pdf", "epoch_plots": False, "energy_tev": 13.6}
    again = run_training(settings, going_on(settings, **flags))
    record = json.loads(again.run.record_file.read_text())
    assert (record["tag"], record["note"], again.epochs) == ("second", "with PDFs", 2)
    assert "tag: second" in again.run.settings_file.read_text()
    assert {(labels.plot_format, labels.energy_tev) for _, labels, _ in asked} == {("pdf", 13.6)}
    assert not [drawing.name for drawing, _, _ in asked if drawing.name.startswith("00")]


def test_pdfs_are_pdfs(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_plots, "final_drawings", lambda figures: [])
    settings = settings_of(files, tmp_path, epochs=1, plot_format="pdf", plot_processes=0, epoch_plots=False)
    run = run_training(settings).run
    assert plots_in(run, ".pdf") == {*HISTORIES, "auc_ks", "val_auc"}
    assert plots_in(run, ".png") == plots_in(run, ".pdf")
    assert all(path.read_bytes().startswith(b"%PDF-") for path in run.path.glob("*.pdf"))


def test_plots_change_nothing_of_the_training(
    summary: TrainSummary, files: tuple[Path, Path], tmp_path: Path, asked: list[tuple[Drawing, FigureLabels, int]]
) -> None:
    # With a share of 1000 everything is refreshed after every epoch.
    with pytest.MonkeyPatch.context() as eager:
        eager.setattr(run_plots, "_SHARE", 1e9)
        often = run_training(settings_of(files, tmp_path)).run
    assert often.history_file.read_text() == summary.run.history_file.read_text()
    orders = [order for drawing, _, order in asked if drawing.name == "sig_predictions"]
    assert orders == [0, 1, 1]


def test_final_plots_are_refreshed_as_often_as_that_costs_little(
    files: tuple[Path, Path], tmp_path: Path, asked: list[tuple[Drawing, FigureLabels, int]]
) -> None:
    run = run_training(settings_of(files, tmp_path, epochs=3)).run
    names = [drawing.name for drawing, _, _ in asked]
    # Three epochs of less than a second each leave no time for an evaluation.
    assert names.count("sig_predictions") == 1
    assert names.count("ks_bib") == 1
    assert run.read_record()["plots"]["refreshes"] == 0
    assert json.loads(run.evaluation_file.read_text())["epoch"] == 2


def test_the_first_final_plots_come_soon_and_later_ones_seldom(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    monkeypatch.setattr(run_plots, "_FIRST_SHARE", 1e9)
    monkeypatch.setattr(run_plots, "_SHARE", 1e-9)
    run = run_training(settings_of(files, tmp_path, epochs=3)).run
    assert run.read_record()["plots"]["refreshes"] == 1


def test_plots_of_epochs_that_a_killed_process_left_out_are_drawn_when_the_run_goes_on(
    files: tuple[Path, Path], tmp_path: Path, asked: list[tuple[Drawing, FigureLabels, int]]
) -> None:
    settings = settings_of(files, tmp_path)
    run = run_training(settings).run
    for name in (*epoch_plot_names(0), *epoch_plot_names(1)[1:]):
        (run.path / f"{name}.png").touch()
    asked.clear()
    run_training(settings, going_on(settings, epochs=1))
    assert [drawing.name for drawing, _, order in asked if order == 1] == epoch_plot_names(1)
    assert not [drawing.name for drawing, _, _ in asked if drawing.name.startswith("000")]


def test_damaged_histograms_of_an_earlier_epoch_are_told_and_the_run_goes_on(
    files: tuple[Path, Path],
    tmp_path: Path,
    asked: list[tuple[Drawing, FigureLabels, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run = run_training(settings).run
    run.histograms_file(0).write_text('{"main": ')
    assert run_training(settings, going_on(settings)).epochs == 2
    assert "the plots of epoch 0 cannot be drawn" in caplog.text


def test_plots_that_cannot_be_drawn_are_named_and_the_training_is_finished(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(figures: TestFigures) -> list[Drawing]:
        return [Drawing("no_space", _no_space, ())]

    monkeypatch.setattr(run_plots, "final_drawings", fail)
    settings = settings_of(files, tmp_path, epochs=1, epoch_plots=False, plot_processes=0)
    summary = run_training(settings)
    record = json.loads(summary.run.record_file.read_text())
    assert record["status"] == "finished"
    assert record["plots"]["not_drawn"] == summary.undrawn == {"no_space": "[Errno 28] no space left"}
    assert "no_space cannot be drawn" in caplog.text


def _no_space(axes: object) -> None:
    raise OSError(28, "no space left")


def test_all_plots_of_finished_epochs_are_there_when_sigterm_ends_a_run(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = settings_of(files, tmp_path / "runs", epochs=1000)
    (tmp_path / "settings.yaml").write_text(settings.as_yaml())
    process = start_command(["train", "--config", "settings.yaml"], tmp_path)
    run = Run(tmp_path / "runs" / "default" / "00000")
    while not run.histograms_file(1).exists():
        assert process.is_alive(), "the training ended before it could be stopped"
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(120)
    assert process.exitcode == 75
    record = run.read_record()
    done = range(record["finished_epochs"])
    assert {name for epoch in done for name in epoch_plot_names(epoch)} | HISTORIES | FINAL_PLOTS <= plots_in(run)
    assert record["plots"]["not_drawn"] == {}
    assert record["plots"]["last_epoch_to_last_plot_s"] > 0


def test_a_run_stopped_within_an_epoch_leaves_test_jets_and_final_plots_of_the_epoch_before(
    files: tuple[Path, Path],
    tmp_path: Path,
    asked: list[tuple[Drawing, FigureLabels, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run_training(settings_of(files, tmp_path / "whole", epochs=1)).run
    asked.clear()
    _stop_in_step(6, monkeypatch)
    with pytest.raises(TrainingStopped, match="after 2 of 4 steps"):
        run_training(settings_of(files, tmp_path / "stopped", epochs=3))
    stopped = Run(tmp_path / "stopped" / "default" / "00000")
    assert json.loads(stopped.evaluation_file.read_text()) == json.loads(whole.evaluation_file.read_text())
    samples = [read_scalars(run.path / "test_sample.parquet", ["jet_nn_sig"]) for run in (whole, stopped)]
    assert samples[0].equals(samples[1])
    assert stopped.read_record()["test"] == whole.read_record()["test"]
    assert [order for drawing, _, order in asked if drawing.name == "sig_predictions"] == [0]


def test_a_run_stopped_in_its_first_epoch_has_nothing_to_show(
    files: tuple[Path, Path], tmp_path: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_in_step(2, monkeypatch)
    with pytest.raises(TrainingStopped, match="after 2 of 4 steps"):
        run_training(settings_of(files, tmp_path))
    assert not (tmp_path / "default" / "00000" / "evaluation.json").exists()
    assert asked == []


def _stop_in_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends SIGTERM during this step of the training, counted from 1."""
    step, done = TrainingStep.__call__, itertools.count(1)

    def stopped(self: TrainingStep, *arguments: Any) -> None:
        step(self, *arguments)
        if next(done) == number:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingStep, "__call__", stopped)

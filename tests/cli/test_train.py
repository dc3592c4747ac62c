"""Output of `cr_trainer train` at its end."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from cal_ratio_trainer.cli.training import train
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.signals import EXIT_TERMINATED, StopRequest, TrainingStopped
from cal_ratio_trainer.training.train_networks import NetworkSetSummary

SOME_FIGURES = cast(TestFigures, "some")


def returned(monkeypatch: pytest.MonkeyPatch, summary: TrainSummary | NetworkSetSummary) -> None:
    """Makes the library return a summary without training."""
    monkeypatch.setattr("cal_ratio_trainer.api.training.train_with", lambda *given: summary)


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> TrainSummary:
    """The summary of a training that is not run, which the library returns."""
    stages = ("data_s", "compiling_s", "steps_s", "validation_s", "files_s", "end_s")
    times = {**dict.fromkeys(("main_jets_per_second", *stages), 1.0), "shares": {"data": 0.25, "steps": 0.75}}
    folder = Run(Path("runs/[red]/00000"))
    summary = TrainSummary(folder, 1, SOME_FIGURES, {}, {"timings": times}, {}, StopRequest())
    returned(monkeypatch, summary)
    monkeypatch.setattr(
        "cal_ratio_trainer.reporting.training_details.training_summary", lambda run, figures: f"ten lines on {run.path}"
    )
    return summary


@pytest.mark.usefixtures("summary")
def test_the_folder_of_the_run_is_said_letter_by_letter(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.run(TrainSettings.make(), None, []) == 0
    said = capsys.readouterr()
    assert said.out == "ten lines on runs/[red]/00000\n"
    assert said.err == ""


def test_plots_that_could_not_be_drawn_are_said_and_the_exit_status_tells(
    summary: TrainSummary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    returned(monkeypatch, replace(summary, undrawn={"ks_bib": "no space left", "ks_sig": "no space left"}))
    assert train.run(TrainSettings.make(), None, []) == 1
    assert "2 plots could not be drawn: ks_bib: no space left" in capsys.readouterr().err


def test_a_stopped_training_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise TrainingStopped("go on with --continue", EXIT_TERMINATED)

    monkeypatch.setattr("cal_ratio_trainer.api.training.train_with", stopped)
    assert train.run(TrainSettings.make(), None, []) == EXIT_TERMINATED
    assert "go on with --continue" in capsys.readouterr().err


def test_of_a_fold_set_is_said_what_it_lacks_and_what_all_of_it_gives(
    summary: TrainSummary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = NetworkSetSummary(Run(Path("runs/m/00000")), (summary,), FoldRule(3), None, (0, 2), {})
    returned(monkeypatch, done)
    assert train.run(TrainSettings.make(folds=3, fold=1), None, []) == 0
    said = capsys.readouterr()
    assert said.out == "ten lines on runs/[red]/00000\n"
    assert "m/00000 is not complete: fold 0, 2 not trained to the end yet" in said.err
    undrawn = {"plots of m/00000": "no space left"}
    returned(monkeypatch, replace(done, figures=SOME_FIGURES, lacking=(), undrawn=undrawn))
    assert train.run(TrainSettings.make(folds=3), None, []) == 1
    said = capsys.readouterr()
    assert said.out == "ten lines on runs/m/00000\n"

"""Output of `cr_trainer train` at its end."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cal_ratio_trainer.cli.train import run
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.training.signals import EXIT_TERMINATED, TrainingStopped


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Result of a training that does not run."""
    stages = ("data_s", "compiling_s", "steps_s", "validation_s", "files_s", "end_s")
    times = {**dict.fromkeys(("main_jets_per_second", *stages), 1.0), "shares": {"data": 0.25, "steps": 0.75}}
    summary = SimpleNamespace(
        run=SimpleNamespace(path=Path("runs/[red]/00000")),
        epochs=1,
        figures=None,
        best={},
        record={"timings": times},
        undrawn={},
    )
    monkeypatch.setattr("cal_ratio_trainer.training.train.train", lambda *given, **more: summary)
    monkeypatch.setattr(
        "cal_ratio_trainer.reporting.training_details.training_details_text", lambda figures: "the figures"
    )
    return summary


@pytest.mark.usefixtures("summary")
def test_the_folder_of_the_run_is_said_letter_by_letter(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(TrainSettings.make(), None, []) == 0
    said = capsys.readouterr()
    assert said.out == "the figures\n"
    assert "figures: runs/[red]/00000" in said.err
    assert "best epoch: none" in said.err
    assert "seconds in data 1.0 (25%), steps 1.0 (75%)\n" in said.err


def test_plots_that_could_not_be_drawn_are_said_and_the_exit_status_tells(
    summary: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    summary.undrawn = {"ks_bib": "no space left", "ks_sig": "no space left"}
    assert run(TrainSettings.make(), None, []) == 1
    assert "2 plots could not be drawn: ks_bib: no space left" in capsys.readouterr().err


def test_a_stopped_training_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise TrainingStopped("go on with --continue", EXIT_TERMINATED)

    monkeypatch.setattr("cal_ratio_trainer.training.train.train", stopped)
    assert run(TrainSettings.make(), None, []) == EXIT_TERMINATED
    assert "go on with --continue" in capsys.readouterr().err


def test_of_a_fold_set_is_said_what_it_lacks_and_what_all_of_it_gives(
    summary: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = SimpleNamespace(
        run=SimpleNamespace(name="m/00000", path=Path("runs/m/00000")),
        trained=(summary,),
        figures=None,
        lacking=(0, 2),
        undrawn={},
    )
    monkeypatch.setattr("cal_ratio_trainer.training.train_folds.train_folds", lambda *given, **more: done)
    assert run(TrainSettings.make(folds=3, fold=1), None, []) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "m/00000 is not complete: fold 0, 2 not trained to the end yet" in said.err
    done.figures, done.lacking, done.undrawn = "some", (), {"plots of m/00000": "no space left"}
    assert run(TrainSettings.make(folds=3), None, []) == 1
    said = capsys.readouterr()
    assert said.out == "the figures\n"
    assert "runs/m/00000" in said.err

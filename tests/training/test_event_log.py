"""Content of the TensorBoard files of a run."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.training.event_log import FOLDER, event_log

SETTINGS = TrainSettings.make()


def scalars(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every tag, as TensorBoard reads them."""
    events = EventAccumulator(str(run.path / FOLDER)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def row(epoch: int) -> dict[str, float]:
    return {"original_lossf": 1 / (1 + epoch), "ks_bib_hist": math.nan if epoch == 1 else 0.5, "val_auc": epoch / 10}


def test_every_value_stands_under_its_group_and_nan_is_a_gap(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with event_log(run, SETTINGS, []) as log:
        assert log is not None
        for epoch in range(3):
            log.add(epoch, row(epoch))
    shown = scalars(run)
    assert set(shown) == {"loss/original_lossf", "K-S/ks_bib_hist", "accuracy/val_auc"}
    assert [step for step, _ in shown["loss/original_lossf"]] == [0, 1, 2]
    assert [value for _, value in shown["loss/original_lossf"]] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [step for step, _ in shown["K-S/ks_bib_hist"]] == [0, 2]


def test_a_run_that_goes_on_shows_every_epoch_once_even_after_a_kill(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with event_log(run, SETTINGS, []) as log:
        assert log is not None
        for epoch in range(3):
            log.add(epoch, row(epoch))
    # The process was killed before the checkpoint of epoch 2, which is trained again.
    with event_log(run, SETTINGS, [row(0), row(1)]) as log:
        assert log is not None
        for epoch in (2, 3):
            log.add(epoch, {"original_lossf": 7.0 + epoch})
    shown = scalars(run)["loss/original_lossf"]
    assert shown == [(0, 1.0), (1, 0.5), (2, 9.0), (3, 10.0)]


def test_a_run_that_had_none_so_far_gets_its_whole_history(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with event_log(run, SETTINGS, [row(0), row(1)]):
        pass
    assert [step for step, _ in scalars(run)["accuracy/val_auc"]] == [0, 1]


def test_it_can_be_switched_off_and_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    with event_log(run, SETTINGS.model_copy(update={"tensorboard": False}), []) as log:
        assert log is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with event_log(run, SETTINGS, []) as log:
        assert log is None
    assert list(tmp_path.iterdir()) == []


def test_an_installation_that_does_not_work_is_told_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with event_log(RunDirectory(tmp_path), SETTINGS, []) as log:
        assert log is None
    assert "nothing is written for TensorBoard" in caplog.text


def test_it_brings_no_tensorflow_and_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, cal_ratio_trainer.training.event_log; "
        "sys.exit('tensorboard' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

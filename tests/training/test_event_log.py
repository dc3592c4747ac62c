"""Content of the TensorBoard files of a run."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.plotting.catalogue import epoch_plot_names
from cal_ratio_trainer.runs.figure_data import read_evaluation
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.event_log import FOLDER, event_log
from cal_ratio_trainer.training.monitoring import HYPER_PARAMETERS
from cal_ratio_trainer.training.run_display import RunDisplay
from tests.factories.files import white_png, write_training_files
from tests.factories.runs import TINY, train_small

SETTINGS = TrainSettings.make(epochs=4)


def events_of(run: Run) -> EventAccumulator:
    """The events of a run as TensorBoard reads them."""
    return EventAccumulator(str(run.path / FOLDER), size_guidance={"images": 0, "scalars": 0}).Reload()


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every tag."""
    events = events_of(run)
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def epochs_with(run: Run, image: str) -> list[int]:
    """Epochs of which the events have an image."""
    return [event.step for event in events_of(run).Images(image)]


def row(epoch: int) -> dict[str, float]:
    return {"original_lossf": 1 / (1 + epoch), "ks_bib_hist": math.nan if epoch == 1 else 0.5, "val_auc": epoch / 10}


def draw_epoch(run: Run, epoch: int) -> None:
    """Writes the figures of an epoch as if they were drawn."""
    for name in epoch_plot_names(epoch):
        (run.path / f"{name}.png").write_bytes(white_png(3, 2 + epoch))


def test_every_value_stands_under_its_group_and_nan_is_a_gap(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with event_log(run, SETTINGS, []) as log:
        assert log is not None
        for epochs in (1, 2, 3):
            log.add([row(epoch) for epoch in range(epochs)])
    shown = scalars(run)
    assert set(shown) == {"loss/training", "agreement/K-S BIB output", "AUC/validation"}
    assert [step for step, _ in shown["loss/training"]] == [0, 1, 2]
    assert [value for _, value in shown["loss/training"]] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [step for step, _ in shown["agreement/K-S BIB output"]] == [0, 2]


def test_a_run_that_goes_on_shows_every_epoch_once_even_after_a_kill(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with event_log(run, SETTINGS, []) as log:
        assert log is not None
        log.add([row(0), row(1), row(2)])
    # The process was killed before the checkpoint of epoch 2, which is trained again.
    history = [row(0), row(1)]
    with event_log(run, SETTINGS, history) as log:
        assert log is not None
        log.add([*history, {"original_lossf": 9.0}, {"original_lossf": 10.0}])
    assert scalars(run)["loss/training"] == [(0, 1.0), (1, 0.5), (2, 9.0), (3, 10.0)]
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_a_run_that_had_none_so_far_gets_its_whole_history(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with event_log(run, SETTINGS, [row(0), row(1)]):
        pass
    assert [step for step, _ in scalars(run)["AUC/validation"]] == [0, 1]


def test_figures_are_images_in_the_order_of_epochs_although_the_newest_is_drawn_first(tmp_path: Path) -> None:
    run, history = Run(tmp_path), [row(epoch) for epoch in range(4)]
    with event_log(run, SETTINGS, []) as log:
        assert log is not None
        draw_epoch(run, 1)
        log.add(history[:2])
        draw_epoch(run, 0)
        log.add(history[:3])
        assert epochs_with(run, "main jets/signal output linear") == [0, 1]
        # Epoch 2 is drawn after the last one has ended; the process that draws epoch 3 dies.
        draw_epoch(run, 2)
        log.add(history)
    assert epochs_with(run, "control region low pT/QCD output") == [0, 1, 2]
    assert len(events_of(run).Tags()["images"]) == 18
    image = events_of(run).Images("main jets/BIB output")[2]
    assert image.encoded_image_string == (tmp_path / "002_main_bib_predictions.png").read_bytes()
    # Figures of a run that goes on are not lost with the earlier file.
    with event_log(run, SETTINGS, history):
        pass
    assert epochs_with(run, "main jets/BIB output") == [0, 1, 2]


def test_of_a_long_training_some_epochs_have_images(tmp_path: Path) -> None:
    run, settings = Run(tmp_path), TrainSettings.make(epochs=50)
    for epoch in range(7):
        draw_epoch(run, epoch)
    with event_log(run, settings, [row(epoch) for epoch in range(7)]):
        pass
    assert epochs_with(run, "main jets/BIB output") == [0, 3, 6]


def test_runs_can_be_compared_by_settings_and_figures_of_merit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawing would take most of the time.
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    files = write_training_files(tmp_path)
    run = train_small(
        files, tmp_path / "runs", RunDisplay(), **{**TINY, "epochs": 1, "tensorboard": True, "dropout": 0.15}
    )
    content = events_of(run).summary_metadata
    session = metadata.parse_session_start_info_plugin_data(
        content[metadata.SESSION_START_INFO_TAG].plugin_data.content
    )
    assert set(session.hparams) <= set(HYPER_PARAMETERS)
    assert session.hparams["dropout"].number_value == 0.15
    assert session.hparams["agreement"].string_value == "adversary"
    assert session.group_name == run.name
    shown = scalars(run)
    assert dict(shown["test/AUC"])[0] == pytest.approx(read_evaluation(run.evaluation_file)[1].rocs[0].auc)
    assert not [tag for tag in shown if tag.startswith("other/")]


def test_it_can_be_switched_off_and_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
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
    with event_log(Run(tmp_path), SETTINGS, []) as log:
        assert log is None
    assert "nothing is written for TensorBoard" in caplog.text


def test_it_brings_no_tensorflow_and_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, cal_ratio_trainer.training.event_log; "
        "sys.exit('tensorboard' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

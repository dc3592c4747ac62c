"""Trainings from settings to a finished run: files, continuation, interruption, refusals."""

import functools
import importlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.loading import load_settings, settings_from
from cal_ratio_trainer.config.profiles import resolve_layers
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.files.leases import lease_file, leased
from cal_ratio_trainer.files.this_process import ProcessName
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.finish import TrainSummary
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.jets import synthetic_jets
from tests.faults.commands import start_command

HISTORY = "ks_qcd_hist ks_sig_hist ks_bib_hist adv_loss adv_acc val_adv_loss val_adv_acc original_lossf original_acc"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A main and a control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"))


def settings_of(files: tuple[Path, Path], folder: Path, **changes: Any) -> TrainSettings:
    main, control = files
    small = {"epochs": 2, "num_splits": 4, "sample_fraction": 1.0, "threads": 1, "train_fraction": 0.7}
    return TrainSettings.make(
        main_training_file=str(main), cr_training_file=str(control), output_path=folder, **{**small, **changes}
    )


def run_training(settings: TrainSettings, start: Start | None = None) -> TrainSummary:
    return train(start or Start(settings), say=lambda text: None, details=lambda figures: f"AUC {figures.roc.auc}")


def weights_of(run: Path) -> dict[str, np.ndarray]:
    return read_own_network(run / "keras" / "final_model.keras").weights


@pytest.mark.usefixtures("without_figures")
def test_a_training_leaves_the_files_of_the_manual(files: tuple[Path, Path], tmp_path: Path) -> None:
    summary = run_training(settings_of(files, tmp_path))
    run = summary.run.path
    assert run == tmp_path / "default" / "00000"
    names = {path.name for path in run.rglob("*") if path.is_file()}
    assert {"training_params.yaml", "run.json", "training_details.txt", "history.json", "test_sample.parquet"} <= names
    assert {"final_model.keras", "checkpoint.safetensors", "history_checkpoint.json"} <= names
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["finished_epochs"] == 2
    assert record["data"]["main"]["sha256"]
    assert record["timings"]["main_jets_per_second"] > 0
    assert list(record["timings"]["shares"]) == ["data", "compiling", "steps", "validation", "files", "end"]
    assert sum(record["timings"]["shares"].values()) == pytest.approx(1)
    history = json.loads((run / "history.json").read_text())
    assert [row["epoch"] for row in history] == [0, 1]
    assert list(history[0])[1:10] == HISTORY.split()
    details = (run / "training_details.txt").read_text()
    told = ("AUC", "learning_rate: 0.0008", f"torch: {record['versions']['torch']}", record["data"]["main"]["sha256"])
    assert [words for words in told if words not in details] == []


@pytest.mark.usefixtures("without_figures")
def test_the_test_sample_holds_the_test_jets_with_their_scores(files: tuple[Path, Path], tmp_path: Path) -> None:
    run = run_training(settings_of(files, tmp_path)).run.path
    jets = read_jets(run / "test_sample.parquet")
    total = sum(jets[f"jet_nn_{name}"] for name in ("qcd", "sig", "bib"))
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert 0.05 < len(jets) / len(read_jets(files[0])) < 0.3
    assert {"weight", "evaluation_weight", "eventNumber"} <= set(jets.scalars.column_names)


@pytest.mark.usefixtures("without_figures")
def test_the_stored_settings_repeat_the_run(files: tuple[Path, Path], tmp_path: Path) -> None:

    first = run_training(settings_of(files, tmp_path)).run
    second = run_training(load_settings(TrainSettings, first.settings_file)).run
    assert second.number == first.number + 1
    assert all(np.array_equal(weights_of(first.path)[name], w) for name, w in weights_of(second.path).items())


@pytest.mark.usefixtures("without_figures")
def test_a_finished_run_gets_more_epochs_and_equals_one_that_had_them_from_the_start(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = run_training(settings_of(files, tmp_path / "whole", epochs=4)).run
    settings = settings_of(files, tmp_path / "parts", epochs=2)
    run_training(settings)
    start = find_start([("defaults", {}), ("command line", {"epochs": 2, **_place(settings)})], settings, "-1")
    parts = run_training(settings, start).run
    assert parts.number == 0
    assert json.loads(whole.history_file.read_text()) == json.loads(parts.history_file.read_text())
    expected = weights_of(whole.path)
    assert all(np.array_equal(expected[name], weight) for name, weight in weights_of(parts.path).items())


@pytest.mark.usefixtures("without_figures")
def test_a_killed_run_goes_on_as_if_nothing_had_happened(files: tuple[Path, Path], tmp_path: Path) -> None:
    whole = run_training(settings_of(files, tmp_path / "whole", epochs=4)).run
    settings = settings_of(files, tmp_path / "killed", epochs=4, epoch_plots=False)
    _kill_in_third_epoch(settings, signal.SIGKILL)
    killed = tmp_path / "killed" / "default" / "00000"
    assert len(json.loads((killed / "history.json").read_text())) < 4
    start = find_start([("defaults", {}), ("command line", _place(settings))], settings, "0")
    continued = run_training(settings, start).run
    assert json.loads(whole.history_file.read_text()) == json.loads(continued.history_file.read_text())
    expected = weights_of(whole.path)
    assert all(np.array_equal(expected[name], weight) for name, weight in weights_of(continued.path).items())


@pytest.mark.usefixtures("without_figures")
def test_sigterm_ends_in_the_middle_of_an_epoch_with_a_checkpoint_that_goes_on_exactly(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = run_training(settings_of(files, tmp_path / "whole", epochs=4)).run
    settings = settings_of(files, tmp_path / "stopped", epochs=4, epoch_plots=False)
    status = _kill_in_third_epoch(settings, signal.SIGTERM)
    assert status == 75
    stopped = tmp_path / "stopped" / "default" / "00000"
    assert json.loads((stopped / "run.json").read_text())["status"] == "interrupted"
    start = find_start([("defaults", {}), ("command line", _place(settings))], settings, "auto")
    continued = run_training(settings, start).run
    assert continued.path == stopped
    assert json.loads(whole.history_file.read_text()) == json.loads(continued.history_file.read_text())


@pytest.mark.usefixtures("without_figures")
def test_auto_starts_a_run_where_all_are_finished(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run_training(settings)
    assert find_start([("defaults", {}), ("command line", {})], settings, "auto").run is None


@pytest.mark.usefixtures("without_figures")
def test_a_run_that_was_stopped_after_its_last_epoch_is_finished_and_gets_no_more(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError("no space left")

    settings = settings_of(files, tmp_path, epochs=2)
    with monkeypatch.context() as full_disk:
        full_disk.setattr("cal_ratio_trainer.training.finish.write_test_sample", no_space)
        with pytest.raises(OSError, match="no space left"):
            run_training(settings)
    run = tmp_path / "default" / "00000"
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["reason"], record["finished_epochs"]) == ("failed", "no space left", 2)
    start = find_start([("defaults", {}), ("command line", {"epochs": 7})], settings, "auto")
    assert "gets its planned 2 epochs" in caplog.text
    assert run_training(settings, start).epochs == 2
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


@pytest.mark.usefixtures("without_figures")
def test_a_run_on_files_goes_on_without_the_profile_of_the_demo(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(files, tmp_path, epochs=1, sample_fraction=0.9)
    run_training(settings)
    layers, _ = resolve_layers([("defaults", TrainSettings.defaults()), ("command line", _place(settings))])
    start = find_start(layers, settings_from(TrainSettings, layers), "-1")
    assert (start.settings.sample_fraction, start.epochs_in_all(1)) == (0.9, 2)


@pytest.mark.usefixtures("without_figures")
def test_a_file_that_changed_since_the_run_began_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_training_files(tmp_path)
    settings = settings_of(files, tmp_path, epochs=1)
    run_training(settings)
    write_training_files(tmp_path, seed=8)
    start = find_start([("defaults", {}), ("command line", {})], settings, "-1")
    assert run_training(settings, start).epochs == 2
    assert f"{files[0]} has changed since the run began" in caplog.text


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_run_that_lost_its_checkpoint_is_not_trained_anew_over_its_results(
    files: tuple[Path, Path], tmp_path: Path, status: str
) -> None:
    settings = settings_of(files, tmp_path, epochs=2)
    run = run_training(settings).run
    run.write_record(run.read_record() | {"status": status})
    run.checkpoint_file.unlink()
    with pytest.raises(RunError, match=r"has lost checkpoint\.safetensors"):
        find_start([("defaults", {}), ("command line", {})], settings, "0")


@pytest.mark.usefixtures("without_figures")
def test_another_machine_or_pytorch_is_told(
    files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run = run_training(settings).run
    find_start([("defaults", {}), ("command line", {})], settings, "0")
    assert caplog.text == ""
    record = run.read_record()
    other = {"machine": {**record["machine"], "processor": "Z80"}, "versions": {"torch": "1.0"}}
    run.write_record(record | other)
    find_start([("defaults", {}), ("command line", {})], settings, "0")
    assert "the run's processor was Z80 so far" in caplog.text
    assert "the run's torch was 1.0 so far" in caplog.text


@pytest.mark.usefixtures("without_figures")
def test_auto_leaves_a_run_alone_that_another_process_trains(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run = run_training(settings).run
    run.write_record(run.read_record() | {"status": "running"})
    with run.lock():
        assert find_start([("defaults", {}), ("command line", {})], settings, "auto").run is None
        with pytest.raises(RunError, match="is being trained by another process"):
            find_start([("defaults", {}), ("command line", {})], settings, "0")
    assert find_start([("defaults", {}), ("command line", {})], settings, "auto").run == Run(run.path)
    # One that was killed on another machine a moment ago: no new run is begun.
    monkeypatch.setattr("cal_ratio_trainer.runs.folder.leased", functools.partial(leased, timeout=1))
    elsewhere = ProcessName("elsewhere", "another machine", 1, "1").as_json()
    lease_file(run.record_file).write_text(json.dumps({"id": "0123", **elsewhere, "stale_after_s": 1}))
    assert run.is_in_use
    assert find_start([("defaults", {}), ("command line", {})], settings, "auto").run == Run(run.path)


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("at", ["loop.evaluate_epoch", "finish.write_test_sample", "finish.best_epochs"])
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_run_whose_folder_is_removed_while_it_trains_ends_with_a_sentence(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, replaced: bool
) -> None:
    run, target = tmp_path / "default" / "00000", f"cal_ratio_trainer.training.{at}"
    module, _, name = target.rpartition(".")
    work = getattr(importlib.import_module(module), name)

    def remove_and_work(*given: Any) -> Any:
        shutil.rmtree(tmp_path / "default")
        if replaced:
            run.mkdir(parents=True)
            (run / "run.json").write_text('{"id": "of another run"}')
        return work(*given)

    monkeypatch.setattr(target, remove_and_work)
    with pytest.raises(RunError, match=r"run default/00000: its folder .* was removed, moved or replaced"):
        run_training(settings_of(files, tmp_path))
    assert not (run / "keras").exists()
    assert (run / "run.json").exists() == replaced


def test_a_folder_of_the_earlier_program_is_not_gone_on_with(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(files, tmp_path)
    run = Run.make(tmp_path, "default")
    run.settings_file.write_text("lr_values: 0.0008\n")
    with pytest.raises(RunError, match=r"has no run\.json"):
        find_start([("defaults", {}), ("command line", {})], settings, "0")


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("at", ["files.leases.create", "runs.folder.write_text"])
def test_a_start_that_cannot_write_leaves_no_folder(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(f"cal_ratio_trainer.{at}", no_space)
    with pytest.raises(OSError, match="no space left"):
        run_training(settings_of(files, tmp_path))
    assert not (tmp_path / "default").exists()


@pytest.mark.usefixtures("without_figures")
def test_the_weights_of_an_epoch_stay_when_the_checkpoint_after_it_cannot_be_written(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError("no space left")

    settings = settings_of(files, tmp_path)
    run = tmp_path / "default" / "00000"
    with monkeypatch.context() as patched:
        patched.setattr("cal_ratio_trainer.training.loop.save_checkpoint", no_space)
        with pytest.raises(OSError, match="no space left"):
            run_training(settings)
        _remains_of_a_killed_process(run)
        start = find_start([("defaults", {}), ("command line", {})], settings, "auto")
        with pytest.raises(OSError, match="no space left"):
            run_training(settings, start)
    assert weights_of(run)
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["reason"], record["finished_epochs"]) == ("failed", "no space left", 0)
    assert not list(run.rglob("*.part*"))
    assert run_training(settings, start).epochs == 2


def _remains_of_a_killed_process(run: Path) -> None:
    (run / "histograms" / ".001.123-abc.part.json").write_text("{")
    (run / "keras" / ".final_model.123-abc.part.keras").write_text("PK")


@pytest.mark.usefixtures("without_figures")
def test_a_continued_run_cannot_become_another_training(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run_training(settings)
    layers = [("defaults", {}), ("command line", {"learning_rate": 0.1, "seed": 9})]
    with pytest.raises(ConfigError, match=r"learning_rate is 0\.0008") as error:
        find_start(layers, settings, "0")
    assert len(error.value.mistakes) == 2


@pytest.mark.usefixtures("without_figures")
def test_a_run_that_is_not_there_is_named_with_those_that_are(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(files, tmp_path, epochs=1)
    run_training(settings)
    with pytest.raises(RunError, match=r"no run 3 .* its runs: 0"):
        find_start([("defaults", {}), ("command line", {})], settings, "3")
    with pytest.raises(ConfigError, match="newest"):
        find_start([("defaults", {}), ("command line", {})], settings, "last")


@pytest.mark.usefixtures("without_figures")
def test_two_starts_get_different_numbers(tmp_path: Path) -> None:
    numbers = [Run.make(tmp_path, "model").number for _ in range(3)]
    assert numbers == [0, 1, 2]


@pytest.mark.usefixtures("without_figures")
def test_a_run_that_fails_before_its_first_epoch_leaves_no_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_splits"):
        run_training(settings_of(files, tmp_path, num_splits=100_000))
    with pytest.raises(ConfigError, match="batch_size 1 cuts an epoch into too many pieces: num_splits is"):
        run_training(settings_of(files, tmp_path, num_splits=None, batch_size=1))
    assert not (tmp_path / "default").exists()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    "changes",
    [
        {"adversary_weight": 0.0},
        {"include_high_mass": False},
        {"include_low_mass": False},
        {"mH_parametrization": True},
        {"mH_parametrization": True, "mS_parametrization": True},
        {"num_splits": None, "batch_size": 200},
        {"lstm_layers": 2, "cluster_filters": [12, 8], "hidden_layer_fraction": 0.1},
        {"loss_weights": "balanced"},
        {"loss_weights": "none", "split": "row", "reshuffle": False, "keep_weights": "all"},
        {"dropout": 0.0},
    ],
    ids=lambda changes: ", ".join(f"{name}={value}" for name, value in changes.items()),
)
def test_every_way_to_train_trains(files: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any]) -> None:
    summary = run_training(settings_of(files, tmp_path, epochs=1, **changes))
    assert np.isfinite(summary.figures.roc.auc)


@pytest.mark.usefixtures("without_figures")
def test_files_that_cannot_be_trained_on_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    main, control = files
    labels = np.random.default_rng(1).integers(0, 3, 200)
    jets = synthetic_jets(labels, 1)
    converted = tmp_path / "converted.parquet"
    write_jets(converted, jets, JetMetadata(stage="converted"))
    unweighted, no_signal = tmp_path / "unweighted.parquet", tmp_path / "no_signal.parquet"
    mislabelled, few = tmp_path / "mislabelled.parquet", tmp_path / "few.parquet"
    write_jets(few, jets.slice(0, 8), JetMetadata(stage="built", kind="main", simulation="demo"))
    write_jets(mislabelled, jets.with_columns({"label": labels + 5}), JetMetadata(stage="built", kind="main"))
    write_jets(unweighted, jets.without_columns(["mcEventWeight"]), JetMetadata(stage="built", kind="main"))
    write_jets(no_signal, jets.where(labels != 1), JetMetadata(stage="built", kind="main"))
    for file, kind, words in (
        (converted, InputFileError, "cr_trainer build"),
        (control, InputFileError, "was given as the main one"),
        (unweighted, MissingColumn, "mcEventWeight"),
        (no_signal, InputFileError, "no SIGNAL"),
        (few, InputFileError, "too few jets: of the 8 in use none is left to"),
        (mislabelled, InputFileError, r"column label has label 5 in \d+ rows, .*; labels are 0 \(QCD\)"),
        (tmp_path / "nothing.parquet", InputFileError, "no such file"),
    ):
        with pytest.raises(kind, match=words):
            run_training(settings_of((file, control), tmp_path / "runs"))
    with pytest.raises(InputFileError, match="was given as the control one"):
        run_training(settings_of((main, main), tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def _place(settings: TrainSettings) -> dict[str, Any]:
    return {"output_path": str(settings.output_path)}


def _kill_in_third_epoch(settings: TrainSettings, number: signal.Signals) -> int:
    """Trains in a separate process and sends it a signal after two epochs; returns its exit status."""
    folder = settings.output_path
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text(settings.as_yaml())
    process = start_command(["train", "--config", "settings.yaml"], folder, figures=False)
    while not (folder / "default" / "00000" / "histograms" / "001.json").exists():
        assert process.is_alive(), "the training ended before it could be killed"
        time.sleep(0.01)
    time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize("given", ["main_training_file", "cr_training_file"])
def test_the_demo_does_not_take_the_place_of_a_file_that_is_not_given(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(
        "cal_ratio_trainer.simulation.demo_data.demo_training_files", lambda _: pytest.fail("it was made")
    )
    settings = TrainSettings.make(**{given: str(files[0])}, output_path=tmp_path / "runs")
    with pytest.raises(ConfigError, match=rf"{given} is {files[0]}, and .* is the demo.* give both files"):
        run_training(settings)
    assert not (tmp_path / "runs").exists()

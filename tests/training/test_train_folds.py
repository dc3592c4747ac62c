"""Fold sets from settings to a run of several networks: jets, continuation, and sharing between jobs."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cal_ratio_trainer.datasets.splits import Part, split_jets
from cal_ratio_trainer.datasets.used_events import read_used_events
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import Jets, Label, Ragged
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.runs.finding import find_network, find_networks, named_run, network_file
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.checkpoint import checkpoint_progress
from cal_ratio_trainer.training.finish import write_test_sample
from cal_ratio_trainer.training.loop import write_epoch
from cal_ratio_trainer.training.network_set import NetworkSet
from cal_ratio_trainer.training.setup import restored_threads
from cal_ratio_trainer.training.signals import EXIT_TERMINATED, TrainingStopped
from cal_ratio_trainer.training.train_networks import NetworkSetSummary, set_work
from tests.factories.files import write_training_files
from tests.factories.runs import are_equal, set_of, set_settings, train_set

Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A main and a control-region training file."""
    return write_training_files(tmp_path_factory.mktemp("data"), 600, 400)


@pytest.fixture(scope="module")
def trained(files: Files, tmp_path_factory: pytest.TempPathFactory) -> NetworkSetSummary:
    """Set of two networks, trained without interruption; do not change it."""
    return train_set(set_settings(files, tmp_path_factory.mktemp("whole")))


def poisoned(file: Path, to: Path, fold: int) -> Path:
    """The same file with jets of one fold that would be refused or would change a training."""
    jets = read_jets(file)
    bad = np.asarray(jets["eventNumber"] % 2 == fold)
    lists = {}
    for name, ragged in jets.constituents.items():
        values = ragged.values.copy()
        values[np.repeat(bad, np.diff(ragged.offsets))] = np.float32(1e30)
        lists[name] = Ragged(values, ragged.offsets, ragged.padding)
    columns = {
        "label": np.where(bad, 2 - jets.label, jets.label),
        "mcEventWeight": np.where(bad, np.nan, jets["mcEventWeight"]),
        "jet_pt": np.where(bad, -1e30, jets["jet_pt"]),
    }
    write_jets(to, Jets(jets.with_columns(columns).scalars, lists), read_metadata(file))
    return to


@pytest.mark.parametrize("fold", [0, 1])
def test_a_network_never_sees_its_fold_whatever_that_holds(
    trained: NetworkSetSummary, files: Files, tmp_path: Path, fold: int
) -> None:
    bad = (poisoned(files[0], tmp_path / "main.parquet", fold), poisoned(files[1], tmp_path / "control.parquet", fold))
    summary = train_set(set_settings(bad, tmp_path / "runs", fold=fold))
    assert are_equal(set_of(summary).networks[fold], set_of(trained).networks[fold])
    assert summary.lacking == (1 - fold,)
    assert summary.figures is None


def test_poisoned_jets_are_refused_by_the_networks_that_read_them(files: Files, tmp_path: Path) -> None:
    bad = (poisoned(files[0], tmp_path / "main.parquet", 0), files[1])
    with pytest.raises(InputFileError, match="scaled more than once"):
        train_set(set_settings(bad, tmp_path / "runs", fold=1))
    assert not (tmp_path / "runs" / "default").exists()


def test_no_event_of_a_fold_stands_in_the_list_that_its_network_left(trained: NetworkSetSummary, files: Files) -> None:
    main = read_jets(files[0])
    for fold, run in enumerate(set_of(trained).networks):
        groups = read_used_events(run.path)
        assert groups is not None
        of_main = next(group for group in groups if group.sample == "main")
        seen = main.where(main["eventNumber"] % 2 != fold)
        events = {*zip(seen["mcChannelNumber"].tolist(), seen["eventNumber"].tolist(), strict=True)}
        assert len(of_main.words) == len(events)


def test_every_test_jet_is_scored_once_by_the_network_that_has_not_seen_its_event(
    trained: NetworkSetSummary, files: Files
) -> None:
    left = read_jets(trained.run.path / "test_sample.parquet")
    main = read_jets(files[0])
    split = split_jets(main, sample_fraction=1.0, train_fraction=0.5, seed=1)
    wanted = main.take(np.flatnonzero(split.part == Part.TEST))
    assert sorted(left["jet_phi"].tolist()) == sorted(wanted["jet_phi"].tolist())
    np.testing.assert_array_equal(left["fold"], left["eventNumber"] % 2)
    for fold, network in enumerate(trained.run.networks_at().files):
        mine = left.where(left["fold"] == fold)
        expected = scores_of(network.load(), JetTensors.from_jets([mine], "cpu"))  # type: ignore[arg-type]
        found = np.stack([mine[f"jet_nn_{label.output}"] for label in Label], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_jets_of_a_class_have_weights_in_the_proportions_of_the_file(trained: NetworkSetSummary) -> None:
    left = read_jets(trained.run.path / "test_sample.parquet")
    for label in Label:
        mine = left.label == label
        ratio = left["evaluation_weight"][mine] / left["mcEventWeight"][mine]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_the_set_is_one_run_with_the_figures_of_all_its_jets(trained: NetworkSetSummary) -> None:
    record = trained.run.read_record()
    assert record["status"] == "finished"
    assert record["folds"] == {"count": 2, "rule": "network i is used where eventNumber % 2 == i"}
    assert record["test"]["auc"] == pytest.approx(trained.figures.roc.auc)  # type: ignore[union-attr]
    assert len(record["best_epochs"]["by fold"]) == 2
    assert record["data"]["main"]["jets_used"] == 600
    assert "AUC" in (trained.run.path / "training_details.txt").read_text()
    histories = [run.read_history() for run in set_of(trained).networks]
    (mean,) = {row["val_original_lossf"] for row in trained.run.read_history()[1:]}
    assert mean == pytest.approx(np.mean([history[1]["val_original_lossf"] for history in histories]))


def test_jobs_with_a_fold_each_make_one_set_that_equals_one_trained_in_one_go(
    trained: NetworkSetSummary, files: Files, tmp_path: Path
) -> None:
    settings = set_settings(files, tmp_path)
    first = train_set(settings.model_copy(update={"fold": 1}))
    assert first.figures is None
    overview = Run(first.run.path)
    assert (overview.status, overview.epochs, overview.best()) == ("incomplete", 0, None)
    second = train_set(settings.model_copy(update={"fold": 0, "plot_processes": 1}))
    assert second.run == first.run
    assert all(are_equal(*pair) for pair in zip(set_of(second).networks, set_of(trained).networks, strict=True))
    assert second.run.read_record()["test"] == trained.run.read_record()["test"]
    other = train_set(set_settings(files, tmp_path, fold=0, seed=2))
    assert other.run.number == 1


def test_a_set_that_was_stopped_goes_on_in_the_middle_of_a_fold_and_equals_one_that_was_not(
    trained: NetworkSetSummary, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = set_settings(files, tmp_path)
    with monkeypatch.context() as patch:
        _stop_after_first_epoch_of("fold_1", patch)
        with pytest.raises(TrainingStopped):
            train_set(settings)
    found = set_of_run(tmp_path)
    assert (found.lacking(), Run(found.run.path).status) == ([1], "interrupted")
    for continue_from in ("auto", "0"):
        summary = train_set(settings, continue_from)
        assert summary.run == found.run
        if continue_from == "auto":
            assert len(summary.trained) == 1
            assert all(are_equal(*pair) for pair in zip(found.networks, set_of(trained).networks, strict=True))
            assert found.networks[1].read_history() == set_of(trained).networks[1].read_history()
            assert summary.run.read_record()["test"] == trained.run.read_record()["test"]
    # Each network of a finished set got as many epochs again.
    assert [len(run.read_history()) for run in found.networks] == [4, 4]
    assert found.run.read_record()["finished_epochs"] == 4


def test_only_the_fold_that_goes_on_has_the_threads_of_its_checkpoint(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = set_settings(files, tmp_path, threads=None, epochs=2)
    with restored_threads():
        torch.set_num_threads(2)
        with monkeypatch.context() as patch:
            _stop_after_first_epoch_of("fold_0", patch)
            with pytest.raises(TrainingStopped):
                train_set(settings)
        # As on a machine with fewer cores, or with another OMP_NUM_THREADS.
        torch.set_num_threads(1)
        train_set(settings, "auto")
        assert torch.get_num_threads() == 1
    assert [_threads(run) for run in set_of_run(tmp_path).networks] == [2, 1]


def test_given_threads_are_those_of_every_fold(files: Files, tmp_path: Path) -> None:
    train_set(set_settings(files, tmp_path, threads=2, epochs=1))
    assert [_threads(run) for run in set_of_run(tmp_path).networks] == [2, 2]


def test_a_signal_while_a_network_is_completed_keeps_the_next_from_beginning(
    trained: NetworkSetSummary, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*given: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        write_test_sample(*given)

    settings = set_settings(files, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.finish.write_test_sample", signalled)
        with pytest.raises(TrainingStopped, match=r"fold_0 finished; .*--continue 0'") as stopped:
            train_set(settings)
    assert stopped.value.exit_status == EXIT_TERMINATED
    found = set_of_run(tmp_path)
    assert found.lacking() == [1]
    assert not found.networks[1].path.exists()
    train_set(settings, "auto")
    assert all(are_equal(*pair) for pair in zip(found.networks, set_of(trained).networks, strict=True))


def test_a_set_that_was_killed_between_and_before_files_goes_on_too(
    trained: NetworkSetSummary, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    settings = set_settings(files, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.train_networks.write_evaluation", killed)
        with pytest.raises(KeyboardInterrupt):
            train_set(settings, fold=None)
    found = set_of_run(tmp_path)
    assert (found.lacking(), found.is_complete) == ([], False)
    # State of a fold whose process was killed while it read the data.
    run = found.networks[0]
    for path in sorted(run.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    summary = train_set(settings, "auto")
    assert all(are_equal(*pair) for pair in zip(found.networks, set_of(trained).networks, strict=True))
    assert summary.run.read_record()["test"] == trained.run.read_record()["test"]


def test_a_set_that_another_process_completes_meanwhile_is_not_completed_twice(
    trained: NetworkSetSummary, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained.run.path, tmp_path / "default" / "00000")
    run = set_of_run(tmp_path).run
    record = run.read_record()
    run.write_record(record | {"status": "running"})

    def complete(network_set: NetworkSet) -> None:
        network_set.run.write_record(record)

    monkeypatch.setattr("cal_ratio_trainer.training.train_networks._refuse_different_files", complete)
    before = (run.path / "test_sample.parquet").stat().st_mtime_ns
    assert train_set(set_settings(files, tmp_path), "auto").figures is None
    assert (run.path / "test_sample.parquet").stat().st_mtime_ns == before


def test_what_would_make_another_training_cannot_change_on_the_way(trained: NetworkSetSummary, files: Files) -> None:
    settings = set_settings(files, trained.run.path.parents[1])
    for flags in ({"folds": 3}, {"learning_rate": 0.1}):
        with pytest.raises(ConfigError, match=rf"{next(iter(flags))} is .* cannot become"):
            set_work([("defaults", {}), ("command line", dict(flags))], settings, "0")


def test_folds_of_different_files_make_no_set(files: Files, tmp_path: Path) -> None:
    here = tuple(tmp_path / file.name for file in files)
    for source, file in zip(files, here, strict=True):
        file.write_bytes(source.read_bytes())
    settings = set_settings((here[0], here[1]), tmp_path / "runs", epochs=1)
    train_set(settings.model_copy(update={"fold": 0}))
    write_training_files(tmp_path, 600, 400, seed=11)
    with pytest.raises(RunError, match="trained on different main files"):
        train_set(settings.model_copy(update={"fold": 1}))


def test_networks_of_a_set_are_named_like_those_of_a_run(trained: NetworkSetSummary) -> None:
    folder, name = trained.run.path.parents[1], trained.run.name
    assert named_run("default/0/fold_1", folder) == set_of(trained).networks[1]
    assert find_network("default/0/fold_1/1", folder).name == f"{name}/fold_1/1"
    assert find_networks("default/-1/best", folder).name == f"{name}/best"
    assert find_networks("default/0", folder).name == f"{name}/last"
    assert network_file("default/0", folder).parts[-3] == "fold_0"
    mistakes: list[tuple[Callable[..., Any], str, str]] = [
        (find_network, "default/0/best", "is a set of 2 networks"),
        (find_networks, "default/0/7", "has no weights of epoch 7; .*'best' takes the best epoch of each fold"),
        (find_networks, "default/0/fold_2", "has no fold_2; there is: fold_0, fold_1"),
        (find_networks, "default/0/fold_1/1/1", "is no network"),
        (named_run, "default/0/best", "is no run"),
    ]
    for find, wrong, told in mistakes:
        with pytest.raises(RunError, match=told):
            find(wrong, folder)


def test_the_state_of_a_set_is_that_of_its_folds(trained: NetworkSetSummary) -> None:
    overview = Run(trained.run.path)
    assert overview.known_rule is not None
    assert (overview.status, overview.epochs, overview.planned_epochs) == ("finished", 2, 2)
    best = overview.best_epochs("validation-loss")
    assert best is not None
    chosen = zip(overview.begun_networks, best.epochs, strict=True)
    losses = [fold.history[epoch]["val_original_lossf"] for fold, epoch in chosen]
    assert best.row["val_original_lossf"] == pytest.approx(np.mean(losses))
    lowest = [min(row["val_original_lossf"] for row in fold.history) for fold in overview.begun_networks]
    assert losses == lowest


def _threads(run: Run) -> int:
    return checkpoint_progress(run.checkpoint_file, run.read_record()["id"]).threads


def set_of_run(folder: Path) -> NetworkSet:
    found = NetworkSet.of(named_run("default/0", folder))
    assert found is not None
    return found


def _stop_after_first_epoch_of(name: str, patch: pytest.MonkeyPatch) -> None:
    """Sends SIGTERM when the first epoch of a fold is written; the training then ends after the next step."""

    def then_stop(run: Run, *arguments: Any) -> None:
        write_epoch(run, *arguments)
        if run.path.name == name:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr("cal_ratio_trainer.training.loop.write_epoch", then_stop)

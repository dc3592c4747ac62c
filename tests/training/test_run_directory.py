"""Numbers of runs, and who may write to one."""

import multiprocessing
from contextlib import suppress
from pathlib import Path

import pytest

from cal_ratio_trainer.training.run_directory import (
    RunDirectory,
    RunError,
    find_run,
    new_run,
    refuse_unusable,
    runs_of,
)


def _claim(folder: Path, count: int) -> list[int]:
    return [new_run(folder, "model").number for _ in range(count)]


def test_processes_that_start_at_the_same_time_get_different_numbers(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        claimed = pool.starmap(_claim, [(tmp_path, 20), (tmp_path, 20)])
    assert sorted(claimed[0] + claimed[1]) == list(range(40))


def test_a_start_while_a_failed_one_removes_its_folders_gets_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emptied(output_path: Path, model_name: str) -> list[RunDirectory]:
        with suppress(FileNotFoundError):
            (output_path / model_name).rmdir()
        return []

    monkeypatch.setattr("cal_ratio_trainer.training.run_directory.runs_of", emptied)
    assert new_run(tmp_path, "model").number == 0


def test_runs_are_found_by_number_and_counted_back(tmp_path: Path) -> None:
    for _ in range(3):
        new_run(tmp_path, "model")
    assert find_run(tmp_path, "model", 1).path.name == "00001"
    assert find_run(tmp_path, "model", -1).number == 2
    assert find_run(tmp_path, "model", -3).number == 0
    with pytest.raises(RunError, match="no run -4"):
        find_run(tmp_path, "model", -4)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    new_run(tmp_path, "model")
    (tmp_path / "model" / "notes").mkdir()
    (tmp_path / "model" / "00007").write_text("a file")
    assert [run.number for run in runs_of(tmp_path, "model")] == [0]
    assert runs_of(tmp_path, "another") == []


def test_a_run_in_use_cannot_be_taken(tmp_path: Path) -> None:
    run = new_run(tmp_path, "model")
    with run.lock(), pytest.raises(RunError, match="model/00000 is being trained by another process"):
        run.lock()


def test_a_run_is_free_again_after_the_block(tmp_path: Path) -> None:
    run = new_run(tmp_path, "model")
    with run.lock() as lock:
        assert run.is_in_use
    assert not lock.is_locked
    assert not run.is_in_use


def test_a_damaged_record_reads_as_empty(tmp_path: Path) -> None:
    run = new_run(tmp_path, "model")
    for content in ("{half", "[1, 2]", "null"):
        run.record_file.write_text(content)
        assert run.read_record() == {}


def test_a_place_that_can_hold_no_run_is_told_before_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unusable(tmp_path / "new" / "folders", "model")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for output_path, model in ((tmp_path / "file", "model"), (tmp_path, "file")):
        with pytest.raises(RunError, match=r"output_path: .*/file is no folder"):
            refuse_unusable(output_path, model)
    # Asked for, not tried: a user who is root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RunError, match="cannot be written to"):
        refuse_unusable(tmp_path / "new", "model")

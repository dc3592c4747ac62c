"""The demo data set is made once, completely, and found again."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.simulation import demo_data


def fake_making(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the minute of simulation by two small files; returns the folders that were made."""
    made: list[Path] = []

    def make(folder: Path, main_jets: int, control_jets: int, workers: int) -> None:
        made.append(folder)
        folder.mkdir()
        for name in ("main", "control"):
            (folder / f"{name}.parquet").write_text(f"{main_jets} {control_jets}")

    monkeypatch.setattr(demo_data, "make_demo_files", make)
    return made


def test_it_is_made_once_in_the_cache_folder_and_then_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = fake_making(monkeypatch)
    first = demo_data.demo_training_files(tmp_path / "cache")
    second = demo_data.demo_training_files(tmp_path / "cache")
    assert first == second
    assert first.main.is_file()
    assert len(made) == 1
    assert made[0].parent == tmp_path / "cache"


def test_other_parameters_of_the_model_give_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = fake_making(monkeypatch)
    demo_data.demo_training_files(tmp_path)
    monkeypatch.setattr(demo_data, "VERSION", demo_data.VERSION + 1)
    demo_data.demo_training_files(tmp_path)
    assert made[0] != made[1]


def test_the_remains_of_a_process_that_was_killed_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = fake_making(monkeypatch)
    main = demo_data.demo_training_files(tmp_path).main
    main.unlink()
    main.with_name("control.parquet").unlink()
    main.parent.rmdir()
    remains = tmp_path / f".{main.parent.name}-abc" / "ntuples"
    remains.mkdir(parents=True)
    demo_data.demo_training_files(tmp_path)
    assert len(made) == 2
    assert not remains.parent.exists()


def test_a_making_that_fails_leaves_nothing_that_could_be_taken_for_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(settings: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo_data, "simulate", fail)
    with pytest.raises(OSError, match="disk full"):
        demo_data.make_demo_files(tmp_path / "demo", 10, 10, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_to_wait_for_another_one_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = fake_making(monkeypatch)
    files = demo_data.demo_training_files(tmp_path)
    shutil.rmtree(files.main.parent)
    taken = threading.Event()

    def hold_for_a_while() -> None:
        with leased(files.main.parent):
            taken.set()
            time.sleep(0.3)

    threading.Thread(target=hold_for_a_while).start()
    taken.wait()
    assert demo_data.demo_training_files(tmp_path) == files
    assert "another process is making the demo" in caplog.text
    assert len(made) == 2

"""Demo, convert, build, train and continue with the installed command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata

pytestmark = pytest.mark.slow

_JETS = 120


def cr_trainer(*words: object, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder and checks its exit status."""
    program = shutil.which("cr_trainer", path=str(Path(sys.executable).parent))
    assert program, "the package is not installed"
    command = [program, *map(str, words)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with demo ntuples, converted and built."""
    folder = tmp_path_factory.mktemp("demo")
    cr_trainer("demo", "--output_path", folder, "--jets", _JETS, "--seed", 3, folder=folder)
    converted = cr_trainer("convert", "divertanalysis", "--config", "convert.yaml", folder=folder)
    assert "33 files: 33 converted" in converted.stdout
    for kind in ("main", "control"):
        cr_trainer("build", "--config", f"build_{kind}.yaml", folder=folder)
    return folder


def test_the_built_files_hold_the_jets_that_were_asked_for(demo: Path) -> None:
    for kind, labels in (("main", [0, 1, 2]), ("control", [0, 2])):
        jets = read_jets(demo / f"{kind}.parquet")
        assert [int((jets.label == label).sum()) for label in labels] == [_JETS] * len(labels)
        metadata = read_metadata(demo / f"{kind}.parquet")
        assert metadata.simulation == "demo"
        assert metadata.kind == kind


def test_two_epochs_and_two_more_leave_a_run_of_four(demo: Path) -> None:
    files = ["--main_training_file", "main.parquet", "--cr_training_file", "control.parquet"]
    small = ["--epochs", 2, "--num_splits", 5, "--sample_fraction", 1, "--train_fraction", 0.8, "--no-epoch_plots"]
    first = cr_trainer("train", *files, *small, folder=demo)
    run = demo / "training_results" / "default" / "00000"
    assert str(Path("training_results/default/00000")) in first.stderr
    assert "epoch 001 (2 of 2)" in first.stderr
    before = read_own_network(run / "keras" / "final_model.keras").weights
    cr_trainer("train", "--continue", -1, "--epochs", 2, folder=demo)
    history = json.loads((run / "history.json").read_text())
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    after = read_own_network(run / "keras" / "final_model.keras").weights
    assert any((before[name] != after[name]).any() for name in before)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert "AUC" in (run / "training_details.txt").read_text()


def test_no_jet_of_a_demo_of_another_seed_was_trained_on(demo: Path, tmp_path: Path) -> None:
    files = ["--main_training_file", "main.parquet", "--cr_training_file", "control.parquet"]
    network = ("train", *files, "--epochs", 1, "--num_splits", 2, "--sample_fraction", 1, "--model_name", "scored")
    cr_trainer(*network, folder=demo)
    cr_trainer("demo", "--output_path", tmp_path, "--jets", _JETS, "--seed", 4, folder=tmp_path)
    scored = cr_trainer("score", tmp_path / "bib" / "*.root", tmp_path / "qcd_JZ2" / "*.root", "scored/0", folder=demo)
    assert "train" not in scored.stdout
    assert "other contents" not in scored.stdout
    again = cr_trainer("score", demo / "bib" / "*.root", "scored/0", folder=demo)
    assert " train, " in again.stdout
    assert "other contents" not in (demo / "score_report" / "report.md").read_text("utf-8")


def test_converting_again_skips_what_is_done(demo: Path) -> None:
    again = cr_trainer("convert", "divertanalysis", "--config", "convert.yaml", folder=demo)
    assert "33 skipped" in again.stdout or "33 already" in again.stdout, again.stdout[-500:]


def test_a_training_file_that_is_not_there_is_one_sentence_and_status_2(demo: Path) -> None:
    files = ["--main_training_file", "mian.parquet", "--cr_training_file", "control.parquet"]
    failed = cr_trainer("train", *files, folder=demo, status=2)
    assert "mian.parquet: no such file" in failed.stderr
    assert "Traceback" not in failed.stderr

"""A training killed ten times and continued, and a demo killed and repeated, give undisturbed results."""

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.commands import kill_after, kill_moments, run, run_expecting
from tests.faults.prepared_folder import TRAIN, sums

pytestmark = pytest.mark.faults

_RUN = Path("training_results/default/00000")


def test_a_training_killed_ten_times_and_continued_equals_one_that_was_not(before: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    for kind in ("main", "control"):
        shutil.copyfile(before / f"{kind}.parquet", folder / f"{kind}.parquet")
    for moment, with_children in kill_moments("train", 2.0):
        kill_after(_next_command(folder), folder, moment, with_children)
    while _next_command(folder) != []:
        run_expecting(_next_command(folder), folder)
    assert not (folder / _RUN.with_name("00001")).exists()
    killed, undisturbed = sums(folder / _RUN), sums(before / _RUN)
    # The page shows the times of run.json.
    assert killed.pop("index.html")
    assert undisturbed.pop("index.html")
    assert killed == undisturbed


def test_an_interrupted_demo_is_made_again(tmp_path: Path) -> None:
    words = ["demo", "--output_path", "ntuples", "--jets", "30"]
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    folder.mkdir()
    seconds = run_expecting(words, undisturbed)
    for moment, with_children in kill_moments("demo", seconds):
        kill_after(words, folder, moment, with_children)
        status, said = run(words, folder) if (folder / "ntuples").exists() else (2, "")
        assert "Traceback" not in said
        assert status == 2 or sums(folder) == sums(undisturbed)
        shutil.rmtree(folder / "ntuples", ignore_errors=True)


def _next_command(folder: Path) -> list[str]:
    """Next command of a user: train, continue, or none."""
    record = folder / _RUN / "run.json"
    if not record.exists():
        return TRAIN.split()
    if json.loads(record.read_text("utf-8"))["status"] == "finished":
        return []
    return ["train", "--continue", "0"]

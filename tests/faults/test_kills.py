"""Each command is killed ten times, then run to its end: the files are those of a run that nothing disturbed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.golden import sums_of
from tests.faults.commands import kill_after, run, run_well
from tests.faults.worked_folder import COMMANDS, STATUSES, TRAIN, sums

KILLS = 10
SEED = 20261128

pytestmark = pytest.mark.faults

_RUN = Path("training_results/default/00000")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_ten_times_leaves_what_an_undisturbed_one_does(
    name: str, before: Path, tmp_path: Path
) -> None:
    words, status = COMMANDS[name].split(), STATUSES.get(name, 0)
    undisturbed, folder = shutil.copytree(before, tmp_path / "one"), shutil.copytree(before, tmp_path / "two")
    seconds = run_well(words, undisturbed, status)
    for moment, with_children in _moments(name, seconds):
        kill_after(words, folder, moment, with_children)
        sums_of(folder)  # reads each file: one that stands under its own name is whole
    run_well(words, folder, status)
    assert sums(folder) == sums(undisturbed)


def test_a_training_killed_ten_times_and_continued_equals_one_that_was_not(before: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    for kind in ("main", "control"):
        shutil.copyfile(before / f"{kind}.parquet", folder / f"{kind}.parquet")
    for moment, with_children in _moments("train", 4.0):
        kill_after(_next_words(folder), folder, moment, with_children)
    while _next_words(folder) != []:
        run_well(_next_words(folder), folder)
    assert not (folder / _RUN.with_name("00001")).exists()
    assert sums(folder / _RUN) == sums(before / _RUN)


def test_an_interrupted_demo_is_made_again(tmp_path: Path) -> None:
    words = ["demo", "--output_path", "ntuples", "--jets", "30"]
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    folder.mkdir()
    seconds = run_well(words, undisturbed)
    for moment, with_children in _moments("demo", seconds):
        kill_after(words, folder, moment, with_children)
        status, said = run(words, folder) if (folder / "ntuples").exists() else (2, "")
        assert "Traceback" not in said
        assert status == 2 or sums(folder) == sums(undisturbed)
        shutil.rmtree(folder / "ntuples", ignore_errors=True)


def _next_words(folder: Path) -> list[str]:
    """What a user types next: train, continue, or nothing more."""
    record = folder / _RUN / "run.json"
    if not record.exists():
        return TRAIN.split()
    if json.loads(record.read_text("utf-8"))["status"] == "finished":
        return []
    return ["train", "--continue", "0"]


def _moments(name: str, seconds: float) -> list[tuple[float, bool]]:
    """When to kill, and whether the processes that the command started die with it. [s]"""
    generator = np.random.default_rng([SEED, *name.encode()])
    return [(float(generator.uniform(0, seconds)), bool(generator.integers(2))) for _ in range(KILLS)]

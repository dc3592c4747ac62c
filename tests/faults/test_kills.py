"""Each command is killed ten times, then run to its end: its files are those of an undisturbed run."""

import shutil
import time
from pathlib import Path

import pytest

from benchmarks.golden import sums_of
from tests.faults.commands import kill_after, kill_moments, run_expecting
from tests.faults.prepared_folder import COMMANDS, STATUSES, sums

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_ten_times_leaves_what_an_undisturbed_one_does(
    name: str, before: Path, tmp_path: Path
) -> None:
    words, status = COMMANDS[name].split(), STATUSES.get(name, 0)
    undisturbed, folder = shutil.copytree(before, tmp_path / "one"), shutil.copytree(before, tmp_path / "two")
    seconds = run_expecting(words, undisturbed, status)
    for moment, with_children in kill_moments(name, seconds):
        begin = time.time()
        kill_after(words, folder, moment, with_children)
        sums_of(folder, begin - 1)  # reads the outputs: a file under its final name is complete
    run_expecting(words, folder, status)
    assert sums(folder) == sums(undisturbed)

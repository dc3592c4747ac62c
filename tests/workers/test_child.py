"""Child processes: tasks, errors, and their end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.workers.child import PICKLING_ERRORS, Child, ChildDied
from cal_ratio_trainer.workers.executor import Done, Report, Task, TaskFailed, WorkerLost
from cal_ratio_trainer.workers.opening import LocalProcesses


def halves(report: Report, number: int) -> int:
    """Half of an even number."""
    report(0, number)
    if number % 2:
        raise InputFileError("numbers", f"{number} is odd")
    report(number, number)
    return number // 2


def death(report: Report, marker: Path, deaths: int) -> str:
    """Death of the process, so many times."""
    with marker.open("a") as file:
        file.write("x")
    if len(marker.read_text()) <= deaths:
        os._exit(3)
    return "alive"


def nothing_that_can_be_sent(report: Report) -> object:
    """A result without a way to another process."""
    return lambda: None


def test_a_child_tells_its_progress_and_passes_on_results_and_errors() -> None:
    child = Child()
    child.send(Task((7, 1), halves, (10,)))
    assert [child.receive(60) for _ in range(3)] == [(0, 10), (10, 10), Done((7, 1), 5)]
    error = child.run(Task((8, 1), halves, (3,))).error
    assert isinstance(error, InputFileError)
    assert "in halves" in error.__notes__[0]
    unsent = child.run(Task((9, 1), nothing_that_can_be_sent, ())).error
    assert isinstance(unsent, TaskFailed)
    with pytest.raises(PICKLING_ERRORS):
        child.send(Task((9, 1), halves, (lambda: None,)))
    assert child.run(Task((9, 2), halves, (4,))).result == 2
    child.stop()
    assert child._process.poll() is not None


def test_a_child_that_dies_or_is_silent_for_too_long_is_no_use(tmp_path: Path) -> None:
    child = Child()
    with pytest.raises(ChildDied, match="ended with status 3"):
        child.run(Task((0, 0), death, (tmp_path / "a", 1)))
    child = Child()
    with pytest.raises(ChildDied, match="gave no answer"):
        child.receive(0.01)
    child.kill()


def test_a_task_whose_process_dies_is_done_again_until_it_is_to_blame(tmp_path: Path) -> None:
    executor = LocalProcesses(2)
    tasks = [Task((0, 0), halves, (8,)), *(Task((n, 0), death, (tmp_path / f"{n}", n)) for n in (1, 2, 3))]
    done = {each.key[0]: each for each in executor.all_of(tasks)}
    assert [done[n].result for n in (0, 1, 2)] == [4, "alive", "alive"]
    assert isinstance(done[3].error, WorkerLost)
    # The tasks of another pass over the files have the keys of the first; deaths there count anew.
    (again,) = executor.all_of([Task((2, 0), death, (tmp_path / "again", 2))])
    assert again.result == "alive"
    executor.close(finishes_tasks=True)


PARENT = """
import sys, time
from cal_ratio_trainer.workers.executor import Task
from cal_ratio_trainer.workers.opening import LocalProcesses
from tests.workers.test_child import slow

executor = LocalProcesses(2)
executor.on_progress = lambda key, done, of: print(done, flush=True)
executor.submit(Task((0, 0), slow, ()))
while True:
    executor.wait(0.1)
"""


def slow(report: Report) -> None:
    """A task that ends later than any test."""
    report(0, 1)
    time.sleep(600)


def test_children_end_with_a_parent_that_is_killed_and_that_has_no_main_guard() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    process.kill()
    # The pipe closes when the last process that holds it ends: a surviving child would keep it open.
    rest, _ = process.communicate(timeout=60)
    assert rest == ""

"""Worker processes of this machine when the command is interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cal_ratio_trainer.workers.executor import Report, Task
from cal_ratio_trainer.workers.opening import LocalProcesses

PROJECT = Path(__file__).parents[2]


def write_and_wait(report: Report, file: Path) -> None:
    """Task that never ends, and cleans up when it is stopped."""
    try:
        file.touch()
        time.sleep(600)
    finally:
        file.unlink()


def interrupted_executor(folder: Path) -> None:
    """Executor that gets Ctrl-C, as a terminal sends it to all processes, when both workers are working."""
    executor = LocalProcesses(2)
    files = [folder / "a", folder / "b"]
    for number, file in enumerate(files):
        executor.submit(Task((number, 0), write_and_wait, (file,)))
    try:
        while True:
            executor.wait(0.05)
            if all(file.exists() for file in files):
                os.killpg(os.getpgid(0), signal.SIGINT)
    except KeyboardInterrupt:
        executor.close(finishes_tasks=False)


def test_an_interrupt_ends_the_workers_without_a_traceback_and_they_clean_up(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from tests.workers.test_opening import interrupted_executor; "
        "__name__ == '__main__' and interrupted_executor(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        start_new_session=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def death_beside_others(report: Report, folder: Path, name: str) -> str:
    """Death of the process if another task is at work, as where memory suffices for one of them."""
    (folder / name).touch()
    try:
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s:
            if name == "victim" and len(list(folder.iterdir())) > 1:
                (folder / name).unlink()
                os._exit(9)
            time.sleep(0.02)
    finally:
        (folder / name).unlink(missing_ok=True)
    return name


def test_a_task_whose_processes_die_beside_others_is_done_alone(tmp_path: Path) -> None:
    executor = LocalProcesses(2)
    names = ("other", "victim", "third", "fourth", "fifth")
    tasks = [Task((number, 0), death_beside_others, (tmp_path, name)) for number, name in enumerate(names)]
    try:
        ended = list(executor.all_of(tasks))
    finally:
        executor.close(finishes_tasks=False)
    assert sorted(str(done.result or done.error) for done in ended) == sorted(names)

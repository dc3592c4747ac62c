"""Progress on a terminal, in worker processes and in calls that ask for none."""

import subprocess
import sys

import pytest

from cal_ratio_trainer import progress
from cal_ratio_trainer.progress import environment_of_workers, progress_shown


def has_live_line() -> bool:
    """True if a task that begins now has a live line."""
    with progress.progress("task", 1, "units") as line:
        return line._bar is not None


def test_a_terminal_has_one_live_line_which_is_not_a_worker_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert has_live_line()
    with progress.progress("outer", 1, "units"):
        assert not has_live_line()
    for name, value in environment_of_workers().items():
        monkeypatch.setenv(name, value)
    assert not has_live_line()


def test_no_progress_is_asked_of_workers_too(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_shown(False), progress_shown(True):
        assert environment_of_workers() == {"CAL_RATIO_TRAINER_PROGRESS": "none"}
        with progress.progress("task", 1, "units") as line:
            line.message("a message")
    assert capfd.readouterr().err == ""
    code = "from cal_ratio_trainer.progress import progress\nwith progress('t', 1, 'u') as line: line.message('said')"
    for value, words in (("none", ""), ("plain", "said\n")):
        environment = {"PYTHONPATH": ":".join(sys.path), "CAL_RATIO_TRAINER_PROGRESS": value}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        assert done.stderr == words

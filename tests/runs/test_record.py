"""Content of run.json."""

import subprocess
from pathlib import Path

import pytest

from cal_ratio_trainer.runs import record
from cal_ratio_trainer.runs.record import versions


def test_the_commit_is_that_of_the_program_and_of_nothing_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    package = tmp_path / "environment" / "cal_ratio_trainer"
    package.mkdir(parents=True)
    program = package / "__init__.py"
    program.write_text("")
    monkeypatch.setattr(record, "CODE", package)
    git("init")
    (tmp_path / "analysis.py").write_text("")
    git("add", "analysis.py")
    git("commit", "-m", "an analysis")
    assert versions()["commit"] is None
    git("add", "environment")
    git("commit", "-m", "the program")
    commit = versions()["commit"]
    assert commit is not None
    assert len(commit) == 40
    program.write_text("changed = 1")
    assert versions()["commit"] == f"{commit}-dirty"

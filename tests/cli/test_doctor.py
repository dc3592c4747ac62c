"""`cr_trainer doctor` on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cal_ratio_trainer.cli.main import cr_trainer


def call(folder: Path, *words: str) -> Result:
    """Examines the installation with the CPU and the folders of the test."""
    given = ["--device", "cpu", "--output_path", str(folder / "runs"), "--cache", str(folder / "cache"), *words]
    return CliRunner().invoke(cr_trainer(), ["doctor", *given], standalone_mode=False)


def test_the_status_is_0_and_the_json_can_be_read_when_all_is_well(tmp_path: Path) -> None:
    result = call(tmp_path, "--json")
    assert result.return_value == 0
    found = json.loads(result.stdout)
    assert found["is_well"]
    assert [check["passed"] for check in found["checks"]] == [True] * 7


def test_the_status_is_1_when_a_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").touch()
    result = call(tmp_path)
    assert result.return_value == 1
    assert f"FAIL cache folder can be written: {tmp_path / 'cache'}" in result.stdout

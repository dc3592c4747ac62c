"""`cr_trainer runs` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS, cr_trainer
from cal_ratio_trainer.runs.stored import RunError
from tests.factories.runs import history_row, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "m" / "00000", [history_row(0.99, 0.7)], settings={"tag": "[red]scan"})
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(cr_trainer(), ["runs", *words], standalone_mode=False)


def test_piped_to_a_file_the_table_is_whole_and_letters_are_as_they_are(folder: Path) -> None:
    result = call("--output_path", str(folder))
    assert result.return_value == 0
    assert "m/00000" in result.stdout
    assert "[red]scan" in result.stdout
    assert "started (UTC)" in result.stdout


def test_csv_goes_to_standard_output_alone_or_to_a_file(folder: Path) -> None:
    printed = call("--output_path", str(folder), "--csv", "-").stdout
    assert [line.split(",")[:2] for line in printed.splitlines()] == [["run", "status"], ["m/00000", "finished"]]
    result = call("--output_path", str(folder), "--csv", str(folder / "all.csv"))
    assert (folder / "all.csv").read_text() == printed
    assert result.stdout == ""
    assert "1 runs in" in result.stderr


@pytest.mark.parametrize("name", ["run.json", "history.json", "training_params.yaml"])
def test_a_file_that_cannot_be_read_is_named_and_the_other_runs_are_listed(folder: Path, name: str) -> None:
    damaged = write_run(folder / "m" / "00001").path / name
    damaged.unlink()
    damaged.mkdir()
    result = call("--output_path", str(folder))
    assert result.return_value == EXIT_FAILED_PARTS
    assert f"warning: {damaged}: " in result.stderr
    assert "m/00000" in result.stdout
    assert "m/00001" in result.stdout


def test_a_minus_before_the_column_is_no_option(folder: Path) -> None:
    assert call("--output_path", str(folder), "--sort", "-test_auc").return_value == 0


def test_that_nothing_fits_is_said(folder: Path) -> None:
    result = call("--output_path", str(folder), "--tag", "none", "--status", "finished,killed")
    assert (result.return_value, result.stdout) == (0, "")
    assert "no such runs" in result.stderr


def test_a_folder_that_is_not_there_is_a_mistake(folder: Path) -> None:
    assert isinstance(call("--output_path", str(folder / "nowhere")).exception, RunError)

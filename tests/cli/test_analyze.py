"""`cr_trainer analyze` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.scoring.candidates import NothingToAnalyze
from tests.factories.runs import history_row, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An interrupted run, whose existing files can all be used."""
    history = [history_row(0.95, 0.9), history_row(0.99, 0.7)]
    write_run(tmp_path / "runs" / "m" / "00000", history, {"status": "interrupted"})
    return tmp_path


def call(folder: Path, *words: str) -> Result:
    places = ["--output_path", str(folder / "runs"), "--output_report", str(folder / "reports" / "analyze.md")]
    return CliRunner().invoke(cr_trainer(), ["analyze", *words, *places], standalone_mode=False)


def test_the_recommended_epoch_is_printed_and_the_page_written(folder: Path) -> None:
    result = call(folder, "m/-1")
    assert result.return_value == 0
    assert result.stdout == "recommended: m/00000/1\n"
    assert str(folder / "reports" / "analyze.html") in result.stderr
    assert (folder / "reports" / "analyze.html").is_file()
    assert (folder / "reports" / "analyze.md").is_file()


def test_a_named_run_that_is_not_there_is_told_and_the_status_is_1(folder: Path) -> None:
    result = call(folder, "m/0", "m/4")
    assert result.return_value == 1
    assert "m/4: model m has no run 4" in result.stderr
    assert result.stdout == "recommended: m/00000/1\n"


def test_without_a_run_that_can_be_used_it_is_a_mistake(folder: Path) -> None:
    assert isinstance(call(folder, "m/4").exception, NothingToAnalyze)
    assert isinstance(call(folder).exception, NothingToAnalyze)


def test_the_rule_decides(folder: Path) -> None:
    assert call(folder, "m/0", "--rule", "adversary").stdout == "recommended: m/00000/0\n"


def test_that_no_epoch_can_be_recommended_is_no_success(folder: Path) -> None:
    write_run(folder / "runs" / "old" / "00000", [{"val_original_lossf": 0.5}], {"status": "interrupted"})
    result = call(folder, "old/0")
    assert (result.return_value, result.stdout) == (1, "")
    assert "no epoch can be recommended" in result.stderr

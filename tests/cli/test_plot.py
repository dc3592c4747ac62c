"""`cr_trainer plot` on the command line."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.simulation import demo_data
from tests.cli.test_build import run
from tests.factories.jets import converted_jets, converted_metadata


@pytest.fixture
def jets_file(tmp_path: Path) -> Path:
    """Some converted jets."""
    write_jets(tmp_path / "jets.parquet", converted_jets(100), converted_metadata())
    return tmp_path / "jets.parquet"


def test_a_file_becomes_a_report_and_the_command_says_where(
    tmp_path: Path, jets_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "plot", f"mine={jets_file}", "--common_plots", "jet_pt,clus_pt_0") == 0
    said = capsys.readouterr().out
    assert "100 jets of 1 file looked" in said
    assert "reports/report.html" in said
    assert "| mine |" in (tmp_path / "reports" / "report.md").read_text("utf-8")
    figures = {path.stem for path in (tmp_path / "reports" / "report_figures").iterdir()}
    assert {"all_jet_pt", "all_clus_pt_0", "all_n_tracks", "file1_labels_jet_pt"} <= figures


def test_a_configuration_of_the_earlier_program_runs(
    tmp_path: Path, jets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.yaml").write_text(
        "common_plots:\n  - [jet_pT, jet_pt]\n  - [MSeg_t0_1, nn_MSeg_t0_1]\n"
        "data_labels_adversary: {0: Multijet MC, 2: Multijet Data}\n"
        "data_labels_main: {0: Multijet MC, 1: Signal MC, 2: BIB Data}\n"
        f"plot_every_column: False\noutput_report: {tmp_path}/old/report.md\n"
        f"input_files:\n  - {{input_file: {jets_file}, legend_name: Test Data}}\n"
    )
    assert run(monkeypatch, "plot", "--config", tmp_path / "old.yaml") == 0
    assert "| Test Data |" in (tmp_path / "old" / "report.md").read_text("utf-8")


def test_without_files_the_demo_is_compared(
    tmp_path: Path, jets_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("main", "control"):
        shutil.copy(jets_file, tmp_path / f"{name}.parquet")
    monkeypatch.setattr(demo_data, "demo_training_files", lambda cache_path: DemoFiles(tmp_path))
    output = tmp_path / "demo" / "report.md"
    assert run(monkeypatch, "plot", "-o", output, "--common_plots", "jet_pt") == 0
    assert "200 jets of 2 files" in capsys.readouterr().out
    assert "| Main |" in output.read_text("utf-8")
    assert "| Control region |" in output.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.parquet"], "none.parquet: no such file"),
        (["empty.pkl"], "empty.pkl: is empty"),
        (["cut.parquet"], "cut.parquet: is not a complete Parquet file"),
        (["=jets.parquet"], "'=jets.parquet' should be NAME=FILE"),
        (["a=jets.parquet", "a=jets.parquet"], "two files are called a"),
        (["jets.parquet", "--common_plots", "jet_ptt"], "did you mean jet_pt?"),
        (["jets.parquet", "--weight_column", "weigth"], "no file has weigth"),
        (["jets.parquet", "--bins", "1"], "bins"),
        (["jets.parquet", "--config", "typo.yaml"], "did you mean common_plots?"),
        (["--run", "default"], "default is no run; give NAME/RUN"),
        (["--run", "default/0"], "no model default under"),
        (["jets.parquet", "--run", "default/0"], "not both"),
    ],
)
def test_mistakes_end_in_one_sentence_and_leave_nothing(
    tmp_path: Path,
    jets_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.pkl").touch()
    Path("cut.parquet").write_bytes(jets_file.read_bytes()[:5000])
    Path("typo.yaml").write_text("common_plot: [jet_pt]\n")
    assert run(monkeypatch, "plot", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not Path("reports").exists()


def test_a_run_is_redrawn_with_the_labels_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "default" / "00003").mkdir(parents=True)
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def note(run: Run, figure_settings: Mapping[str, Any]) -> list[Path]:
        asked.append((run.name, figure_settings))
        return [run.path / "a.png"]

    monkeypatch.setattr(Run, "redraw", note)
    words = ("--run", "default/3", "--output_path", tmp_path / "runs", "--status", "Preliminary")
    assert run(monkeypatch, "plot", *words) == 0
    assert asked == [("default/00003", {"status": "Preliminary"})]
    assert "1 plots of run default/00003" in capsys.readouterr().out

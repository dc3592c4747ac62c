"""`cr_trainer build` and `cr_trainer resample` on the command line."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.cli.main import main
from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Ragged
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit status of a command line."""
    monkeypatch.setattr(sys, "argv", ["cr_trainer", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.fixture
def converted_file(tmp_path: Path) -> Path:
    """Ten jets without constituents."""
    columns = {
        "label": np.zeros(10),
        "jet_pt": np.linspace(50, 400, 10),
        "jet_eta": np.zeros(10),
        "jet_phi": np.zeros(10),
        "eventNumber": np.arange(10),
        "runNumber": np.ones(10),
        "mcEventWeight": np.ones(10),
        "jet_index": np.zeros(10, dtype=np.int16),
    }
    jets = Jets.from_columns(columns, {kind.name: Ragged.empty(len(kind.features), 10) for kind in CONSTITUENTS})
    write_jets(tmp_path / "in.parquet", jets, JetMetadata(stage="converted", data_type=DataType.QCD))
    return tmp_path / "in.parquet"


def test_build_and_resample_say_what_they_did(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted_file.parent
    assert run(monkeypatch, "build", folder / "i*.parquet", "--output-file", folder / "main.parquet") == 0
    assert f"10 jets in {folder / 'main.parquet'}" in capsys.readouterr().out
    assert run(monkeypatch, "resample", folder / "main.parquet", folder / "half.parquet", "0.5") == 0
    assert f"5 of 10 jets in {folder / 'half.parquet'}" in capsys.readouterr().out
    assert len(read_jets(folder / "half.parquet")) == 5


def test_mistakes_end_in_one_sentence_and_status_2(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted_file.parent
    assert run(monkeypatch, "build", folder / "never.parquet", "-o", folder / "main.parquet") == 2
    assert f"error: {folder / 'never.parquet'}: no such file" in capsys.readouterr().err
    assert run(monkeypatch, "build", "-o", folder / "main.parquet") == 2
    assert "no files of jets are given" in capsys.readouterr().err
    assert run(monkeypatch, "build", converted_file) == 2
    assert "output_file must be given" in capsys.readouterr().err
    assert run(monkeypatch, "resample", converted_file, converted_file, "0.5") == 2
    assert "is an input" in capsys.readouterr().err
    assert run(monkeypatch, "resample", converted_file, folder / "out.parquet") == 2
    assert "fraction must be given" in capsys.readouterr().err


def test_printed_settings_are_a_config(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted_file.parent
    words = ("build", converted_file, "-o", folder / "main.parquet", "--no-shuffle", "--kind", "control")
    assert run(monkeypatch, *words, "--print_settings") == 0
    config = folder / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert run(monkeypatch, "build", "--config", config) == 0
    assert read_jets(folder / "main.parquet")["eventNumber"].tolist() == list(range(10))


def test_a_report_is_written_on_request_and_named(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted_file.parent
    words = ("build", converted_file, "-o", folder / "main.parquet", "--report", "--max_weight_share", "0.05")
    assert run(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert f"report: {folder / 'main_report.html'}" in said
    assert (folder / "main_report.html").is_file()


_KILLED_AT_ITS_REPORT = """
import os, signal
from cal_ratio_trainer.reporting import build_report
build_report.write_build_report = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
from cal_ratio_trainer.cli.main import main
main()
"""


def test_a_build_that_was_killed_before_its_report_writes_it_the_next_time(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = converted_file.parent / "main.parquet"
    words = ("build", str(converted_file), "-o", str(output), "--report")
    killed = subprocess.run([sys.executable, "-c", _KILLED_AT_ITS_REPORT, *words], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    content = output.read_bytes()
    assert run(monkeypatch, *words, "--seed", 7) == 2
    assert "exists already" in capsys.readouterr().err
    of_input = converted_file.read_bytes()
    converted_file.write_bytes(of_input[:-1] + bytes([of_input[-1] ^ 1]))
    assert run(monkeypatch, *words) == 2, "an input of the same size is another one"
    converted_file.write_bytes(of_input)
    assert run(monkeypatch, *words) == 0
    assert output.with_name("main_report.html").is_file()
    assert output.read_bytes() == content
    assert run(monkeypatch, *words) == 2


def test_a_table_of_samples_is_a_file_and_a_mistake_in_it_ends_in_one_sentence(
    converted_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted_file.parent
    (folder / "samples.yaml").write_text("364701: {cross_section_pb: 0}")
    words = ("build", converted_file, "-o", folder / "main.parquet", "--samples", folder / "samples.yaml")
    assert run(monkeypatch, *words) == 2
    assert "does not say which sample its jets belong to" in capsys.readouterr().err
    assert not (folder / "main.parquet").exists()

"""`cr_trainer convert divertanalysis` on the command line."""

import sys
from pathlib import Path

import pytest

from cal_ratio_trainer.cli import ntuples
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS, EXIT_IN_PROGRESS, EXIT_USER_ERROR, main
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.jets.loading import read_jets
from tests.factories.ntuples import event, write_ntuple

TWO_EVENTS = [event((100, 0.0, 0.0), number=1), event((30, 0.0, 0.0), number=2)]


def run(monkeypatch: pytest.MonkeyPatch, *words: Path | str) -> int:
    """Exit status of a call."""
    monkeypatch.setattr(sys, "argv", ["cr_trainer", "convert", "divertanalysis", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("spelling", ["-data_type", "--data_type", "--data-type"])
def test_files_are_converted_and_a_cutflow_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spelling: str
) -> None:
    write_ntuple(tmp_path / "a.root", TWO_EVENTS)
    write_ntuple(tmp_path / "b.root", TWO_EVENTS)
    assert run(monkeypatch, tmp_path / "*.root", spelling, "qcd", "--output_path", tmp_path / "jets") == 0
    said, error = capsys.readouterr()
    assert error.endswith(f"Next: cr_trainer build '{tmp_path / 'jets'}/*.parquet' --kind main --output main.parquet\n")
    assert "Cutflow of qcd" in said
    rows = [line.replace("│", "").split() for line in said.splitlines()]
    assert ["read", "4", "4", "4"] in rows
    assert ["with", "clusters", "2", "2", "2"] in rows
    assert f"2 files: 2 converted. The jets are in {tmp_path / 'jets'}." in said
    assert len(read_jets(tmp_path / "jets" / "a.parquet")) == 1


def test_the_last_lines_name_the_files_of_each_training_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "qcd"):
        write_ntuple(tmp_path / f"{name}.root", TWO_EVENTS)
    entries = ", ".join(f"{{input_file: {name}.root, data_type: {name}}}" for name in ("data", "qcd"))
    (tmp_path / "both.yaml").write_text(f"input_files: [{entries}]\n")
    both = "Next: cr_trainer build 'jets/*.parquet' --kind control --output control.parquet\n"
    data = (
        "Next (MULTIJETS... are converted files of qcd): cr_trainer build 'jets/*.parquet' MULTIJETS... --kind control "
        "--output control.parquet\n"
    )
    for words, said in ((("--config", "both.yaml"), both), (("data.root", "--data_type", "data"), data)):
        assert run(monkeypatch, *words, "--output_path", "jets") == 0
        assert capsys.readouterr().err.endswith(said)


def test_a_failed_file_is_named_with_its_reason_and_the_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_ntuple(tmp_path / "a.root", TWO_EVENTS)
    lacking = write_ntuple(tmp_path / "b.root", TWO_EVENTS, without=["MSeg_t0"])
    words = (good, lacking, "--data_type", "qcd", "--output_path", tmp_path / "jets")
    assert run(monkeypatch, *words) == EXIT_FAILED_PARTS
    said = capsys.readouterr()
    assert "lacks MSeg_t0" in said.out
    assert str(lacking) in said.out
    assert "2 files: 1 converted, 1 failed." in said.out
    assert f"{lacking}: failed: lacks MSeg_t0" in said.err


def test_an_empty_file_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ntuple(tmp_path / "a.root", [])
    assert run(monkeypatch, tmp_path / "a.root", "--data_type", "data", "--output_path", tmp_path / "jets") == 0
    assert "1 file: 1 empty." in capsys.readouterr().out


def test_a_user_mistake_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_EVENTS)
    words = (file, "--data_type", "sig", "--llp_mH", "125", "--output_path", tmp_path / "jets")
    assert run(monkeypatch, *words) == EXIT_USER_ERROR
    assert f"error: {file}: signal needs llp_mS" in capsys.readouterr().err
    assert not (tmp_path / "jets").exists()


def test_a_list_in_yaml_is_converted_with_flags_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_EVENTS)
    config = tmp_path / "convert.yaml"
    config.write_text(f"input_files: [{{input_file: {file}, data_type: qcd, output_dir: qcd}}]\nmin_jet_pt: 20\n")
    words = ("--config", config, "--output_path", tmp_path / "jets", "--max_events", "2", "--workers", "2")
    assert run(monkeypatch, *words) == 0
    assert len(read_jets(tmp_path / "jets" / "qcd" / "a.parquet")) == 2
    assert "1 file: 1 converted" in capsys.readouterr().out


def test_files_that_another_command_converts_have_an_exit_status_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_ntuple(tmp_path / "a.root", TWO_EVENTS)
    lacking = write_ntuple(tmp_path / "b.root", TWO_EVENTS, without=["MSeg_t0"])
    words = ("--data_type", "qcd", "--output_path", tmp_path / "jets")
    with leased(tmp_path / "jets" / "a.parquet"):
        assert run(monkeypatch, good, *words) == EXIT_IN_PROGRESS
        assert run(monkeypatch, good, lacking, *words) == EXIT_FAILED_PARTS
    assert "1 file: 1 in progress elsewhere." in capsys.readouterr().out
    assert run(monkeypatch, good, *words) == 0


@pytest.mark.parametrize("words", [["-data_typ", "sig"], ["-data_typ=sig"]])
def test_a_mistyped_option_with_one_dash_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(monkeypatch, "a.root", *words) == EXIT_USER_ERROR
    assert "No such option '-data_typ' (did you mean --data_type?)" in capsys.readouterr().err


def test_of_very_many_files_those_that_are_converted_have_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ntuples, "_MAX_ROWS", 1)
    good = write_ntuple(tmp_path / "good.root", TWO_EVENTS)
    words = (good, tmp_path / "lost.root", "--data_type", "qcd", "--output_path", tmp_path / "jets")
    assert run(monkeypatch, *words) == EXIT_FAILED_PARTS
    said = capsys.readouterr().out
    assert str(tmp_path / "lost.root") in said
    assert str(good) not in said
    assert "2 files: 1 converted, 1 failed." in said

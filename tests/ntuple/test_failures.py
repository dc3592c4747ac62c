"""The list of files that could not be converted."""

from dataclasses import replace
from pathlib import Path

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.ntuple import ConversionRow, Status, convert_files
from cal_ratio_trainer.ntuple.summary import FAILED_FILES, failed_in, record_failures
from tests.factories.ntuples import event, write_ntuple


def row(folder: Path, name: str, status: Status, reason: str = "") -> ConversionRow:
    """Row of one file."""
    return ConversionRow(f"/in/{name}.root", folder / f"{name}.parquet", status, reason)


def test_failed_files_stand_in_the_folder_of_their_results_until_they_are_converted(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    failed = row(first, "a", Status.FAILED, "is\ntruncated")
    record_failures([failed, row(first, "b", Status.CONVERTED), row(second, "c", Status.EMPTY)])
    assert failed_in(first) == {"/in/a.root": "is truncated"}
    assert not (second / FAILED_FILES).exists()
    record_failures([row(first, "d", Status.FAILED, "no tree")])
    assert failed_in(first) == {"/in/a.root": "is truncated", "/in/d.root": "no tree"}
    record_failures([replace(failed, status=Status.CONVERTED), row(first, "d", Status.CONVERTED)])
    assert failed_in(first) == {}
    assert not (first / FAILED_FILES).exists()


def test_a_file_whose_result_is_there_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("of an earlier call")
    record_failures([row(tmp_path, "a", Status.FAILED, "was converted with other options")])
    assert failed_in(tmp_path) == {}


def test_convert_lists_what_failed_and_takes_it_off_again(tmp_path: Path) -> None:
    (tmp_path / "a.root").write_text("no ROOT")
    settings = ConvertSettings.make(
        input_files=[str(tmp_path / "a.root"), str(tmp_path / "none*.root")],
        data_type="qcd",
        output_path=tmp_path / "jets",
    )
    convert_files(settings)
    assert list(failed_in(tmp_path / "jets")) == [str(tmp_path / "a.root")]
    write_ntuple(tmp_path / "a.root", [event((100, 0, 0))])
    convert_files(settings)
    assert sorted(path.name for path in (tmp_path / "jets").iterdir()) == ["a.parquet"]

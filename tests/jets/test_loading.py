"""Files of jets of any kind, recognised by their content."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.files.atomic import UnusableOutput
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import OutputExists, check_output, open_jets, read_jets, writing_layout
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from tests.factories.files import SCALING, write_flat
from tests.factories.jets import (
    assert_same_constituents,
    assert_same_jets,
    converted_jets,
    converted_metadata,
    synthetic_jets,
)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The same jets in all formats, under meaningless or misleading names."""
    jets = converted_jets(8)
    found = {"ragged Parquet": tmp_path / "a.pkl", "flat Parquet": tmp_path / "b", "pickled frame": tmp_path / "c.h5"}
    write_jets(tmp_path / "1.parquet", jets, converted_metadata())
    write_flat(tmp_path / "2.parquet", jets, converted_metadata())
    write_flat(tmp_path / "3.pkl", jets, converted_metadata())
    for number, path in enumerate(found.values(), start=1):
        next(tmp_path.glob(f"{number}.*")).rename(path)
    return found


def test_formats_are_told_apart_by_content(files: dict[str, Path]) -> None:
    for layout, path in files.items():
        file = open_jets(path)
        assert file.report.layout == layout
        assert file.rows == 8
        assert file.metadata.rows == 8


def test_a_file_that_was_rewritten_without_its_metadata_is_told_in_one_sentence(files: dict[str, Path]) -> None:
    path = files["ragged Parquet"]
    pq.write_table(pq.read_table(path), path)
    with pytest.raises(InputFileError, match=r"not the metadata.*'cal_ratio_trainer'.*must copy them"):
        open_jets(path)


def test_all_formats_give_the_same_jets(files: dict[str, Path]) -> None:
    expected = converted_jets(8)
    for path in files.values():
        assert_same_constituents(read_jets(path), expected)
        assert_same_constituents(Jets.concatenate(list(open_jets(path).batches(3))), expected)
        assert open_jets(path).scalars(["label", "runNumber"]).column("runNumber").to_pylist() == [284500] * 8
    assert_same_jets(read_jets(files["ragged Parquet"]), expected)


def test_years_and_energy_of_a_built_file_come_from_the_run_numbers_of_its_jets(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 2])
    jets = synthetic_jets(labels, 1).with_columns({"runNumber": np.array([300000, 310000, 348885, 276262], np.uint32)})
    for name, some, simulation in (
        ("both", [0, 1, 2, 3], None),
        ("simulation", [0, 1], None),
        ("demo", [0, 2], "demo"),
    ):
        metadata = JetMetadata(stage="built", kind="main", scaling=SCALING, simulation=simulation)
        write_jets(tmp_path / name, jets.take(np.array(some)), metadata)
    assert open_jets(tmp_path / "both").data_taking() == DataTaking(None, False, (2015, 2018), (13.0,))
    assert open_jets(tmp_path / "simulation").data_taking() == DataTaking(None, True, (), (13.0,))
    assert open_jets(tmp_path / "demo").data_taking() == DataTaking("demo")


def test_a_scalar_that_is_not_there_is_answered_with_the_nearest(files: dict[str, Path]) -> None:
    for path in files.values():
        with pytest.raises(MissingColumn, match=r"runNumbr \(did you mean runNumber\?\)"):
            open_jets(path).scalars(["runNumbr"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"root\x00\x00", "convert divertanalysis"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"PK\x03\x04", "zip"),
        (b"", "is empty"),
        (b"label,jet_pt\n", "neither a Parquet file nor a pickled frame"),
        (b"PAR1 and nothing else", "not a complete Parquet file"),
    ],
)
def test_other_files_are_told_what_they_seem_to_be(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=said):
        read_jets(path)


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is a folder"):
        read_jets(tmp_path)
    with pytest.raises(InputFileError, match="no such file"):
        open_jets(tmp_path / "never")


def test_the_layout_to_write_follows_the_name_and_the_wish(tmp_path: Path) -> None:
    jets = converted_jets(3)
    for name, layout, expected in (
        ("a.parquet", "ragged", "ragged Parquet"),
        ("b.parquet", "flat", "flat Parquet"),
        ("c.pkl", "ragged", "pickled frame"),
    ):
        with writing_layout(tmp_path / name, layout) as writer:  # type: ignore[arg-type]
            writer.write(jets)
            writer.finish(converted_metadata())
        assert open_jets(tmp_path / name).report.layout == expected


def test_an_output_destroys_nothing(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("x")
    link.symlink_to(there)
    with pytest.raises(OutputExists, match="--overwrite"):
        check_output(there, [], overwrite=False)
    check_output(there, [], overwrite=True)
    with pytest.raises(InputFileError, match="cannot be the output too"):
        check_output(there, [link], overwrite=True)
    with pytest.raises(UnusableOutput, match="folder"):
        check_output(tmp_path, [], overwrite=True)


def test_a_flat_parquet_file_of_many_row_groups_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    jets = converted_jets(50)
    write_flat(tmp_path / "one.parquet", jets, converted_metadata())
    pq.write_table(pq.read_table(tmp_path / "one.parquet"), tmp_path / "many.parquet", row_group_size=7)
    assert_same_constituents(read_jets(tmp_path / "many.parquet"), jets)
    np.testing.assert_array_equal(read_jets(tmp_path / "many.parquet")["jet_pt"], jets["jet_pt"])


def test_null_and_unknown_labels_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(6, label=pa.array([0, None, 7, 7, -4, None], pa.int8())), converted_metadata())
    with pytest.raises(
        InputFileError,
        match=r"jets\.parquet: column label has label -4 in 1 row, label 7 in 2 rows, label nan \(or null\) in 2 rows",
    ):
        open_jets(path)

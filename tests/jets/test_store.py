"""Files of this program: jets are read back as written, and other files are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import METADATA_KEY, JetMetadata, Normalisation, Scaling
from cal_ratio_trainer.jets.store import (
    ROWS_A_GROUP,
    JetsWriter,
    RaggedFile,
    read_metadata,
    read_scalars,
    write_jets,
)
from tests.factories.jets import assert_same_jets, converted_jets, converted_metadata
from tests.faults.campaign import run_campaign


@given(count=st.integers(0, 30), seed=st.integers(0, 100), rows=st.integers(1, 40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_whole_or_in_batches(tmp_path: Path, count: int, seed: int, rows: int) -> None:
    jets, path = converted_jets(count, seed=seed), tmp_path / "jets.parquet"
    write_jets(path, jets, converted_metadata())
    assert_same_jets(read_jets(path), jets) if count else None
    batches = list(RaggedFile(path).batches(rows))
    assert all(len(batch) <= rows for batch in batches)
    if batches:
        assert_same_jets(Jets.concatenate(batches), jets)
    assert read_metadata(path).rows == count == len(read_jets(path))


def test_more_jets_than_a_row_group_holds_are_read(tmp_path: Path) -> None:
    jets, path = converted_jets(ROWS_A_GROUP + 7), tmp_path / "jets.parquet"
    write_jets(path, jets, converted_metadata())
    assert pq.ParquetFile(path).num_row_groups == 2
    assert_same_jets(read_jets(path), jets)


def test_jets_without_any_constituent_are_read(tmp_path: Path) -> None:
    jets = converted_jets(3)
    bare = Jets(jets.scalars, {name: Ragged.empty(r.values.shape[1], 3) for name, r in jets.constituents.items()})
    write_jets(tmp_path / "jets.parquet", bare, converted_metadata())
    assert_same_jets(read_jets(tmp_path / "jets.parquet"), bare)


def test_padding_rows_that_are_not_zero_come_back(tmp_path: Path) -> None:
    jets = converted_jets(3)
    clusters = jets.constituents["clusters"]
    padding = np.array([-8.7e-5] + [0.0] * 11, dtype=np.float32)
    jets = Jets(jets.scalars, {**jets.constituents, "clusters": Ragged(clusters.values, clusters.offsets, padding)})
    write_jets(tmp_path / "jets.parquet", jets, JetMetadata(stage="built"))
    np.testing.assert_array_equal(read_jets(tmp_path / "jets.parquet").constituents["clusters"].padding, padding)


def test_metadata_come_back(tmp_path: Path) -> None:
    given = converted_metadata(
        simulation="demo",
        scaling=Scaling(min_jet_pt=0, max_jet_pt=500),
        normalisation=Normalisation(event_count={"nEvents": 100.0}, channel_numbers=[364701]),
        notes=["one"],
        details={"table": [1, 2]},
    )
    write_jets(tmp_path / "jets.parquet", converted_jets(2), given)
    found = read_metadata(tmp_path / "jets.parquet")
    assert found.package_version
    assert found.padding["clusters"] == [0.0] * 12
    without = {"rows", "padding", "package_version"}
    assert found.model_dump(exclude=without) == given.model_dump(exclude=without)


def test_only_the_scalars_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    assert read_scalars(path, ["runNumber"]).column_names == ["runNumber"]
    assert "clus_pt" not in RaggedFile(path).scalar_names()
    with pytest.raises(MissingColumn, match=r"runNumbr \(did you mean runNumber\?\)"):
        read_scalars(path, ["runNumbr"])


def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with writing(tmp_path / "jets.parquet", JetsWriter) as writer:
            writer.write(converted_jets(2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_finished_is_no_file_of_jets(tmp_path: Path) -> None:
    with writing(tmp_path / "jets.parquet", JetsWriter) as writer:
        writer.write(converted_jets(2))
    with pytest.raises(InputFileError, match="metadata are missing"):
        read_metadata(tmp_path / "jets.parquet")


def test_batches_with_other_padding_rows_are_refused(tmp_path: Path) -> None:
    first = converted_jets(2)
    other = {n: Ragged(r.values, r.offsets, r.padding - 1) for n, r in first.constituents.items()}

    def write() -> None:
        with writing(tmp_path / "jets.parquet", JetsWriter) as writer:
            writer.write(first)
            writer.write(Jets(first.scalars, other))

    with pytest.raises(ValueError, match="padding"):
        write()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(200), converted_metadata())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputFileError, match=r"jets\.parquet: is not a complete Parquet file"):
        read_jets(path)


def test_a_damaged_page_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(200), converted_metadata())
    content = bytearray(path.read_bytes())
    place = slice(len(content) // 4, len(content) // 2)
    content[place] = bytes(byte ^ 0x5A for byte in content[place])
    path.write_bytes(bytes(content))
    with pytest.raises(InputFileError, match=r"jets\.parquet: column \w+ is damaged"):
        read_jets(path)


def test_one_flipped_bit_never_changes_a_jet_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    jets = converted_jets(200)
    write_jets(path, jets, converted_metadata())
    whole, refused = path.read_bytes(), 0
    for place in range(100, len(whole) // 2, len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = read_jets(path)
        except InputFileError:
            refused += 1
            continue
        # Data without a checksum, the statistics of a page, are not read.
        assert read.scalars.equals(jets.scalars.cast(read.scalars.schema))
        for name, ragged in jets.constituents.items():
            np.testing.assert_array_equal(read.constituents[name].values, ragged.values)
    assert refused > 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_jets(tmp_path / "never.parquet")


def _rewrite(path: Path, **metadata: object) -> None:
    """The same table with some of its metadata replaced."""
    table = pq.read_table(path)
    raw = json.loads((pq.ParquetFile(path).metadata.metadata or {})[METADATA_KEY]) | metadata
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(raw)}), path)


def test_a_format_of_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    _rewrite(path, format_version=99)
    with pytest.raises(InputFileError, match="format version 99"):
        read_metadata(path)


def test_metadata_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    _rewrite(path, stage="half-done")
    with pytest.raises(InputFileError, match="unreadable metadata"):
        read_jets(path)


def test_a_missing_constituent_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    table = pq.read_table(path)
    raw = (pq.ParquetFile(path).metadata.metadata or {})[METADATA_KEY]
    for dropped in ("track_z0", "clus_pt"):
        pq.write_table(table.drop_columns([dropped]).replace_schema_metadata({METADATA_KEY: raw}), path)
        with pytest.raises(MissingColumn, match=dropped):
            read_jets(path)


def test_lists_of_different_lengths_within_a_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(3), converted_metadata())
    table = pq.read_table(path)
    raw = (pq.ParquetFile(path).metadata.metadata or {})[METADATA_KEY]
    wrong = table.set_column(table.column_names.index("clus_eta"), "clus_eta", table.column("track_eta"))
    pq.write_table(wrong.replace_schema_metadata({METADATA_KEY: raw}), path)
    with pytest.raises(InputFileError, match="clus_eta has lists of other lengths"):
        read_jets(path)


@pytest.mark.parametrize(
    ("column", "content", "words"),
    [
        ("jet_eta", ["x", "y"], "column jet_eta holds string where numbers should be"),
        ("clus_pt", [["x"], []], "column clus_pt holds list.* where lists of numbers should be"),
        ("clus_pt", [1.0, 2.0], "column clus_pt holds double where lists of numbers should be"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: str, content: list[object], words: str) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    table = pq.read_table(path)
    raw = (pq.ParquetFile(path).metadata.metadata or {})[METADATA_KEY]
    wrong = table.set_column(table.column_names.index(column), column, pa.array(content))
    pq.write_table(wrong.replace_schema_metadata({METADATA_KEY: raw}), path)
    with pytest.raises(InputFileError, match=words):
        read_scalars(path, ["jet_eta"])
    with pytest.raises(InputFileError, match=words):
        read_jets(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *[({"format_version": each}, "has format version") for each in ("2", 1.5, -3, True, None, [1], 0)],
        ({"padding": {"clusters": [0.0, 0.0]}}, "padding row of clusters has 2 numbers where 12 are expected"),
        ({"padding": {"clusters": ["text"] * 12}}, "padding.clusters.0: Input should be a valid number"),
        ({"padding": {"tracks": [1e38] + [0.0] * 12}}, r"padding row of tracks holds 1e\+38 for track_pt"),
        ({"padding": {"tracks": [float("nan")] + [0.0] * 12}}, "padding row of tracks holds nan for track_pt"),
    ],
)
def test_odd_metadata_are_told_in_a_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(2), converted_metadata())
    _rewrite(path, **changes)
    with pytest.raises(InputFileError, match=rf"jets\.parquet: .*{said}"):
        read_jets(path)


def test_a_file_without_checksums_is_not_asked_for_numbers_at_which_pyarrow_aborts(tmp_path: Path) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, converted_jets(20), converted_metadata())
    assert RaggedFile(path).max_constituents()["clusters"] >= len(read_jets(path).constituents["clusters"].values)
    _rewrite(path)
    assert RaggedFile(path).max_constituents() == {}
    # Input 12147 of 20,000: one byte of the size statistics of a column in the footer.
    assert not run_campaign("jets of an earlier version", 1, first=12147).faults

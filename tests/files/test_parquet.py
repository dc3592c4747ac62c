"""Parquet files of this program: damage is always detected."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.parquet import (
    ParquetOutput,
    append_table,
    open_parquet,
    read_columns,
    read_table,
    write_parquet,
)

KEY = b"key"
TABLE = pa.table(
    {
        "word": pa.array(np.random.default_rng(1).integers(0, 2**63, 40, dtype=np.uint64)),
        "part": pa.array(np.arange(40) % 3, pa.int8()),
        "list": pa.array([[0.5 * i] * (i % 4) for i in range(40)], pa.list_(pa.float32())),
    }
)


def content(path: Path) -> tuple[pa.Table, bytes]:
    """Content read from a file."""
    file = open_parquet(path)
    return read_columns(path, file, TABLE.column_names), file.metadata.metadata[KEY]


def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    path, refused = tmp_path / "file.parquet", 0
    encoding = {"list.list.element": "BYTE_STREAM_SPLIT"}
    write_parquet(path, TABLE, {KEY: b"value"}, use_dictionary=["part"], column_encoding=encoding, store_schema=False)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            table, value = content(path)
        except InputFileError:
            refused += 1
            continue
        assert table.equals(TABLE), place
        assert value == b"value", place
    # The first magic bytes and the mark remain; without the mark the file counts as one of another program.
    assert len(whole) - refused <= 12


@pytest.mark.parametrize("name", TABLE.column_names)
def test_the_damaged_column_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.parquet"
    write_parquet(path, TABLE, {KEY: b"value"})
    column = pq.read_metadata(path).row_group(0).column(TABLE.column_names.index(name))
    place = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InputFileError, match=rf"file\.parquet: column {name} is damaged"):
        content(path)


def test_a_damaged_page_of_a_file_without_our_table_is_named_by_its_own_checksum(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(TABLE, path, write_page_checksum=True, use_dictionary=False, compression="none")
    column = pq.read_metadata(path).row_group(0).column(1)
    place = column.data_page_offset + column.total_compressed_size - 1
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InputFileError, match=r"file\.parquet: column part is damaged"):
        read_columns(path, open_parquet(path), TABLE.column_names)


def test_other_programs_read_our_files_and_we_theirs(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    write_parquet(ours, TABLE, {KEY: b"value"})
    table = pq.read_table(ours, page_checksum_verification=True)
    assert table.equals(TABLE)
    pq.write_table(table.replace_schema_metadata({KEY: b"value"}), theirs)
    found, value = content(theirs)
    assert found.equals(TABLE)
    assert value == b"value"


def test_row_groups_are_read_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    output = ParquetOutput(path, TABLE.schema)
    for start in range(0, 40, 10):
        output.write(TABLE.slice(start, 10))
    output.finish()
    file = open_parquet(path)
    assert file.num_row_groups == 4
    assert file.read_row_group(2, ["part"]).column("part").to_pylist() == TABLE.column("part").to_pylist()[20:30]


def test_columns_of_one_name_and_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.Table.from_arrays([TABLE.column("word")] * 2, names=["word", "word"]), path)
    with pytest.raises(InputFileError, match=r"file\.parquet: has more than one column word"):
        open_parquet(path)
    pq.write_table(TABLE, path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"part", b"pa\xfft"))
    with pytest.raises(InputFileError, match=r"file\.parquet: has a column whose name is not UTF-8"):
        open_parquet(path)


def test_tables_are_read_as_they_were_written_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tables.piece"
    tables = [pa.table({"jet": list(range(count))}) for count in (3, 0, 5)]
    with path.open("wb") as file:
        stored = [append_table(file, table) for table in tables]
    whole = path.read_bytes()
    with path.open("rb") as file:
        for table, place in reversed(list(zip(tables, stored, strict=True))):
            assert read_table(file, place, path).to_pydict() == table.to_pydict()
    for damaged in (whole[:-1], whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:]):
        path.write_bytes(damaged)
        with path.open("rb") as file, pytest.raises(InputFileError, match=r"tables\.piece: was damaged"):
            read_table(file, stored[2], path)

"""Tables passed between processes."""

from pathlib import Path

import pyarrow as pa
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.streams import append_table, read_table


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

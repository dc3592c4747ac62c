"""Tables that our own processes hand to each other in files: one Arrow stream each, verified as it is read."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from cal_ratio_trainer.errors import InputFileError


@dataclass(frozen=True)
class StoredTable:
    """A table in a file: its first byte, its size in bytes and their CRC-32."""

    start: int
    size: int
    crc: int


def append_table(file: IO[bytes], table: pa.Table, compression: str | None = None) -> StoredTable:
    """Write a table where the file is now."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    content = sink.getvalue()
    stored = StoredTable(file.tell(), content.size, zlib.crc32(content))
    file.write(content)
    return stored


def read_table(file: IO[bytes], stored: StoredTable, path: Path) -> pa.Table:
    """Read a table; `path` is for messages. Raises InputFileError where it is not what was written."""
    file.seek(stored.start)
    content = file.read(stored.size)
    if len(content) != stored.size or zlib.crc32(content) != stored.crc:
        raise InputFileError(path, "was damaged between writing and reading (a bad disk?); run the command again")
    return pa.ipc.open_stream(pa.py_buffer(content)).read_all()

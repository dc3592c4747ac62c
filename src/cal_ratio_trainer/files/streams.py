"""Arrow tables that processes of one command pass to each other in files, with a checksum each."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from cal_ratio_trainer.errors import InputFileError


@dataclass(frozen=True)
class StoredTable:
    """Place of a table in a file.

    Attributes:
        start: offset of its first byte. [bytes]
        size: of its Arrow stream. [bytes]
        crc: CRC-32 of the stream.
    """

    start: int
    size: int
    crc: int


def append_table(file: IO[bytes], table: pa.Table, compression: str | None = None) -> StoredTable:
    """Appends a table to a file as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    content = sink.getvalue()
    stored = StoredTable(file.tell(), content.size, zlib.crc32(content))
    file.write(content)
    return stored


def read_table(file: IO[bytes], stored: StoredTable, path: Path) -> pa.Table:
    """Reads a table; `path` names the file in messages. Raises InputFileError where the bytes have changed."""
    file.seek(stored.start)
    content = file.read(stored.size)
    if len(content) != stored.size or zlib.crc32(content) != stored.crc:
        raise InputFileError(path, "was damaged between writing and reading (a bad disk?); run the command again")
    return pa.ipc.open_stream(pa.py_buffer(content)).read_all()

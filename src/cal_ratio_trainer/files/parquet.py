"""Opens and writes Parquet files and streams of tables; a checksum covers every byte that a reader depends on.

The page checksums of the format cover neither the page headers (encoding, number of values) nor the footer (names,
counts, metadata). Files of this program therefore have a table of checksums between data and footer, a place that
other readers ignore:

    data | end (uint64) and CRC-32 (uint32) of each block | number of blocks (uint64) | SHA-256 | magic bytes | footer

A block is what the writer wrote in one call: the header or the content of a page. Blocks are verified as they are read.
The SHA-256 covers the table, the number of blocks, the magic bytes and the footer, and is verified when the file is
opened.
"""

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError

_BLOCK = np.dtype([("end", "<u8"), ("crc", "<u4")])

_MAGIC = b"CRTBLKS1"

_TRAILER_BYTES = 8 + 32 + len(_MAGIC)

_END_BYTES = 8  # length of the footer (uint32) and PAR1

_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)

_NO_MEMORY = "cannot be read: there is too little memory, or its counts are damaged"


@dataclass(frozen=True)
class StoredTable:
    """Place of a table in a file.

    Attributes:
        start: offset of its first byte. [bytes]
        size: length of its Arrow stream. [bytes]
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
    """Reads a table; `path` names the file in messages. Raises InputFileError if the bytes have changed."""
    file.seek(stored.start)
    content = file.read(stored.size)
    if len(content) != stored.size or zlib.crc32(content) != stored.crc:
        raise InputFileError(path, "was damaged between writing and reading (a bad disk?); run the command again")
    return pa.ipc.open_stream(pa.py_buffer(content)).read_all()


def open_parquet(path: Path) -> pq.ParquetFile:
    """Opens any Parquet file; data of a file with our checksums is verified as it is read.

    Raises:
        InputFileError: it is missing, truncated, damaged or not Parquet; a column name is not UTF-8, or comes twice.
    """
    if not path.is_file():
        raise InputFileError(path, "no such file")
    try:
        # Checksums and data come from one open file, since another process may replace the file at any time.
        opened = path.open("rb")
        blocks = _blocks_in(path, opened)
        if blocks is None:
            opened.close()
            file = pq.ParquetFile(path, page_checksum_verification=True)
        else:
            file = pq.ParquetFile(_VerifiedFile(path, opened, blocks))
        names = file.schema_arrow.names
        rows = sum(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
    except UnicodeDecodeError as error:
        raise InputFileError(path, f"has a column whose name is not UTF-8 ({error})") from error
    except MemoryError as error:
        raise InputFileError(path, _NO_MEMORY) from error
    except _DAMAGE as error:
        raise InputFileError(path, f"is not a complete Parquet file ({error})") from error
    if rows != file.metadata.num_rows:
        raise InputFileError(path, f"is damaged: its row groups have {rows} rows, its footer {file.metadata.num_rows}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputFileError(path, f"has more than one column {', '.join(twice)}")
    return file


def is_verified(path: Path) -> bool:
    """True for a file with our checksums, whose footer can be trusted.

    Damaged column metadata in other files can abort the process inside pyarrow.
    """
    with path.open("rb") as file:
        return _blocks_in(path, file) is not None


def read_row_group(path: Path, file: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads columns (None: all) of a row group. Raises InputFileError that names the damaged column."""
    with damage_named(path, file, group, columns):
        table = file.read_row_group(group, columns)
    refuse_missing_rows(path, file, group, len(table), columns)
    return table


def refuse_missing_rows(path: Path, file: pq.ParquetFile, group: int, rows: int, columns: Sequence[str] | None) -> None:
    """Raises InputFileError if the number of rows read from a row group differs from that in the footer."""
    expected = file.metadata.row_group(group).num_rows
    if rows != expected:
        named = f"column {columns[0]}" if columns and len(columns) == 1 else f"row group {group}"
        raise InputFileError(path, f"{named} is damaged: it holds {rows} rows where the footer says {expected}")


def read_columns(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Reads columns of a whole file; raises as `read_row_group`."""
    parts = [read_row_group(path, file, group, columns) for group in range(file.num_row_groups)]
    return pa.concat_tables(parts) if parts else file.schema_arrow.empty_table().select(columns)


@contextmanager
def damage_named(path: Path, file: pq.ParquetFile, group: int, columns: Sequence[str] | None) -> Iterator[None]:
    """Turns errors of reading a row group into InputFileError that names the damaged column (of `columns`, or all)."""
    try:
        yield
    except MemoryError as error:
        raise InputFileError(path, _NO_MEMORY) from error
    except _DAMAGE as error:
        found = ""
        for name in columns or file.schema_arrow.names:
            try:
                file.read_row_group(group, [name])
            except (*_DAMAGE, MemoryError):
                found = f"column {name} "
                break
        raise InputFileError(path, f"{found}is damaged ({error})") from error


class ParquetOutput:
    """Writes tables, one row group each, to a Parquet file with checksums.

    Args:
        path: the file.
        schema: schema of all tables.
        options: options of `pyarrow.parquet.ParquetWriter`.
    """

    def __init__(self, path: Path, schema: pa.Schema, **options: Any) -> None:
        self._path, self.schema = path, schema
        self._file = _BlockFile(path)
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", write_page_checksum=True, **options)

    def write(self, table: pa.Table) -> None:
        """Appends the rows of a table."""
        self._writer.write_table(table.cast(self.schema))

    def finish(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Completes the file, with `metadata` in its footer."""
        self._writer.add_key_value_metadata(dict(metadata or {}))
        self._writer.close()
        self._file.close()
        _insert_blocks(self._path, self._file.blocks)

    def close(self) -> None:
        """Closes the file without checksums; no effect after `finish`."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()


def write_parquet(path: Path, table: pa.Table, metadata: Mapping[bytes, bytes], **options: Any) -> None:
    """Writes one table as `ParquetOutput` does."""
    output = ParquetOutput(path, table.schema, **options)
    try:
        output.write(table)
        output.finish(metadata)
    finally:
        output.close()


class _BlockFile(io.RawIOBase):
    """A file for writing that records a block per call: (end, CRC-32)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.blocks: list[tuple[int, int]] = []
        self._end = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._end

    def write(self, content: Any) -> int:
        self._file.write(content)
        self._end += len(content)
        self.blocks.append((self._end, zlib.crc32(content)))
        return len(content)

    def close(self) -> None:
        super().close()
        self._file.close()


class _VerifiedFile(io.RawIOBase):
    """A file for reading that verifies its blocks as they are read."""

    def __init__(self, path: Path, file: BinaryIO, blocks: NDArray[Any]) -> None:
        self._path, self._file = path, file
        self._size = os.fstat(self._file.fileno()).st_size
        self._ends = np.append(np.uint64(0), blocks["end"]).astype(np.int64)
        self._sums = blocks["crc"]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes | memoryview:
        stop = self._size if size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, stop
        # Everything after the data was verified when the file was opened.
        first = int(np.searchsorted(self._ends, start, side="right")) - 1
        last = min(int(np.searchsorted(self._ends, stop)), len(self._sums))
        if first >= last:
            return self._content(start, stop)
        begin, end = int(self._ends[first]), max(stop, int(self._ends[last]))
        content = memoryview(self._content(begin, end))
        for block in range(first, last):
            place = slice(int(self._ends[block]) - begin, int(self._ends[block + 1]) - begin)
            if zlib.crc32(content[place]) != self._sums[block]:
                raise InputFileError(
                    self._path,
                    f"{self._column_at(int(self._ends[block]))} is damaged: bytes "
                    f"{begin + place.start} to {begin + place.stop} differ from those that were written",
                )
        return content[start - begin : stop - begin]

    def _content(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(stop - start)

    def _column_at(self, offset: int) -> str:
        footer = pq.read_metadata(self._path)
        for group in range(footer.num_row_groups):
            for number in range(footer.num_columns):
                column = footer.row_group(group).column(number)
                start = column.dictionary_page_offset or column.data_page_offset
                if start <= offset < start + column.total_compressed_size:
                    return f"column {column.path_in_schema.partition('.')[0]}"
        return "the file"

    def close(self) -> None:
        self._file.close()
        super().close()


def _insert_blocks(path: Path, written: Sequence[tuple[int, int]]) -> None:
    """Inserts the table of blocks before the footer of a complete Parquet file."""
    with path.open("r+b") as file:
        size = file.seek(0, io.SEEK_END)
        start = _footer_start(file, size)
        file.seek(start)
        footer = file.read()
        blocks = [block for block in written if block[0] <= start]
        if blocks[-1][0] < start:
            file.seek(blocks[-1][0])
            blocks.append((start, zlib.crc32(file.read(start - blocks[-1][0]))))
        table = np.array(blocks, dtype=_BLOCK).tobytes() + len(blocks).to_bytes(8, "little")
        file.seek(start)
        file.write(table + hashlib.sha256(table + _MAGIC + footer).digest() + _MAGIC + footer)


def _blocks_in(path: Path, file: BinaryIO) -> NDArray[Any] | None:
    """Reads the table of blocks; None without one. Raises InputFileError if it or the footer is damaged."""
    start = _footer_start(file, os.fstat(file.fileno()).st_size)
    if start < _TRAILER_BYTES:
        return None
    file.seek(start - _TRAILER_BYTES)
    trailer = file.read(_TRAILER_BYTES)
    if not trailer.endswith(_MAGIC):
        return None
    length = _BLOCK.itemsize * int.from_bytes(trailer[:8], "little")
    table_start = start - _TRAILER_BYTES - length
    if table_start >= 0:
        file.seek(table_start)
        table = file.read(length)
        file.seek(start)
        footer = file.read()
        if hashlib.sha256(table + trailer[:8] + _MAGIC + footer).digest() == trailer[8:40]:
            return np.frombuffer(table, dtype=_BLOCK)
    raise InputFileError(path, "its footer is damaged: columns, counts or metadata differ from those that were written")


def _footer_start(file: Any, size: int) -> int:
    if size < _END_BYTES:
        return -1
    file.seek(size - _END_BYTES)
    return size - _END_BYTES - int.from_bytes(file.read(4), "little")

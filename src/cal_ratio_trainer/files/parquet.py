"""The one place that opens and writes Parquet files; a checksum stands behind each byte that a reader goes by.

The checksums of pages that the format knows leave out what decides how a page is read (its encoding, how many values
it holds) and the footer (names, counts, metadata). A file of ours therefore has a table of blocks between its data and
its footer, where other readers look at nothing:

    data | end (uint64) and CRC-32 (uint32) of each block | number of blocks (uint64) | SHA-256 | mark | footer

The SHA-256 is that of the table and of all that follows the data, but for itself. Blocks are verified as they are read.
"""

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError

_BLOCK = np.dtype([("end", "<u8"), ("crc", "<u4")])
_MARK = b"CRTBLKS1"
_TRAILER = 8 + 32 + len(_MARK)
_END = 8  # the footer's length and the magic bytes PAR1
_BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError)
_NO_MEMORY = "cannot be read: there is too little memory, or its counts are damaged"


def open_parquet(path: Path) -> pq.ParquetFile:
    """Any Parquet file; what is read of one of ours is verified.

    Raises:
        InputFileError: it is missing, truncated, damaged or none; a column has no proper name, or comes twice.
    """
    if not path.is_file():
        raise InputFileError(path, "no such file")
    try:
        # Opened once: a file that another process puts in its place meanwhile is none of the one that is read.
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
        raise InputFileError(path, f"has a column whose name is no UTF-8 text ({error})") from error
    except MemoryError as error:
        raise InputFileError(path, _NO_MEMORY) from error
    except _BROKEN as error:
        raise InputFileError(path, f"is not a complete Parquet file ({error})") from error
    if rows != file.metadata.num_rows:
        raise InputFileError(path, f"is damaged: its row groups have {rows} rows, its footer {file.metadata.num_rows}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputFileError(path, f"has more than one column {', '.join(twice)}")
    return file


def is_verified(path: Path) -> bool:
    """True for a file of ours, whose footer was verified; of another one pyarrow aborts at odd metadata of columns."""
    with path.open("rb") as file:
        return _blocks_in(path, file) is not None


def read_row_group(path: Path, file: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Some columns (None: all) of a row group. Raises InputFileError where they are damaged; names the column."""
    with damage_named(path, file, group, columns):
        table = file.read_row_group(group, columns)
    refuse_missing_rows(path, file, group, len(table), columns)
    return table


def refuse_missing_rows(path: Path, file: pq.ParquetFile, group: int, rows: int, columns: Sequence[str] | None) -> None:
    """Raises InputFileError where other numbers of rows of a row group were read than its footer says."""
    expected = file.metadata.row_group(group).num_rows
    if rows != expected:
        named = f"column {columns[0]}" if columns and len(columns) == 1 else f"row group {group}"
        raise InputFileError(path, f"{named} is damaged: it holds {rows} rows where the footer says {expected}")


def read_columns(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Some columns of a whole file, errors as `read_row_group`."""
    parts = [read_row_group(path, file, group, columns) for group in range(file.num_row_groups)]
    return pa.concat_tables(parts) if parts else file.schema_arrow.empty_table().select(columns)


@contextmanager
def damage_named(path: Path, file: pq.ParquetFile, group: int, columns: Sequence[str] | None) -> Iterator[None]:
    """Turns errors of reading columns of a row group into InputFileError that names the damaged one."""
    try:
        yield
    except MemoryError as error:
        raise InputFileError(path, _NO_MEMORY) from error
    except _BROKEN as error:
        found = ""
        for name in columns or file.schema_arrow.names:
            try:
                file.read_row_group(group, [name])
            except (*_BROKEN, MemoryError):
                found = f"column {name} "
                break
        raise InputFileError(path, f"{found}is damaged ({error})") from error


class ParquetOutput:
    """Writes tables, a row group each, into one Parquet file with checksums.

    Args:
        path: the file.
        schema: of all tables.
        options: further ones of `pyarrow.parquet.ParquetWriter`.
    """

    def __init__(self, path: Path, schema: pa.Schema, **options: Any) -> None:
        self._path, self.schema = path, schema
        self._file = _BlockFile(path)
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", write_page_checksum=True, **options)

    def write(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        self._writer.write_table(table.cast(self.schema))

    def finish(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Complete the file, with these keys and values in its footer."""
        self._writer.add_key_value_metadata(dict(metadata or {}))
        self._writer.close()
        self._file.close()
        _insert_blocks(self._path, self._file.blocks)

    def close(self) -> None:
        """Close the file as it is; without effect after `finish`."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()


def write_parquet(path: Path, table: pa.Table, metadata: Mapping[bytes, bytes], **options: Any) -> None:
    """Write one table as `ParquetOutput` does."""
    output = ParquetOutput(path, table.schema, **options)
    try:
        output.write(table)
        output.finish(metadata)
    finally:
        output.close()


class _BlockFile(io.RawIOBase):
    """A file to write to; each call, a page's header or its content, is a block."""

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
    """A file to read from, whose blocks are verified as they are read."""

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
        # What lies behind the data was verified when the file was opened.
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
                    f"{begin + place.start} to {begin + place.stop} are not those that were written",
                )
        return content[start - begin : stop - begin]

    def _content(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(stop - start)

    def _column_at(self, place: int) -> str:
        footer = pq.read_metadata(self._path)
        for group in range(footer.num_row_groups):
            for number in range(footer.num_columns):
                column = footer.row_group(group).column(number)
                start = column.dictionary_page_offset or column.data_page_offset
                if start <= place < start + column.total_compressed_size:
                    return f"column {column.path_in_schema.partition('.')[0]}"
        return "the file"

    def close(self) -> None:
        self._file.close()
        super().close()


def _insert_blocks(path: Path, written: Sequence[tuple[int, int]]) -> None:
    """Put the table of blocks before the footer of a complete file."""
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
        file.write(table + hashlib.sha256(table + _MARK + footer).digest() + _MARK + footer)


def _blocks_in(path: Path, file: BinaryIO) -> NDArray[Any] | None:
    """Blocks of an open file; None where it has no table. Raises InputFileError where it or the footer is damaged."""
    start = _footer_start(file, os.fstat(file.fileno()).st_size)
    if start < _TRAILER:
        return None
    file.seek(start - _TRAILER)
    trailer = file.read(_TRAILER)
    if not trailer.endswith(_MARK):
        return None
    length = _BLOCK.itemsize * int.from_bytes(trailer[:8], "little")
    table_start = start - _TRAILER - length
    if table_start >= 0:
        file.seek(table_start)
        table = file.read(length)
        file.seek(start)
        footer = file.read()
        if hashlib.sha256(table + trailer[:8] + _MARK + footer).digest() == trailer[8:40]:
            return np.frombuffer(table, dtype=_BLOCK)
    raise InputFileError(path, "its footer is damaged: columns, counts and metadata are not those that were written")


def _footer_start(file: Any, size: int) -> int:
    if size < _END:
        return -1
    file.seek(size - _END)
    return size - _END - int.from_bytes(file.read(4), "little")

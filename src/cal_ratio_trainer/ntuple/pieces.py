"""Pieces of a large file on their way: jets of some chunks, in files beside the output, until they are put together."""

import glob
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.files.atomic import USED_BY, remove_remains, replacing
from cal_ratio_trainer.files.leases import Leases
from cal_ratio_trainer.files.parquet import StoredTable, append_table, read_table
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.jets.store import from_arrow, to_arrow
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.summary import Tally

_LETTERS_OF_NAME = 16
_PIECE = re.compile(rf"[0-9a-f]{{{_LETTERS_OF_NAME}}}\.piece")
_PART_OF_PIECE = re.compile(rf"[0-9a-f]{{{_LETTERS_OF_NAME}}}\.{USED_BY}\.part\.piece")
"""Name of a piece that is being written, from `files.atomic.replacing`."""
_REMAINS = re.compile(
    rf"\.{{1,2}}(?P<of_piece>.+)\.[0-9a-f]{{{_LETTERS_OF_NAME}}}(\.{USED_BY}\.part)?\.piece"
    rf"|\.(?P<stem>.+)\.{USED_BY}\.part(?P<suffix>(\.[^.]+)?)",
    re.DOTALL,
)


@dataclass(frozen=True)
class WrittenPiece:
    """A converted piece.

    Attributes:
        path: its file.
        chunks: the jets of each chunk in it.
        tallies: counts, one tally per chunk.
        seconds: duration. [s]
    """

    path: Path
    chunks: tuple[StoredTable, ...]
    tallies: tuple[Tally, ...]
    seconds: float = 0.0


def cut(chunks: Iterable[range], piece_events: int) -> tuple[tuple[range, ...], ...]:
    """Chunks of a file, in order, gathered to pieces of at least so many events (the last may have fewer).

    >>> cut([range(0, 4), range(4, 8), range(8, 9)], 5)
    ((range(0, 4), range(4, 8)), (range(8, 9),))
    """
    pieces: list[tuple[range, ...]] = []
    gathered: list[range] = []
    for chunk in chunks:
        gathered.append(chunk)
        if sum(map(len, gathered)) >= piece_events:
            pieces.append(tuple(gathered))
            gathered = []
    return (*pieces, tuple(gathered)) if gathered else tuple(pieces)


def piece_file(output: Path) -> Path:
    """A new name for a piece of an output, beside it."""
    return output.absolute().with_name(f".{output.name}.{secrets.token_hex(_LETTERS_OF_NAME // 2)}.piece")


def write_piece(output: Path, chunks: Iterable[tuple[Jets, Tally]]) -> WrittenPiece:
    """Writes the jets of some chunks beside the output that they are for.

    Raises:
        OSError: the folder cannot be written.
    """
    tables: list[StoredTable] = []
    tallies: list[Tally] = []
    path = piece_file(output)
    with replacing(path, durable=False) as temporary, temporary.open("wb") as file:
        for jets, tally in chunks:
            tables.append(append_table(file, to_arrow(jets), "zstd"))
            tallies.append(tally)
    return WrittenPiece(path, tuple(tables), tuple(tallies))


def read_piece(piece: WrittenPiece, schema: Schema) -> Iterator[tuple[Jets, Tally]]:
    """The chunks of a piece as they were written. Raises InputFileError where they are not."""
    metadata = JetMetadata(stage="converted", feature_schema=schema)
    with piece.path.open("rb") as file:
        for chunk, tally in zip(piece.chunks, piece.tallies, strict=True):
            yield from_arrow(piece.path, read_table(file, chunk, piece.path), metadata), tally


def remove_pieces(output: Path) -> None:
    """Removes the pieces of an output, including unfinished ones of any process; only for the holder of its lease."""
    for path in output.parent.glob(f"*{glob.escape(output.name)}.*.piece"):
        first, name, rest = path.name.partition(f".{output.name}.")
        if name and ((not first and _PIECE.fullmatch(rest)) or (first == "." and _PART_OF_PIECE.fullmatch(rest))):
            path.unlink(missing_ok=True)


def remove_all_remains(written: Mapping[Path, Path], leases: Leases) -> None:
    """Removes pieces and temporary files that killed processes left beside many outputs; lists each folder once.

    Outputs whose lease another process holds are left alone.

    Args:
        written: every file that is written, and the output whose lease covers it.
        leases: of this process.

    Raises:
        OSError: a folder cannot be read or written.
    """
    by_folder: dict[Path, dict[str, Path]] = {}
    for path in written:
        by_folder.setdefault(path.parent, {})[path.name] = path
    for folder, by_name in by_folder.items():
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - 100,000 paths take their time
        matches = list(filter(None, map(_REMAINS.fullmatch, names)))
        found = {match["of_piece"] or f"{match['stem']}{match['suffix']}" for match in matches}
        for path in (by_name[name] for name in sorted(found & by_name.keys())):
            lease = leases.take(written[path])
            if lease is not None:
                remove_pieces(path)
                remove_remains(path)
                leases.release(lease)

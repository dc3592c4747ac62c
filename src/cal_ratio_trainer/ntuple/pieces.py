"""Pieces of a large file on their way: jets of some chunks, in files beside the output, until they are put together."""

import glob
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cal_ratio_trainer.files.atomic import USED_BY, replacing
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import from_arrow, to_arrow
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.tally import Tally

_LETTERS_OF_NAME = 16
_PIECE = re.compile(rf"[0-9a-f]{{{_LETTERS_OF_NAME}}}\.piece")
_PART_OF_PIECE = re.compile(rf"[0-9a-f]{{{_LETTERS_OF_NAME}}}\.{USED_BY}\.part\.piece")
"""What `files.atomic.replacing` calls a piece until it is complete."""
_PADDED_WITH_ZEROS = JetMetadata(stage="converted")


@dataclass(frozen=True)
class WrittenPiece:
    """A converted piece.

    Attributes:
        path: its file, one Arrow stream a chunk.
        tallies: what was counted, one a chunk.
        seconds: how long it took.
    """

    path: Path
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
    """Write the jets of some chunks beside the output that they are for, one Arrow stream a chunk.

    Raises:
        OSError: the folder cannot be written.
    """
    tallies: list[Tally] = []
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    path = piece_file(output)
    with replacing(path, durable=False) as temporary, pa.OSFile(str(temporary), "wb") as file:
        for jets, tally in chunks:
            table = to_arrow(jets)
            with pa.ipc.new_stream(file, table.schema, options=options) as stream:
                stream.write_table(table)
            tallies.append(tally)
    return WrittenPiece(path, tuple(tallies))


def read_piece(piece: WrittenPiece) -> Iterator[tuple[Jets, Tally]]:
    """The chunks of a piece as they were written."""
    with pa.OSFile(str(piece.path), "rb") as file:
        for tally in piece.tallies:
            table = pa.ipc.open_stream(file).read_all()
            yield from_arrow(piece.path, table, _PADDED_WITH_ZEROS), tally


def remove_pieces(output: Path) -> None:
    """Remove the pieces of an output, unfinished ones too, whoever left them; only for those who hold its lease."""
    for path in output.parent.glob(f"*{glob.escape(output.name)}.*.piece"):
        first, name, rest = path.name.partition(f".{output.name}.")
        if name and ((not first and _PIECE.fullmatch(rest)) or (first == "." and _PART_OF_PIECE.fullmatch(rest))):
            path.unlink(missing_ok=True)

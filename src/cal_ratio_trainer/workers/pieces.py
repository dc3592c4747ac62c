"""Pieces of large files; unfinished files beside an output, and removal of those that killed processes left.

An output that is being written has a temporary file (`files.atomic.replacing`); a large one also has pieces, made by
several processes until they are joined.
"""

import os
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from cal_ratio_trainer.files.atomic import USED_BY
from cal_ratio_trainer.files.leases import Lease

_LETTERS_OF_NAME = 16
_OF_PIECE = rf"[0-9a-f]{{{_LETTERS_OF_NAME}}}"
_REMAINS = re.compile(
    rf"\.(?P<of_piece>.+)\.{_OF_PIECE}\.piece"
    rf"|\.\.(?P<of_part>.+)\.{_OF_PIECE}\.{USED_BY}\.part\.piece"
    rf"|\.(?P<stem>.+)\.{USED_BY}\.part(?P<suffix>(\.[^.]+)?)",
    re.DOTALL,
)


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
    """Returns a new name for a piece of an output, beside it."""
    return output.absolute().with_name(f".{output.name}.{secrets.token_hex(_LETTERS_OF_NAME // 2)}.piece")


def remove_remains_of(output: Path) -> None:
    """Removes pieces and temporary files of an output, of any process; only for the holder of its lease."""
    for path in _remains_in(output.parent).get(output.name, ()):
        path.unlink(missing_ok=True)


def remove_all_remains(written: Mapping[Path, Path], lease_timeout: float) -> None:
    """Does the same for many outputs, except for those whose lease another process holds.

    Args:
        written: every file that is written, and the output whose lease covers it.
        lease_timeout: a lease without a heartbeat for this long is stale. [s]

    Raises:
        OSError: a folder cannot be read or written.
    """
    for folder in dict.fromkeys(path.parent for path in written):
        for name, remains in sorted(_remains_in(folder).items()):
            lease = Lease(written[folder / name], lease_timeout) if folder / name in written else None
            if lease is not None and lease.take():
                for path in remains:
                    path.unlink(missing_ok=True)
                lease.release()


def _remains_in(folder: Path) -> dict[str, list[Path]]:
    """Returns the unfinished files in a folder by the name of their output."""
    found: dict[str, list[Path]] = defaultdict(list)
    # No Path.iterdir: 100,000 paths take their time.
    for match in filter(None, map(_REMAINS.fullmatch, os.listdir(folder) if folder.is_dir() else [])):  # noqa: PTH208
        output = match["of_piece"] or match["of_part"] or f"{match['stem']}{match['suffix']}"
        found[output].append(folder / match.string)
    return found

"""The list of files that could not be converted, kept beside the results so that later steps know what is missing."""

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.files.atomic import remove_remains, write_text
from cal_ratio_trainer.files.json_text import quoted, unquoted
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.ntuple.summary import ConversionRow, Status

FAILED_FILES = "failed_files.txt"

_HEAD = (
    "# Not converted, so neither in the jets nor in the sums of weights of this folder; the reason stands above each."
)


def record_failures(rows: Iterable[ConversionRow]) -> None:
    """Updates the lists of failed files, one in each output folder.

    A file is on the list of its folder while it has failed and there is no output of it; an empty list is removed.
    Several processes may do this at once.

    Raises:
        OSError: a list cannot be written.
    """
    by_folder: dict[Path, list[ConversionRow]] = {}
    for row in rows:
        if row.output is not None:
            by_folder.setdefault(row.output.parent, []).append(row)
    for folder, own in by_folder.items():
        if (folder / FAILED_FILES).exists() or any(_is_missing(row) for row in own):
            _update(folder / FAILED_FILES, own)


def failed_in(folder: Path) -> dict[str, str]:
    """The files whose results are missing in a folder, and why: file -> reason."""
    try:
        lines = (folder / FAILED_FILES).read_text("utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return {}
    pairs = [(before, line) for before, line in pairwise(["", *lines]) if line.strip() and not line.startswith("#")]
    return {unquoted(line): before.removeprefix("# ") for before, line in pairs}


def _is_missing(row: ConversionRow) -> bool:
    # No Path.exists: that raises for a name that is too long.
    is_there = row.output is None or os.path.exists(row.output)  # noqa: PTH110
    return row.status is Status.FAILED and not is_there


def _update(list_file: Path, rows: Iterable[ConversionRow]) -> None:
    with held_in_turn(list_file):
        remove_remains(list_file)
        known = failed_in(list_file.parent)
        for row in rows:
            known.pop(row.file, None)
            if _is_missing(row):
                known[row.file] = harmless(" ".join(row.reason.split()))
        _write(list_file, known)


def _write(list_file: Path, failed: Mapping[str, str]) -> None:
    if not failed:
        list_file.unlink(missing_ok=True)
        return
    lines = [_HEAD, *(line for file, reason in failed.items() for line in (f"# {reason}", quoted(file)))]
    write_text(list_file, "\n".join(lines) + "\n")

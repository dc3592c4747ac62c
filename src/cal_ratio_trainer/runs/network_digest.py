"""The networks that a run keeps say whose they are: run, epoch and a digest of all bytes, as the comment of their zip.

All of it in the one file, so that no kill between two files can make them differ. Keras does not look at the comment.
"""

import hashlib
import json
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.runs.directory import RunDirectory, say_without_digests

_BEGINNING = b'{"cal_ratio_trainer_run": '


def with_digest(content: bytes, run_id: str | None, epoch: int | None) -> bytes:
    """A `.keras` file without comment, with one that says what it is.

    Args:
        content: of the file.
        run_id: the run's, see run.json.
        epoch: whose weights it holds; None where that is not known.
    """
    digest = hashlib.sha256(json.dumps([run_id, epoch]).encode() + content).hexdigest()
    comment = json.dumps({"cal_ratio_trainer_run": run_id, "epoch": epoch, "sha256": digest}).encode()
    return content[:-2] + len(comment).to_bytes(2, "little") + comment


def holds_epoch(run: RunDirectory, file: Path, epoch: int | None) -> bool:
    """Whether a network in a run's folder is that of an epoch; a file without a digest is taken for it in older runs.

    Raises:
        InputFileError: it was changed since the run wrote it, or is another run's.
    """
    run_id = run.read_record().get("id")
    content = file.read_bytes()
    start = content.rfind(_BEGINNING)
    if start < 0 and run_id is None:
        say_without_digests(run.name)
        return True
    try:
        said = json.loads(content[start:]) if start > 1 else {}
        owner, number = said.get("cal_ratio_trainer_run"), said.get("epoch")
        is_whole = with_digest(content[: max(start - 2, 0)] + b"\0\0", owner, number) == content
    except (ValueError, AttributeError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise InputFileError(file, f"is not as run {run.name} wrote it: it was changed, or is damaged")
    if owner != run_id:
        raise InputFileError(file, f"is a network of another run than {run.name}: its run id is not that in run.json")
    return bool(number == epoch)

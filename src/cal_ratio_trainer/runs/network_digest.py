"""Identity of the networks that a run keeps: run, epoch and a digest of all bytes, in the comment of the zip file.

Identity and network are one file, so that a kill between two writes cannot make them differ. Keras ignores the comment.
"""

import hashlib
import json
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.json_text import parsed
from cal_ratio_trainer.runs.directory import RunDirectory, warn_without_digests

_BEGINNING = b'{"cal_ratio_trainer_run": '


def with_digest(content: bytes, run_id: str | None, epoch: int | None) -> bytes:
    """Returns a `.keras` file with its identity as comment.

    Args:
        content: of the file, without comment.
        run_id: `id` of run.json.
        epoch: of the weights; None where it is not known.
    """
    digest = hashlib.sha256(json.dumps([run_id, epoch]).encode() + content).hexdigest()
    comment = json.dumps({"cal_ratio_trainer_run": run_id, "epoch": epoch, "sha256": digest}).encode()
    return content[:-2] + len(comment).to_bytes(2, "little") + comment


def holds_epoch(run: RunDirectory, file: Path, epoch: int | None) -> bool:
    """True where a network in a run's folder is that of an epoch; of older runs, which kept no digests, any file is.

    Raises:
        InputFileError: the file was changed since the run wrote it, or belongs to another run.
    """
    run_id = run.read_record().get("id")
    content = file.read_bytes()
    start = content.rfind(_BEGINNING)
    if start < 0 and run_id is None:
        warn_without_digests(run.name)
        return True
    try:
        comment = parsed(content[start:])
        owner, number = comment["cal_ratio_trainer_run"], comment["epoch"]
        is_unchanged = with_digest(content[: start - 2] + b"\0\0", owner, number) == content
    except (ValueError, LookupError, TypeError, OverflowError):
        is_unchanged = False
    if not is_unchanged:
        raise InputFileError(file, f"is not as run {run.name} wrote it: it was changed, or is damaged")
    if owner != run_id:
        raise InputFileError(file, f"is a network of another run than {run.name}: its run id is not that in run.json")
    return bool(number == epoch)

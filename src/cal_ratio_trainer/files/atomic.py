"""Files that appear complete or not at all, and checksums of files."""

import errno
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.this_process import is_gone_by_tag, this_process

ERRORS_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Error numbers that only writing a file gives: full disk, quota, size limit, read-only file system."""

USED_BY = r"\d{1,10}-(?:[0-9a-f]{12})?[0-9a-f]{8}"
"""Part of a temporary file's name: process number, process tag (not in older versions) and random digits."""

_TEMPORARY = re.compile(r"\..*\.(?P<pid>\d{1,10})-(?P<tag>[0-9a-f]{12})[0-9a-f]{8}\.part(?:\.[^.]+)?", re.DOTALL)
_MAX_NAME_BYTES = 255
_MAX_ADDED_BYTES = len(".." + "-" + ".part") + 10 + 12 + 8
"""Bytes of a temporary name beside stem and suffix, those of `USED_BY` included."""
_swept: set[tuple[int, Path]] = set()


class UnusableOutput(UserError):
    """An output cannot be written where it is wanted; the message names the option and what is there."""


def refuse_unusable_folder(folder: Path, option: str) -> None:
    """Checks, before any work, that files can be written to a folder, which need not exist yet; leaves nothing.

    Raises:
        UnusableOutput: a file is in its place or above it, or it cannot be written to.
    """
    # A link to nothing is there too: no folder can be made in its place.
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    if not there.is_dir():
        raise UnusableOutput(f"{option}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UnusableOutput(f"{option}: {there} cannot be written to")
    try:
        # Some file systems refuse what the permissions allow.
        Path(tempfile.mkdtemp(prefix=".", dir=there)).rmdir()
    except OSError as error:
        raise UnusableOutput(f"{option}: nothing can be made in {there} ({error.strerror})") from error


def refuse_unusable_file(file: Path, option: str) -> None:
    """As `refuse_unusable_folder` for a file, which may exist; it is no folder."""
    if file.is_dir():
        raise UnusableOutput(f"{option}: {file} is a folder; name a file in it")
    refuse_unusable_folder(file.parent, option)


def refuse_unusable_report(file: Path) -> None:
    """As `refuse_unusable_file`, for the Markdown file of a report: a file with another suffix may be one of data.

    Raises:
        UnusableOutput: the file or the page beside it cannot be written; or the file exists, and is no report.
    """
    refuse_unusable_file(file, "output_report")
    refuse_unusable_file(file.with_suffix(".html"), "output_report")
    if file.suffix == ".md" or not file.exists():
        return
    with file.open("rb") as content:
        is_report = content.read(2) in (b"# ", b"")
    if not is_report:
        raise UnusableOutput(f"output_report: {file} exists and is no report, so it is not replaced; give another name")


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends well, and is removed otherwise.

    Args:
        path: the file to write; missing folders above it are made. An existing file is replaced in one step.
        durable: wait until the disk has it, so that it is complete even after a power cut; without that, files that
            can be made again are written at once.

    Yields:
        A path in the same folder (a rename within one file system is atomic), with the same suffix.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)
    temporary = temporary_for(path)
    try:
        yield temporary
        if durable:
            # Without this a crash of the machine can leave a renamed but empty file.
            descriptor = os.open(temporary, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        names_it = error.filename in (temporary, str(temporary))
        # An error without a name is of this file if only writing gives it.
        if error.errno is None or not (names_it or (error.filename is None and error.errno in ERRORS_OF_WRITING)):
            raise
        # In the name of the file that was asked for.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def create(path: Path, content: bytes) -> bool:
    """Makes a file if there is none, of which one of several concurrent processes succeeds; false if there is one.

    It appears with its content, by a hard link. On file systems without hard links a process that is killed can leave
    it empty.

    Raises:
        OSError: the folder cannot be written or the disk is full; there is no new file then.
    """
    temporary = temporary_for(path)
    try:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # Two names if the answer of a file server was lost, and the link was asked for twice.
            return temporary.stat().st_nlink > 1
        except OSError:
            return _created_in_place(path, content)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _created_in_place(path: Path, content: bytes) -> bool:
    try:
        opened = path.open("xb")
    except FileExistsError:
        return False
    try:
        with opened:
            opened.write(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def temporary_for(path: Path) -> Path:
    """Returns a new name beside `path` with the number and tag of this process, so that `sweep_once` finds it."""
    process = this_process()
    unique = f"{process.pid}-{process.tag}{secrets.token_hex(4)}"
    return path.with_name(f".{_stem_of(path)}.{unique}.part{path.suffix}")


def _stem_of(path: Path) -> str:
    """Returns the stem of a file, cut so that the name of its temporary file is not too long."""
    room = _MAX_NAME_BYTES - _MAX_ADDED_BYTES - len(os.fsencode(path.suffix))
    return os.fsencode(path.stem)[: max(room, 1)].decode("utf-8", "ignore") or "_"


def sweep_once(folder: Path) -> None:
    """Removes temporary files of processes of this machine that have ended; once per folder and process."""
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    # A folder without permission to delete, or one that vanishes, does not prevent writing.
    with suppress(OSError):
        for found in folder.iterdir():
            ours = _TEMPORARY.fullmatch(found.name)
            if ours and is_gone_by_tag(int(ours["pid"]), ours["tag"]):
                found.unlink(missing_ok=True)


def remove_remains(path: Path) -> None:
    """Removes unfinished files of killed processes for `path`, and none of files with similar names.

    The caller makes sure, by a lock for example, that no process is writing it.
    """
    ours = re.compile(rf"\.{re.escape(_stem_of(path))}\.{USED_BY}\.part{re.escape(path.suffix)}")
    if path.parent.is_dir():
        for found in path.parent.iterdir():
            if ours.fullmatch(found.name):
                found.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a binary file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content as 64 hexadecimal digits; the file is read piece by piece."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The input file as a file: its size and checksum, and a local copy of a remote one."""

from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.files.remote import file_system, persistently
from cal_ratio_trainer.jets.metadata import InputFile


def size_of(file: str) -> InputFile:
    """Path and size.

    Raises:
        InputFileError: there is no such local file, it may not be looked at, or its name is no text. A remote file
            whose server does not tell its size has none.
    """
    if is_remote(file):
        return InputFile(path=file, size_bytes=_remote_size(file))
    path = Path(file)
    try:
        file.encode()
        if not path.is_file():
            raise InputFileError(file, "no such file" if not path.exists() else "is not a file")
        return InputFile(path=file, size_bytes=path.stat().st_size)
    except UnicodeEncodeError as error:
        reason = "its name is no UTF-8, so that jets could not say that they are from it; rename it"
        raise InputFileError(file, reason) from error
    except OSError as error:
        raise InputFileError(file, f"cannot be read ({error.strerror})") from error


def with_checksum(source: InputFile) -> InputFile:
    """The same with the checksum of its content, for which it is read once; a remote file has none.

    Raises:
        InputFileError: it cannot be read to its end.
    """
    if is_remote(source.path):
        return source
    try:
        return source.model_copy(update={"sha256": sha256_of(Path(source.path))})
    except OSError as error:
        raise InputFileError(source.path, f"cannot be read ({error.strerror})") from error


def readable_name(file: str, cache_path: Path | None) -> str:
    """Path to open for a file: the file itself, or its copy in the cache if it is remote and a cache is set.

    Raises:
        InputFileError: the file cannot be copied.
    """
    if cache_path is None or not is_remote(file):
        return file
    return str(local_copy(file, cache_path))


def _remote_size(file: str) -> int | None:
    def asked() -> int | None:
        system, path = file_system(file)
        size: int | None = system.size(path)
        return size

    try:
        size = persistently(asked, f"{file}: asking its size")
    except MemoryError:
        raise
    except Exception:
        # Whoever opens the file next finds out what is wrong, and says it.
        return None
    return None if size is None else int(size)

"""Local copies of remote files, kept under the user's cache folder by a hash of their URL."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from platformdirs import user_cache_path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import remove_remains, replacing, write_text
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.files.remote import file_system, in_words, persistently
from cal_ratio_trainer.progress import progress

_log = logging.getLogger(__name__)

_LETTERS_OF_HASH = 32
_WHAT_TELLS_VERSIONS = ("ETag", "etag", "checksum", "mtime", "LastModified", "Last-Modified")


@dataclass(frozen=True)
class DemoFiles:
    """The two training files of a demo.

    Attributes:
        folder: folder of the files.
        seed: seed of the simulation.
        version: version of simulation, conversion and building; None if it is not known.
    """

    folder: Path
    seed: int = 1
    version: int | None = None

    @property
    def main(self) -> Path:
        """Signal, QCD and BIB."""
        return self.folder / "main.parquet"

    @property
    def control(self) -> Path:
        """The control region."""
        return self.folder / "control.parquet"


def default_cache_path() -> Path:
    """The folder that copies are kept in if no other is given, e.g. ~/.cache/cal_ratio_trainer."""
    return user_cache_path("cal_ratio_trainer", appauthor=False)


def is_remote(url: str) -> bool:
    """True for what has to be fetched: any URL but file://.

    >>> is_remote("https://cern.ch/a.pkl"), is_remote("file:///a.pkl"), is_remote("a.pkl")
    (True, False, False)
    """
    return "://" in url and not url.startswith("file://")


def local_copy(url: str, cache_path: Path | None = None) -> Path:
    """A path on this machine with the content of `url`.

    A plain path or a file:// URL is used where it is. Anything else that fsspec reads is fetched once and kept; a kept
    copy is used again when size and version (ETag, time of change) are still what the server says, or when the
    server does not answer.

    Args:
        url: path, file://, https:// or any other URL that fsspec knows.
        cache_path: folder of the copies; None for `default_cache_path`.

    Returns:
        The file; remote ones keep their base name in a folder named after the hash of the URL.

    Raises:
        InputFileError: there is no such file, the server does not give it, or the copy is shorter than announced;
            nothing of a failed fetch stays.
    """
    if not is_remote(url):
        path = Path(unquote(urlsplit(url).path)) if url.startswith("file://") else Path(url).expanduser()
        if not path.exists():
            raise InputFileError(path, "no such file")
        return path
    digest = hashlib.sha256(url.encode()).hexdigest()[:_LETTERS_OF_HASH]
    folder = (cache_path or default_cache_path()).expanduser() / "downloads" / digest
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / (Path(unquote(urlsplit(url).path)).name or "content")
    # The name of the copy may be as long as names can be, without room for that of a lease.
    with held_in_turn(_record_of(copy)):
        for file in (copy, _record_of(copy)):
            remove_remains(file)
        _refresh(url, copy)
    return copy


def _refresh(url: str, copy: Path) -> None:
    record = _record_of(copy)
    known = _read_record(record) if copy.is_file() else None
    try:
        system, remote_path = file_system(url)
        said = _announced(persistently(lambda: system.info(remote_path), f"{url}: asking for it"))
    except Exception as error:
        if known is None:
            raise InputFileError(url, f"cannot be fetched ({in_words(error)})") from error
        _log.warning("%s: cannot be asked for (%s); the copy in %s is used", url, in_words(error), copy)
        return
    if known == {"url": url, **said, "bytes": copy.stat().st_size if copy.is_file() else None}:
        _log.info("%s: kept copy %s", url, copy)
        return
    said = _fetch(url, system, remote_path, copy, said)
    write_text(record, json.dumps({"url": url, **said, "bytes": copy.stat().st_size}))


def _record_of(copy: Path) -> Path:
    return copy.parent / "source.json"


def _read_record(record: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _announced(info: dict[str, Any]) -> dict[str, Any]:
    """Identification of a version of the file by the server."""
    said = {name: str(info[name]) for name in _WHAT_TELLS_VERSIONS if info.get(name) is not None}
    return {"size": int(info["size"]), **said} if info.get("size") is not None else said


def _fetch(url: str, system: Any, remote_path: str, copy: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Fetches the content; returns its version from the headers that came with it, if the server sends any."""
    size = said.get("size")
    try:
        with replacing(copy) as temporary, progress(f"fetch {copy.name}", size, "bytes") as line:
            said = persistently(lambda: _copied(system, remote_path, temporary, line.advance, said), f"{url}: fetching")
            found = temporary.stat().st_size
            if size is not None and found != size:
                raise InputFileError(url, f"gave {found} bytes where {size} were announced; nothing was kept")
    except InputFileError:
        raise
    except Exception as error:
        raise InputFileError(url, f"cannot be fetched ({in_words(error)})") from error
    return said


def _copied(
    system: Any, remote_path: str, temporary: Path, advance: Callable[[float], None], said: dict[str, Any]
) -> dict[str, Any]:
    if hasattr(system, "download_with_headers"):
        return _announced(system.download_with_headers(remote_path, temporary, advance))
    from fsspec.callbacks import Callback

    class Follow(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            advance(inc)

    system.get_file(remote_path, str(temporary), callback=Follow())
    return said

"""Files on web servers: a timeout on silence but not on a whole transfer, and exactly as many bytes as announced.

Imported only when an http or https URL is opened; `files.remote` registers the class with fsspec by name.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from fsspec.asyn import sync_wrapper
from fsspec.implementations.http import HTTPFileSystem

from cal_ratio_trainer.files import remote

_BLOCK = 1 << 20
_WITHOUT_HEAD = (403, 405, 501)
"""Status codes of servers that allow GET only, e.g. for signed URLs."""


async def _client(**given: Any) -> aiohttp.ClientSession:
    silence = remote.SILENCE_S
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
    return aiohttp.ClientSession(**{"timeout": timeout, **given})


class PatientHttp(HTTPFileSystem):  # type: ignore[misc]
    """HTTP file system with its own timeout, errors and length checks.

    That of fsspec ends every transfer after 300 s, reports every error as 'not found', and trusts every length.
    """

    # Older versions of fsspec would take the name under which it is registered.
    protocol = ("http", "https")

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"get_client": _client, **options})

    def _raise_not_found_for_status(self, response: aiohttp.ClientResponse, url: str) -> None:
        if response.status == 404:
            raise FileNotFoundError(errno.ENOENT, "404 Not Found", url)
        response.raise_for_status()

    def _request(self, session: aiohttp.ClientSession, method: str, url: str, **headers: str) -> Any:
        # A compressed body would have another length than the file.
        wanted = {"headers": {**self.kwargs.get("headers", {}), "Accept-Encoding": "identity", **headers}}
        return session.request(method, self.encode_url(url), allow_redirects=True, **{**self.kwargs, **wanted})

    async def _info(self, url: str, **_: Any) -> dict[str, Any]:
        session = await self.set_session()
        async with self._request(session, "HEAD", url) as answer:
            if answer.status not in _WITHOUT_HEAD:
                self._raise_not_found_for_status(answer, url)
                return _described(url, answer)
        async with self._request(session, "GET", url) as answer:
            self._raise_not_found_for_status(answer, url)
            return _described(url, answer)

    async def _cat_file(self, url: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Returns bytes `start` to `end`; from a server that ignores ranges, only those from the beginning."""
        ranges = {} if start is None and end is None else {"Range": await self._process_limits(url, start, end)}
        session = await self.set_session()
        async with self._request(session, "GET", url, **ranges) as answer:
            self._raise_not_found_for_status(answer, url)
            if not ranges or answer.status == 206:
                return await answer.read()  # type: ignore[no-any-return]
            if start or end is None or end < 0:
                raise ValueError("the server sends whole files only, no parts of them; --cache FOLDER copies it first")
            content = bytearray()
            async for block in answer.content.iter_chunked(_BLOCK):
                content += block
                if len(content) >= end:
                    break
            return bytes(content[:end])

    async def _cat_ranges(self, paths: Any, starts: Any, ends: Any, *rest: Any, **options: Any) -> list[bytes]:
        """Returns parts of files; raises the first error, which fsspec would return in place of a part."""
        found: list[Any] = await super()._cat_ranges(paths, starts, ends, *rest, **options)
        for part in found:
            if isinstance(part, BaseException):
                raise part
        return found

    async def _download_with_headers(self, url: str, path: Path, advance: Callable[[float], None]) -> dict[str, Any]:
        """Copies a file to `path`; returns the same as `info`, from the headers that came with the content.

        Raises:
            TooLarge: more bytes than announced, than free on the disk, or than the limit for unannounced lengths.
            ConnectionError: the connection ended early.
        """
        session = await self.set_session()
        async with self._request(session, "GET", url) as answer:
            self._raise_not_found_for_status(answer, url)
            described = _described(url, answer)
            size = described["size"]
            free = shutil.disk_usage(path.parent).free
            if size is not None and size > free:
                raise remote.TooLarge(f"it has {size} bytes, and {free} are free in {path.parent}")
            unannounced = min(free - min(remote.FREE_MARGIN_BYTES, free // 2), remote.MAX_BYTES)
            most = unannounced if size is None else size
            done = 0
            try:
                with path.open("wb") as file:
                    async for block in answer.content.iter_chunked(_BLOCK):
                        if done + len(block) > most:
                            announced = "no length was announced" if size is None else f"{size} were announced"
                            raise remote.TooLarge(f"more than {most} bytes came; {announced}")
                        file.write(block)
                        done += len(block)
                        advance(len(block))
            except BaseException as error:
                advance(-done)
                if isinstance(error, aiohttp.ClientPayloadError):
                    raise ConnectionError(f"the connection ended after {done} of {size} bytes") from error
                raise
            return described

    download_with_headers = sync_wrapper(_download_with_headers)


def _described(url: str, answer: aiohttp.ClientResponse) -> dict[str, Any]:
    headers = answer.headers
    is_compressed = headers.get("Content-Encoding", "identity") not in ("identity", "")
    size = None if is_compressed else answer.content_length
    version = {name: headers[name] for name in ("ETag", "Last-Modified") if name in headers}
    return {"name": url, "type": "file", "size": size, **version}

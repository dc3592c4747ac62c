"""File servers: opening URLs, retries, and sentences for their errors."""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec

from cal_ratio_trainer.errors import system_error_in_words
from cal_ratio_trainer.files.atomic import ERRORS_OF_WRITING

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

WAITS_S = (1.0, 4.0, 16.0)
"""Waiting time after each failure; the failure after the last one is final. [s]"""

SILENCE_S = 60.0
"""Timeout of a web server that sends no byte; a whole transfer has none. [s]"""

MAX_BYTES = 64 << 30
"""Upper limit on a file whose length the server does not announce. [bytes]"""

FREE_MARGIN_BYTES = 1 << 30
"""Free disk space that a file of unannounced length leaves; half of the free space if that is less. [bytes]"""

_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_FOR_GOOD_IN_XROOTD = ("[3010]", "[3011]", "[3005]", "No such file", "Permission denied", "Not authorized")
_WORTH_ASKING_AGAIN = (408, 425, 429)
_SERVERS_OWN_FAULT = 500
_MAX_SENTENCE = 200

_XROOTD_PATIENCE = {"XRD_CONNECTIONWINDOW": "15", "XRD_CONNECTIONRETRY": "1"}
"""XRootD's client tries a server that does not answer for ten minutes, without a word, before we hear of it. [s; 1]"""

# It reads them when it is loaded, which is after this; what a user has set stays.
for _name, _value in _XROOTD_PATIENCE.items():
    os.environ.setdefault(_name, _value)

_HTTP = "cal_ratio_trainer-http"
# Registered by name, because the module imports aiohttp, which few commands need.
fsspec.register_implementation(_HTTP, "cal_ratio_trainer.files.http.PatientHttp", clobber=True)


class TooLarge(Exception):
    """A file has more bytes than announced, than are free on the disk, or than `MAX_BYTES`."""


def file_system(url: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a URL and the path in it.

    Raises:
        ValueError, ImportError: the protocol is unknown, or its package is missing.
    """
    return fsspec.core.url_to_fs(url, **opening_options(url))  # type: ignore[no-any-return]


def opening_options(url: str) -> dict[str, str]:
    """Returns the options with which fsspec, or uproot through it, opens a URL as `file_system` does."""
    return {"protocol": _HTTP} if url.startswith(("http://", "https://")) else {}


def persistently(ask: Callable[[], _Result], what: str) -> _Result:
    """Sends a request to a server, and repeats it after increasing times if the error may be temporary.

    Args:
        ask: does it; called up to four times.
        what: is being done, for the log.

    Raises:
        The error of the last call; at once errors that are not temporary: no such file, permission or protocol.
    """
    for wait_s in WAITS_S:
        try:
            return ask()
        except Exception as error:
            if not may_pass(error):
                raise
            # Not all at the same time, if many processes met the same server.
            wait_s *= random.uniform(0.75, 1.25)
            _log.warning("%s failed (%s); trying again in %.0f s", what, in_words(error), wait_s)
            time.sleep(wait_s)
    return ask()


def may_pass(error: BaseException) -> bool:
    """True if a retry may succeed: the connection broke, or the server is overloaded or starting."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status >= _SERVERS_OWN_FAULT or status in _WORTH_ASKING_AGAIN
    is_of_http = type(error).__module__.partition(".")[0] == "aiohttp"
    if is_of_http or _is_silence(error):
        # aiohttp reports a bad URL or certificate as ValueError; a silent server has used up its timeout.
        return not isinstance(error, ValueError) and not _is_silence(error)
    if isinstance(error, _FOR_GOOD) or not isinstance(error, OSError) or error.errno in ERRORS_OF_WRITING:
        return False
    return not any(word in str(error) for word in _FOR_GOOD_IN_XROOTD)


def _is_silence(error: BaseException) -> bool:
    """True for the timeout of a web server, also inside the timeout of fsspec."""
    both = (error, error.__cause__)
    return isinstance(error, TimeoutError) and any(type(each).__module__.startswith("aiohttp") for each in both)


def in_words(error: BaseException) -> str:
    """Describes an error of a server, or of a library that reads from one, e.g. '403 Forbidden'."""
    name, status = type(error).__name__, getattr(error, "status", None)
    if _is_silence(error):
        return f"the server sent nothing for {SILENCE_S:g} s"
    if name == "TooManyRedirects":
        return "its redirects do not end"
    if isinstance(status, int):
        # aiohttp gives an answer that is not HTTP a status of its own, and a cause.
        is_answer = error.__cause__ is None
        return f"{status if is_answer else 'no answer in HTTP:'} {_first_line(getattr(error, 'message', ''))}".strip()
    if isinstance(error, OSError) and error.strerror:
        # The caller names the URL.
        return error.strerror if "://" in str(error.filename) else _first_line(system_error_in_words(error))
    text = _first_line(str(error))
    if text and type(error) in (OSError, ConnectionError, TooLarge):
        return text
    return f"{name}: {text}" if text else name


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:_MAX_SENTENCE].rstrip(" :")


def xrootd_hint(url: str, error: BaseException) -> str:
    """Advice on installing the packages for root://, if these are missing; otherwise empty."""
    is_missing = isinstance(error, ImportError) or "Protocol not known" in str(error)
    if not url.startswith(("root:", "roots:", "xroot:")) or not is_missing:
        return ""
    return "root:// needs packages of its own: pip install 'cal_ratio_trainer[xrootd]'"

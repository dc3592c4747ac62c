"""Servers of files: what to do when one does not answer, and what their protocols need."""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec

from cal_ratio_trainer.files.atomic import ERRORS_OF_WRITING

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

WAITS_S = (1.0, 4.0, 16.0)
"""How long is waited after each failure; after the last the next failure is final. [s]"""

SILENCE_S = 60.0
"""A web server that sends no byte for so long is given up; there is no limit on a whole transfer. [s]"""

MAX_BYTES = 64 << 30
"""What is fetched at most of a file whose length the server does not announce."""

FREE_MARGIN_BYTES = 1 << 30
"""What a file of which the server announces no length leaves free on the disk, or half of that where less is free."""

_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_FOR_GOOD_IN_XROOTD = ("[3010]", "[3011]", "[3005]", "No such file", "Permission denied", "Not authorized")
_WORTH_ASKING_AGAIN = (408, 425, 429)
_SERVERS_OWN_FAULT = 500
_LONGEST_SENTENCE = 200

_XROOTD_PATIENCE = {"XRD_CONNECTIONWINDOW": "15", "XRD_CONNECTIONRETRY": "1"}
"""XRootD's client tries a server that does not answer for ten minutes, without a word, before we hear of it. [s; 1]"""

# It reads them when it is loaded, which is after this; what a user has set stays.
for _name, _value in _XROOTD_PATIENCE.items():
    os.environ.setdefault(_name, _value)

_HTTP = "cal_ratio_trainer-http"
# By its name: it imports aiohttp, and most commands never meet a web server.
fsspec.register_implementation(_HTTP, "cal_ratio_trainer.files.http.PatientHttp", clobber=True)


class TooLarge(Exception):
    """More bytes than were announced, than the disk has room for, or than are fetched without announcement."""


def file_system(url: str) -> tuple[Any, str]:
    """What reads a URL, and its name there. Raises ValueError or ImportError for an unknown protocol."""
    return fsspec.core.url_to_fs(url, **opening_options(url))  # type: ignore[no-any-return]


def opening_options(url: str) -> dict[str, str]:
    """What fsspec, or uproot which calls it, has to be told to open a URL as `file_system` does."""
    return {"protocol": _HTTP} if url.startswith(("http://", "https://")) else {}


def persistently(ask: Callable[[], _Result], what: str) -> _Result:
    """Ask a server, and again, after longer and longer times, when it fails in a way that may pass.

    Args:
        ask: does it; called up to four times.
        what: is being done, for the log.

    Raises:
        Whatever the last call raised; at once what will not pass: no such file, no permission, no such protocol.
    """
    for wait_s in WAITS_S:
        try:
            return ask()
        except Exception as error:
            if not may_pass(error):
                raise
            # Not all at the same time, where many processes met the same server.
            wait_s *= random.uniform(0.75, 1.25)
            _log.warning("%s failed (%s); trying again in %.0f s", what, in_words(error), wait_s)
            time.sleep(wait_s)
    return ask()


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later: connections that broke, a server that is overloaded or starting."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status >= _SERVERS_OWN_FAULT or status in _WORTH_ASKING_AGAIN
    is_of_http = type(error).__module__.partition(".")[0] == "aiohttp"
    if is_of_http or _is_silence(error):
        # A bad URL or certificate is a ValueError there; a silent server has been given its time.
        return not isinstance(error, ValueError) and not _is_silence(error)
    if isinstance(error, _FOR_GOOD) or not isinstance(error, OSError) or error.errno in ERRORS_OF_WRITING:
        return False
    return not any(word in str(error) for word in _FOR_GOOD_IN_XROOTD)


def _is_silence(error: BaseException) -> bool:
    """True for the time-out of a web server; fsspec packs that in one of its own."""
    both = (error, error.__cause__)
    return isinstance(error, TimeoutError) and any(type(each).__module__.startswith("aiohttp") for each in both)


def in_words(error: BaseException) -> str:
    """An error of a server or of a library that reads from one, for a sentence: '403 Forbidden', for example."""
    name, status = type(error).__name__, getattr(error, "status", None)
    if _is_silence(error):
        return f"the server sent nothing for {SILENCE_S:g} s"
    if name == "TooManyRedirects":
        return "its redirects do not end"
    if isinstance(status, int):
        # Of an answer that is none the library makes an error with a status of its own.
        is_answer = error.__cause__ is None
        return f"{status if is_answer else 'no answer in HTTP:'} {_first_line(getattr(error, 'message', ''))}".strip()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None or "://" in str(error.filename) else _first_line(str(error))
    text = _first_line(str(error))
    if text and type(error) in (OSError, ConnectionError, TooLarge):
        return text
    return f"{name}: {text}" if text else name


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:_LONGEST_SENTENCE].rstrip(" :")


def xrootd_hint(url: str, error: BaseException) -> str:
    """How to get what root:// needs, where that is what is missing; empty otherwise."""
    is_missing = isinstance(error, ImportError) or "Protocol not known" in str(error)
    if not url.startswith(("root:", "roots:", "xroot:")) or not is_missing:
        return ""
    return "root:// needs packages of its own: pip install 'cal_ratio_trainer[xrootd]'"

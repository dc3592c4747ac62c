"""Servers of files: what to do when one does not answer, and what their protocols need."""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

WAITS_S = (1.0, 4.0, 16.0)
"""How long is waited after each failure; after the last the next failure is final. [s]"""

_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_FOR_GOOD_IN_XROOTD = ("[3010]", "[3011]", "[3005]", "No such file", "Permission denied", "Not authorized")
_WORTH_ASKING_AGAIN = (408, 425, 429)
_SERVERS_OWN_FAULT = 500


_XROOTD_PATIENCE = {"XRD_CONNECTIONWINDOW": "15", "XRD_CONNECTIONRETRY": "1"}
"""XRootD's client tries a server that does not answer for ten minutes, without a word, before we hear of it. [s; 1]"""

# It reads them when it is loaded, which is after this; what a user has set stays.
for _name, _value in _XROOTD_PATIENCE.items():
    os.environ.setdefault(_name, _value)


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
            _log.warning("%s failed (%s: %s); trying again in %.0f s", what, type(error).__name__, error, wait_s)
            time.sleep(wait_s)
    return ask()


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later: connections, time-outs, a server that is overloaded or starting."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status >= _SERVERS_OWN_FAULT or status in _WORTH_ASKING_AGAIN
    if isinstance(error, _FOR_GOOD) or not isinstance(error, OSError | TimeoutError):
        return type(error).__module__.partition(".")[0] == "aiohttp"
    return not any(word in str(error) for word in _FOR_GOOD_IN_XROOTD)


def xrootd_hint(url: str, error: BaseException) -> str:
    """How to get what root:// needs, where that is what is missing; empty otherwise."""
    is_missing = isinstance(error, ImportError) or "Protocol not known" in str(error)
    if not url.startswith(("root:", "roots:", "xroot:")) or not is_missing:
        return ""
    return "root:// needs packages of its own: pip install 'cal_ratio_trainer[xrootd]'"

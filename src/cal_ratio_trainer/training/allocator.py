"""How the C library hands out memory while training on a CPU."""

import ctypes
import ctypes.util
import logging
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4

_log = logging.getLogger(__name__)


def keep_freed_memory() -> bool:
    """Keep freed memory in the process instead of giving it back to the system after every tensor.

    A step allocates and frees the same hundreds of megabytes again and again; with glibc's defaults each time in fresh
    pages, which the kernel must clear first: twice the time of a step. Only glibc has this setting (`mallopt(3)`).

    Returns:
        True where it was set.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # No mappings of their own for large tensors either: they would be given back whatever the other settings say.
    settings = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_MAX, 0), (_TOP_PAD, 64 * 1024 * 1024))
    done = all(mallopt(name, value) == 1 for name, value in settings)
    _log.debug("freed memory is kept: %s", done)
    return done

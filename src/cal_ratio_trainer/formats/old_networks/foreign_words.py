"""Words out of files that nobody vouches for, as they may stand on a terminal and in a text file."""

from collections.abc import Iterable

_LONGEST_LIST = 500


def readable(text: str) -> str:
    r"""A text as it is; one with what moves a cursor, or is no text at all, the way Python writes it.

    >>> readable("conv1d_2"), readable("\x1b[2J")
    ('conv1d_2', "'\\x1b[2J'")
    """
    return text if text.isprintable() else ascii(text)


def listed(names: Iterable[str]) -> str:
    """Names with commas between them, cut off where they are more than a message should hold."""
    text = ", ".join(readable(name) for name in names)
    return text if len(text) <= _LONGEST_LIST else f"{text[:_LONGEST_LIST]}..."

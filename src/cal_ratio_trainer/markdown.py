"""Escapes text from files and users for Markdown."""

import re

from cal_ratio_trainer.errors import harmless

_BREAK = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPECIAL = set("\\`*_{}[]<>#+!|~$&")


def escaped(text: str) -> str:
    r"""Escapes text so that Markdown shows it literally, on one line; unprintable characters as in `harmless`.

    >>> escaped("a_b | <c>")
    'a\\_b \\| \\<c\\>'
    >>> escaped("\x1b[2J")
    '\\\\x1b\\[2J'
    """
    shown = harmless(_BREAK.sub(" ", text), kept="")
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in shown)


def code(text: str) -> str:
    """Formats a name as inline code; as `escaped` text if inline code cannot show all characters.

    >>> code("a_b.json"), code("a`|b")
    ('`a_b.json`', 'a\\\\`\\\\|b')
    """
    return f"`{text}`" if text.isprintable() and text.strip() and not set("`|\\\\") & set(text) else escaped(text)

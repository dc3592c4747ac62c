"""Text from files and users inside Markdown, where it is shown as it is, whatever is in it."""

import re

_BREAK = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPECIAL = set("\\`*_{}[]<>#+!|~$&")


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is; what cannot be shown or written is named the way Python names it.

    >>> escaped("a_b | <c>")
    'a\\_b \\| \\<c\\>'
    >>> escaped("\x1b[2J")
    '\\\\x1b\\[2J'
    """
    shown = _BREAK.sub(" ", text)
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shown)
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in shown)


def code(text: str) -> str:
    """A name in the letters of code; one that holds what code cannot, as `escaped` text.

    >>> code("a_b.json"), code("a`|b")
    ('`a_b.json`', 'a\\\\`\\\\|b')
    """
    return f"`{text}`" if text.isprintable() and text.strip() and not set("`|\\\\") & set(text) else escaped(text)

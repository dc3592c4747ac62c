"""File names of any bytes as lines of a text file, and back."""

import json


def quoted(name: str) -> str:
    r"""Writes a file name as one line of UTF-8: unchanged where that is possible, else as a JSON string.

    >>> quoted("a b.root"), quoted("a\nb.root"), quoted("a\udcff.root")
    ('a b.root', '"a\\nb.root"', '"a\\udcff.root"')
    """
    is_plain = name.isprintable() and name == name.strip() and name[:1] not in ("#", '"')
    return name if is_plain else json.dumps(name)


def unquoted(line: str) -> str:
    r"""Reads a line that `quoted` wrote; returns any other line unchanged.

    >>> unquoted("a b.root"), unquoted('"a\\nb.root"'), unquoted('"a.root')
    ('a b.root', 'a\nb.root', '"a.root')
    """
    if not line.startswith('"'):
        return line
    try:
        name = json.loads(line)
    except ValueError:
        return line
    return name if isinstance(name, str) else line

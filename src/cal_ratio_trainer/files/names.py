"""File names as lines of text, whatever bytes they are made of."""

import json


def quoted(name: str) -> str:
    r"""A file name as one line of UTF-8: as it is, or in JSON's quotes where it holds what such a line cannot.

    >>> quoted("a b.root"), quoted("a\nb.root"), quoted("a\udcff.root")
    ('a b.root', '"a\\nb.root"', '"a\\udcff.root"')
    """
    is_plain = name.isprintable() and name == name.strip() and name[:1] not in ("#", '"')
    return name if is_plain else json.dumps(name)


def unquoted(line: str) -> str:
    r"""The file name that `quoted` made a line of; any other line is taken as it is.

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

"""JSON: untrusted files, and file names of any bytes as lines of text.

`parsed` refuses duplicate names, deep nesting, numbers that are not finite, and broken text.
"""

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from cal_ratio_trainer.errors import InputFileError


class BadJson(ValueError):
    """A text is not JSON, or has content that is refused; the message says which."""


def parsed(text: str | bytes, bad_numbers: bool = False) -> Any:
    """Parses a JSON text.

    Args:
        text: content of the file.
        bad_numbers: accept NaN and infinities as Python writes them.

    Raises:
        BadJson: it is not JSON; or it has NaN, a number that is too large, a name twice in one object, a lone
            surrogate, or nesting that is too deep.
    """
    number_checks: dict[str, Any] = {} if bad_numbers else {"parse_constant": _refuse, "parse_float": _finite}
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, **number_checks)
    except BadJson:
        raise
    except RecursionError as error:
        raise BadJson("is no valid JSON: it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise BadJson("holds half a character, which is no text") from error
    except ValueError as error:
        raise BadJson(f"is no valid JSON: {str(error)[:200]}") from error


def read_json(file: Path, bad_numbers: bool = False) -> Any:
    """Reads a JSON file; arguments as `parsed`.

    Raises:
        FileNotFoundError: there is no such file.
        InputFileError: it cannot be read, or `parsed` refuses it.
    """
    try:
        return parsed(file.read_bytes().decode("utf-8"), bad_numbers)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputFileError(file, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputFileError(file, "is no text in UTF-8") from error
    except BadJson as error:
        raise InputFileError(file, str(error)) from error


def _refuse(constant: str) -> NoReturn:
    raise BadJson(f"holds {constant}, which is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadJson(f"holds {digits[:40]}, which is too large")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for text in itertools.chain.from_iterable(pairs):
        if isinstance(text, str):
            text.encode()  # lone surrogates, which no file and no terminal accepts
    content = dict(pairs)
    if len(content) != len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BadJson(f"has {repeated!r:.80} twice in one object")
    return content


def quoted(name: str) -> str:
    r"""Writes a file name as one line of UTF-8: unchanged if that is possible, else as a JSON string.

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

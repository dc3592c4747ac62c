"""The mistakes a user can make, one exception each, and the words that describe them.

What is raised here ends as one sentence on the terminal (exit status 2, no traceback unless -v). Bugs are
ordinary Python exceptions and keep their traceback.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and new line, those that turn the direction of a line, and bytes that are no UTF-8."""


class UserError(Exception):
    """A mistake the user can mend; the message names the file, column or option and says what was expected."""

    def __str__(self) -> str:
        return harmless(super().__str__())


class ConfigError(UserError):
    """One or more settings are wrong; `mistakes` lists all of them, a sentence each."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(self.mistakes[0] if len(self.mistakes) == 1 else f"the settings have mistakes:\n{lines}")


class InputFileError(UserError):
    """An input file cannot be used: missing, truncated, of another format or without what is needed."""

    def __init__(self, file: str | Path, reason: str) -> None:
        self.file = str(file)
        self.reason = reason
        super().__init__(f"{file}: {reason}")

    def __reduce__(self) -> tuple[type["InputFileError"], tuple[str, str], dict[str, Any]]:
        """Both parts travel between processes (a bare Exception would pass on its message only), and notes do."""
        return type(self), (self.file, self.reason), vars(self)


class MissingColumn(InputFileError):
    """A file or table lacks columns; names them, and for each the nearest that is there."""

    def __init__(self, file: str | Path, missing: Iterable[str], present: Iterable[str]) -> None:
        self.missing, self.present = sorted(missing), sorted(present)
        named = ", ".join(f"{name}{did_you_mean(name, self.present)}" for name in self.missing)
        super().__init__(file, f"lacks {named}")

    def __reduce__(self) -> tuple[type["MissingColumn"], tuple[str, list[str], list[str]]]:  # type: ignore[override]
        return type(self), (self.file, self.missing, self.present)


class SameOutput(UserError):
    """Two inputs would be written to one file; names all three."""

    def __init__(
        self, first: str, second: str, output: str | Path, remedy: str = "give them an output_dir each"
    ) -> None:
        both = f"{first} and {second}" if first != second else f"{first}, listed twice with different settings,"
        super().__init__(f"{both} would both be written to {output}; {remedy}")


def harmless(text: str) -> str:
    r"""Text of unknown origin for a terminal: characters that would control it are written as escapes.

    >>> harmless("n_\x1b[31mred\udcff.root")
    'n_\\x1b[31mred\\xff.root'
    """

    def escaped(found: re.Match[str]) -> str:
        # Python stands U+DC80 to U+DCFF for the bytes of a file name that are no UTF-8.
        code = ord(found[0]) - 0xDC00 if "\udc80" <= found[0] <= "\udcff" else ord(found[0])
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return _NOT_TEXT.sub(escaped, text)


def system_error_in_words(error: OSError) -> str:
    """File that an error of the system is about and what is wrong with it, without its number.

    >>> system_error_in_words(IsADirectoryError(21, "Is a directory", "/tmp"))
    '/tmp: is a directory'
    """
    if not error.strerror:
        return str(error)
    files = " -> ".join(str(file) for file in (error.filename, error.filename2) if file is not None)
    return f"{files}: {error.strerror[0].lower()}{error.strerror[1:]}".removeprefix(": ")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as ' (did you mean X?)', or nothing where none is near.

    >>> did_you_mean("num_split", ["num_splits", "epochs"])
    ' (did you mean num_splits?)'
    >>> did_you_mean("zzz", ["num_splits"])
    ''
    """
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1)
    return f" (did you mean {by_lower_case[near[0]]}?)" if near else ""

"""Exceptions for mistakes that a user can correct, and functions that word their messages.

The command line prints a `UserError` as one sentence (exit status 2, a traceback only with -v). Bugs are ordinary
Python exceptions and keep their traceback.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOTICE = 25
"""Level of log messages that need no attention, between INFO and WARNING: shown, but not called a warning."""

EXIT_INTERRUPTED = 130
"""Exit status after ^C, as shells have it."""


class UserError(Exception):
    """A mistake that the user can correct; the message names the file, column or option and what was expected."""

    def __str__(self) -> str:
        return harmless(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles message, attributes and notes; the default would call `__init__` with the message alone."""
        return _restored, (type(self), self.args), vars(self)


def _restored(kind: type[UserError], args: tuple[Any, ...]) -> UserError:
    error = kind.__new__(kind)
    error.args = args
    return error


class EndedWithStatus(UserError):
    """An error that ends the command with an exit status of its own."""

    def __init__(self, message: str, exit_status: int) -> None:
        self.exit_status = exit_status
        super().__init__(message)


class ConfigError(UserError):
    """One or more settings are wrong; `mistakes` lists all of them, one sentence each."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(self.mistakes[0] if len(self.mistakes) == 1 else f"the settings have mistakes:\n{lines}")


class InputFileError(UserError):
    """An input file cannot be used: it is missing, truncated, in another format or incomplete."""

    def __init__(self, file: str | Path, reason: str) -> None:
        self.file = str(file)
        self.reason = reason
        super().__init__(f"{file}: {reason}")


class MissingColumn(InputFileError):
    """A file or table lacks columns; the message names each with the most similar column that is present."""

    def __init__(self, file: str | Path, missing: Iterable[str], present: Iterable[str]) -> None:
        self.missing, self.present = sorted(missing), sorted(present)
        named = ", ".join(f"{name}{did_you_mean(name, self.present)}" for name in self.missing)
        super().__init__(file, f"lacks {named}")


class SameOutput(UserError):
    """Two inputs would be written to the same file; the message names all three."""

    def __init__(
        self, first: str, second: str, output: str | Path, remedy: str = "give them an output_dir each"
    ) -> None:
        both = f"{first} and {second}" if first != second else f"{first}, listed twice with different settings,"
        super().__init__(f"{both} would both be written to {output}; {remedy}")


def harmless(text: str, kept: str = "\t\n") -> str:
    r"""Replaces unprintable characters by escape sequences, so that text cannot control a terminal.

    No-break spaces stay, which Python calls unprintable: numbers in tables have them before their errors.

    Args:
        text: Text of unknown origin.
        kept: Unprintable characters that stay; empty for a single line.

    >>> harmless("n_\x1b[31mred\udcff.root")
    'n_\\x1b[31mred\\xff.root'
    """
    if text.isprintable():
        return text
    kept += "\xa0"
    return "".join(each if each.isprintable() or each in kept else _escape_sequence(each) for each in text)


def _escape_sequence(letter: str) -> str:
    # Python represents a byte 0x80 to 0xFF of a file name that is not UTF-8 as U+DC80 to U+DCFF.
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else ascii(letter)[1:-1]


def system_error_in_words(error: OSError) -> str:
    """Describes an error of the operating system as 'file: reason', without its number.

    >>> system_error_in_words(IsADirectoryError(21, "Is a directory", "/tmp"))
    '/tmp: is a directory'
    """
    if not error.strerror:
        return str(error)
    files = " -> ".join(str(file) for file in (error.filename, error.filename2) if file is not None)
    return f"{files}: {error.strerror[0].lower()}{error.strerror[1:]}".removeprefix(": ")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the most similar known name as ' (did you mean X?)'; empty if none is similar.

    >>> did_you_mean("num_split", ["num_splits", "epochs"])
    ' (did you mean num_splits?)'
    >>> did_you_mean("zzz", ["num_splits"])
    ''
    """
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1)
    return f" (did you mean {by_lower_case[near[0]]}?)" if near else ""

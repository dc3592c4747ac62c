"""Messages on the terminal: their level, and text that cannot control it."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import click

from cal_ratio_trainer.errors import NOTICE, harmless


class HarmlessStream:
    """A text stream whose words cannot control the terminal: names of files, branches and layers come from anywhere.

    rich, whose colours do control it, writes to `rich_proxied_file` instead; tables escape their own cells.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Writes text, made harmless."""
        return self.rich_proxied_file.write(harmless(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts, made harmless."""
        self.rich_proxied_file.writelines(map(harmless, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.levelno == NOTICE else super().format(record)


def verbosity_option() -> click.Option:
    """Option -v of the group and of every command."""
    return click.Option(
        ["verbose", "-v", "--verbose"],
        count=True,
        help="Print more messages, and a traceback with errors; -vv prints all messages.",
    )


def set_verbosity(verbose: int) -> None:
    """Notices and warnings, with -v also what is being done, with -vv everything; given twice, the larger one counts.

    Only what needs attention begins with a word in capitals.
    """
    level = (NOTICE, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
        logging.basicConfig(handlers=[handler], level=level)
    root.setLevel(min(level, root.level or level))
    for noisy in ("matplotlib", "fsspec", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

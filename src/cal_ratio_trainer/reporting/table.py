"""A table of text: for the terminal, for a text file, and for a report."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.markdown import escaped

if TYPE_CHECKING:
    from rich.table import Table


class Markup(str):
    """A cell in Markdown: bold words, a link, a figure. Any other cell is shown as it is, whatever is in it."""

    __slots__ = ()


@dataclass(frozen=True)
class ReportTable:
    """One table.

    Attributes:
        title: subject in plain words.
        columns: their names.
        rows: cells of text; those that are `Markup` are Markdown in a report and plain text without stars elsewhere.
        note: note for the reader in plain words; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


NOT_KNOWN = "-"
"""Cell of a value that is not known."""


def number(value: float | None, form: str) -> str:
    """A cell with a number in a format of `format`; '-' for None, NaN and infinity."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else format(value, form)


def unbroken(text: str) -> str:
    """Text in which no line ends."""
    return text.replace(" ", "\xa0")


def bold(text: str) -> Markup:
    """A cell in bold: the best of its kind."""
    return Markup(f"**{escaped(text)}**")


_NUMBER = re.compile(r"[-–—]?|nan|[-+−<>≤≥]?\s*\d[\d.,]*(e[-+]?\d+)?(\s*([±+(×].*|%|[a-zA-Zµ²/]{1,8})|\s+[-−]\d.*)?")
"""Cells aligned to the right in a table: a number with its error, remark in brackets or unit behind it; or nothing."""


def as_text(table: ReportTable) -> str:
    """Title, columns under each other, note."""
    rows = [tuple(_plain(cell) for cell in row) for row in (table.columns, *table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    note = f"{table.note}\n" if table.note else ""
    return f"{table.title}\n" + "\n".join(line.rstrip() for line in lines) + f"\n{note}"


def as_rich(table: ReportTable) -> "Table":
    """For the terminal: `rich.print` shows it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # Text, not str: brackets are no markup here.
    rich = Table(
        title=Text(table.title),
        caption=Text(table.note),
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for i, column in enumerate(table.columns):
        rich.add_column(Text(column), justify="right" if i else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(harmless(_plain(cell))) for cell in row))
    return rich


def as_markdown(table: ReportTable) -> str:
    """A table of GitHub's Markdown, without the title; columns of numbers stand right."""
    head = " | ".join(escaped(column) for column in table.columns)
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    rule = "|".join("---:" if _are_numbers(column) else ":---" for column in columns)
    rows = [" | ".join(cell if isinstance(cell, Markup) else escaped(cell) for cell in row) for row in table.rows]
    note = f"\n\n{escaped(table.note)}" if table.note else ""
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)]) + note


def _are_numbers(cells: Sequence[str]) -> bool:
    return any(cells) and all(_NUMBER.fullmatch(_plain(cell)) for cell in cells)


def _plain(cell: str) -> str:
    return cell.replace("**", "").replace("\\", "") if isinstance(cell, Markup) else cell

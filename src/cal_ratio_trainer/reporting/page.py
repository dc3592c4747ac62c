"""Tables of text, and one HTML page from Markdown: images inside, contents, sortable tables, no other file.

The page forbids all connections and all scripts but its own (Content-Security-Policy), so that it is safe to open
from a mail.
"""

import base64
import hashlib
import itertools
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.results import escaped

if TYPE_CHECKING:
    from rich.table import Table


_PNG_SIGNATURE, _PNG_HEADER = b"\x89PNG\r\n\x1a\n", 24
"""Begin of a PNG, and length up to its width and height."""


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


def percentage(share: float) -> str:
    """A cell with a share in per cent, without the sign; '-' for NaN."""
    return number(100 * share, ".1f")


def with_errors(value: float, down: float, up: float, form: str, alike: float = 0.0) -> str:
    """A cell with a value and its errors, in which no line ends; '-' if the value is not known.

    Args:
        value: value.
        down: error downwards, at least 0.
        up: error upwards.
        form: format of `format`; a sign in it is that of the value alone.
        alike: one error is shown if the two differ by at most this share of the larger, or look the same.

    >>> with_errors(0.99, 0.01, 0.01, ".2f").split(), with_errors(0.99, 0.02, 0.01, ".2f").split()
    (['0.99', '±', '0.01'], ['0.99', '+0.01', '-0.02'])
    """
    if not math.isfinite(value):
        return NOT_KNOWN
    lower, upper, larger = (format(error, form.lstrip("+")) for error in (down, up, max(down, up)))
    is_one = lower == upper or abs(up - down) <= alike * max(down, up)
    return unbroken(f"{value:{form}} ± {larger}" if is_one else f"{value:{form}} +{upper} -{lower}")


def unbroken(text: str) -> str:
    """Text in which no line ends."""
    return text.replace(" ", "\xa0")


def bold(text: str) -> Markup:
    """A cell in bold: the best of its kind."""
    return Markup(f"**{escaped(text)}**")


def picture(caption: str, path: str, is_beside: bool = False) -> Markup:
    """A figure in Markdown.

    Args:
        caption: plain text, also the alternative text.
        path: path from the page, quoted as in an address.
        is_beside: the page refers to the file; otherwise it contains the picture.
    """
    return Markup(f"![{escaped(caption)}]({path}{_BESIDE if is_beside else ''})")


_BESIDE = ' "beside"'
_NUMBER = re.compile(r"[-–—]?|nan|[-+−<>≤≥]?\s*\d[\d.,]*(e[-+]?\d+)?(\s*([±+([×].*|%|[a-zA-Zµ²/]{1,8})|\s+[-−]\d.*)?")
"""Cells aligned to the right in a table: a number with its error, interval, remark or unit behind it; or nothing."""


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
    are_numbers = [any(cells) and all(_NUMBER.fullmatch(_plain(cell)) for cell in cells) for cells in columns]
    rule = "|".join("---:" if each else ":---" for each in are_numbers)
    rows = [" | ".join(cell if isinstance(cell, Markup) else escaped(cell) for cell in row) for row in table.rows]
    note = f"\n\n{escaped(table.note)}" if table.note else ""
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)]) + note


def _plain(cell: str) -> str:
    return cell.replace("**", "").replace("\\", "") if isinstance(cell, Markup) else cell


MAX_OPEN_IMAGES, MAX_OPEN_ROWS = 20, 60
"""A part of the page with more images or table rows than this is folded when the page opens."""

_SHORT_TEXT = {"td": 24, "th": 13}
"""A cell or a heading with more letters than this is broken into lines, and may be so wide that its text reads well."""

_CONTENTS_LEVELS = ("h2", "h3")


def page_html(title: str, markdown: str, folder: Path, is_run: bool = False, folds: bool = True) -> str:
    """The whole page.

    Args:
        title: for the browser's tab.
        markdown: content of the page; HTML in it is shown as text, never as HTML.
        folder: base of relative image paths; no image outside it is read.
        is_run: page of a run: it may show pictures beside it, and has the colours of pictures inverted if it is dark.
        folds: long parts are folded when the page opens.

    Raises:
        OSError: an image is missing.
        ValueError: an image lies outside the folder, or is no PNG.
    """
    from jinja2 import Environment
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    contents = _number_headings(tokens)
    _shape_images_and_tables(tokens, folder)
    body = "".join(_folded(parser, part) for part in _parts(tokens)) if folds else _html(parser, tokens)
    script = _file("page.js")
    page: str = (
        Environment(autoescape=True)
        .from_string(_file("page.html"))
        .render(
            title=title.encode(errors="backslashreplace").decode(),
            contents=contents,
            body=body,
            style=_file("page.css"),
            images="data: 'self' file:" if is_run else "data:",
            kind="run" if is_run else "report",
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )
    return page


def _number_headings(tokens: Sequence[Any]) -> list[dict[str, str]]:
    contents: list[dict[str, str]] = []
    for opening, inside in itertools.pairwise(tokens):
        if opening.type == "heading_open" and opening.tag in _CONTENTS_LEVELS:
            name = f"section-{len(contents) + 1}"
            opening.attrSet("id", name)
            text = "".join(child.content for child in inside.children or ())
            contents.append({"id": name, "level": opening.tag, "text": text})
    return contents


def _shape_images_and_tables(tokens: Sequence[Any], folder: Path) -> None:
    in_cell = False
    for before, token in itertools.pairwise(tokens):
        if token.tag in ("td", "th"):
            in_cell = token.nesting == 1
        images = [child for child in token.children or () if child.type == "image"]
        if before.tag in _SHORT_TEXT and not images and len(token.content) > _SHORT_TEXT[before.tag]:
            before.attrJoin("class", "text")
        for image in images:
            # From here on it is HTML; all text in it is escaped here.
            image.type = "html_inline"
            image.content = _image_html(folder, image, with_caption=not in_cell)


def _image_html(folder: Path, image: Any, with_caption: bool) -> str:
    source, is_beside = str(image.attrs["src"]), "title" in image.attrs
    data = _read_png(folder, source, _PNG_HEADER if is_beside else -1)
    width, height = struct.unpack(">II", data[16:_PNG_HEADER])
    said = escape("".join(child.content for child in image.children or ()))
    address = escape(source) if is_beside else f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    html = (
        f'<img src="{address}" alt="{said}" width="{width}" height="{height}" loading="lazy" decoding="async" '
        'tabindex="0">'
    )
    return f'<span class="figure">{html}<span class="caption">{said}</span></span>' if with_caption else html


def _read_png(folder: Path, source: str, size: int) -> bytes:
    path = (folder / unquote(source)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{source} lies outside {folder}")
    with path.open("rb") as file:
        data = file.read(size)
    if not data.startswith(_PNG_SIGNATURE) or len(data) < _PNG_HEADER:
        raise ValueError(f"{source} is no PNG")
    return data


def is_png(path: Path) -> bool:
    """True for a file that begins as a PNG."""
    try:
        with path.open("rb") as file:
            return file.read(_PNG_HEADER).startswith(_PNG_SIGNATURE)
    except OSError:
        return False


def _parts(tokens: Sequence[Any]) -> Iterator[list[Any]]:
    """The tokens from each heading to the next."""
    part: list[Any] = []
    for token in tokens:
        if token.type == "heading_open" and part:
            yield part
            part = []
        part.append(token)
    yield part


def _folded(parser: Any, part: list[Any]) -> str:
    """A part as HTML; a long one with all but its heading folded."""
    images = sum(child.type == "html_inline" for token in part for child in token.children or ())
    rows = sum(token.type == "tr_open" for token in part)
    begins = next((place + 1 for place, token in enumerate(part) if token.type == "heading_close"), 0)
    head, rest = _html(parser, part[:begins]), _html(parser, part[begins:])
    if images <= MAX_OPEN_IMAGES and rows <= MAX_OPEN_ROWS:
        return head + rest
    said = f"{images} figures" if images else f"{rows} rows"
    return f'{head}<details class="long"><summary>{said}</summary>\n{rest}</details>\n'


def _html(parser: Any, tokens: Sequence[Any]) -> str:
    html: str = parser.renderer.render(tokens, parser.options, {})
    # On a narrow screen a table scrolls by itself, not the page. Text cannot bring these tags: its < is escaped.
    return html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


@cache
def _file(name: str) -> str:
    return resources.files("cal_ratio_trainer.reporting").joinpath(name).read_text("utf-8")

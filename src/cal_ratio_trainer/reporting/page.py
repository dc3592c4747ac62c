"""One HTML page from Markdown: images inside, contents, sortable tables; needs no network and no other file."""

import base64
import itertools
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_CONTENTS_LEVELS = ("h2", "h3")


def page_html(title: str, markdown: str, folder: Path) -> str:
    """The whole page.

    Args:
        title: for the browser's tab.
        markdown: what the page says; HTML in it is shown as text, never as HTML.
        folder: where relative image paths begin; no image outside it is read.

    Raises:
        OSError: an image is missing.
        ValueError: an image lies outside the folder.
    """
    from jinja2 import Environment
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    contents = _number_headings(tokens)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                child.attrs["src"] = _as_data(folder, str(child.attrs["src"]))
    body = parser.renderer.render(tokens, parser.options, {})
    page: str = (
        Environment(autoescape=True)
        .from_string(_file("page.html"))
        .render(title=title, contents=contents, body=body, style=_file("page.css"), script=_file("page.js"))
    )
    return page


def _number_headings(tokens: list[Any]) -> list[dict[str, str]]:
    contents: list[dict[str, str]] = []
    for opening, inside in itertools.pairwise(tokens):
        if opening.type == "heading_open" and opening.tag in _CONTENTS_LEVELS:
            name = f"section-{len(contents) + 1}"
            opening.attrSet("id", name)
            text = "".join(child.content for child in inside.children or ())
            contents.append({"id": name, "level": opening.tag, "text": text})
    return contents


def _as_data(folder: Path, source: str) -> str:
    path = (folder / unquote(source)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{source} lies outside {folder}")
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


@cache
def _file(name: str) -> str:
    return resources.files("cal_ratio_trainer.reporting").joinpath(name).read_text("utf-8")

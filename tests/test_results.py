"""Tables of results in notebooks."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from markdown_it import MarkdownIt

from cal_ratio_trainer.results import Result, code, escaped
from tests.reporting.some_reports import HOSTILE


class Uneven(Result):
    """A table whose second row has a column that the first lacks, as the history of a run of an earlier version."""

    @property
    def headline(self) -> str:
        """See `Result`."""
        return "uneven <rows>"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """See `Result`."""
        return [{"epoch": 0, "auc": 0.5}, {"epoch": 1, "loss": 2.0, "auc": 0.75}]


def test_every_value_stands_below_its_name() -> None:
    assert Uneven()._repr_html_() == (
        "<p>uneven &lt;rows&gt;</p><table><thead><tr><th>epoch</th><th>auc</th><th>loss</th></tr></thead>"
        "<tr><td>0</td><td>0.5</td><td></td></tr><tr><td>1</td><td>0.75</td><td>2</td></tr></table>"
    )
    assert list(Uneven().to_pandas().columns) == ["epoch", "auc", "loss"]


def test_escaped_text_comes_back_letter_by_letter_from_a_parser() -> None:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    (_, inline, _) = parser.parse(escaped(HOSTILE))
    assert "".join(child.content for child in inline.children or ()) == HOSTILE.replace("\n", " ")
    assert {child.type for child in inline.children or ()} <= {"text", "text_special"}


@pytest.mark.parametrize("line_break", ["\n", "\r", "\v", "\x85", "\u2028"])
def test_a_name_with_a_line_break_begins_no_block(line_break: str) -> None:
    markdown = escaped(f"a{line_break * 2}1. b{line_break}- c")
    assert len(markdown.splitlines()) == 1
    assert "<li>" not in MarkdownIt("commonmark").render(markdown)


def test_a_number_keeps_the_spaces_that_hold_it_and_its_error_together() -> None:
    assert escaped("0.98\xa0±\xa00.01") == "0.98\xa0±\xa00.01"


def test_what_cannot_be_shown_or_written_is_named() -> None:
    assert escaped("a\x1b[2J\udcff\u202eb") == r"a\\x1b\[2J\\xff\\u202eb"


@pytest.mark.parametrize("name", [HOSTILE, "a`b", "a|b", "a\\`b", "plain_name.keras", "", "\udcff", "` `"])
def test_a_name_as_code_stays_in_its_cell(name: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(f"| a | b |\n|---|---|\n| {code(name)} | c |")
    assert html.count("<td>") == 2
    for tag in ("<script", "<a", "<img", "<em", "<h1"):
        assert tag not in html

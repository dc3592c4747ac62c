"""Content of a page; test_page_in_browser tests its look."""

import base64
import hashlib
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from cal_ratio_trainer.reporting.page import (
    MAX_OPEN_ROWS,
    Markup,
    ReportTable,
    as_markdown,
    as_rich,
    as_text,
    bold,
    page_html,
)
from tests.factories.files import white_png


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image in it, and one beside it."""
    image = white_png(3, 2)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a b.png").write_bytes(image)
    (tmp_path / "outside.png").write_bytes(image)
    return tmp_path / "report"


def test_an_image_is_inside_with_its_size_and_waits_until_it_is_seen(folder: Path) -> None:
    page = page_html("t", "![what it shows](a%20b.png)", folder)
    tag = re.search(r"<img src=[^>]*>", page)
    assert tag is not None
    for part in ('alt="what it shows"', 'width="3"', 'height="2"', 'loading="lazy"', 'decoding="async"'):
        assert part in tag.group()


@pytest.mark.parametrize("source", ["../outside.png", "%2e%2e/outside.png", "/etc/hostname"])
def test_an_image_outside_the_folder_is_not_read(folder: Path, source: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        page_html("t", f"![x]({source})", folder)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    with pytest.raises(ValueError, match="outside"):
        page_html("t", "![x](link.png)", folder)


def test_what_is_no_image_is_not_put_in(folder: Path) -> None:
    (folder / "text.png").write_text("secret")
    with pytest.raises(ValueError, match=r"text\.png is no PNG"):
        page_html("t", "![x](text.png)", folder)


def test_a_missing_image_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        page_html("t", "![x](missing.png)", folder)


def test_html_in_text_title_and_headings_is_shown_as_text(folder: Path) -> None:
    page = page_html("</title><b>", "## <b>x</b>\n\n<b>y</b>", folder)
    assert "<b>" not in page
    assert "<title>&lt;/title&gt;&lt;b&gt;</title>" in page


def test_links_that_run_something_are_text(folder: Path) -> None:
    page = page_html("t", "[x](javascript:alert(1)) [y](data:text/html,z) [z](vbscript:a)", folder)
    assert re.findall(r"<a href=\"(?!#)", page) == []


def test_the_page_allows_its_own_script_only_and_no_connection(folder: Path) -> None:
    page = page_html("t", "text", folder)
    script = page.partition("<script>")[2].rpartition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_a_long_table_is_folded_and_a_short_one_is_not(folder: Path) -> None:
    def table(rows: int) -> str:
        return "## h\n\n| a |\n|---|\n" + "| 1 |\n" * rows

    assert 'class="long"' not in page_html("t", table(MAX_OPEN_ROWS - 1), folder)
    long = page_html("t", table(MAX_OPEN_ROWS + 1), folder)
    assert f'<details class="long"><summary>{MAX_OPEN_ROWS + 2} rows</summary>' in long
    assert long.index("<h2") < long.index('class="long"')


def test_every_table_scrolls_by_itself(folder: Path) -> None:
    page = page_html("t", "| a |\n|---|\n| `<table>` |\n", folder)
    assert page.count('<div class="scroll"><table>') == page.count("</table></div>") == 1


def test_long_text_in_a_table_gets_room_and_short_text_and_images_take_none(folder: Path) -> None:
    page = page_html("t", "|a|b|\n|-|-|\n|background that passes at 50 %|1|\n|short|![x](a%20b.png)|", folder)
    assert page.count('<td class="text">') == 1
    assert '<td class="text">background' in page


TABLE = ReportTable(
    "Figures of merit", ("run", "AUC", "range"), (("a_b", bold("0.99"), "0 to 1"), ("c|d", "0.9", "1 to 20")), "A note."
)


def test_markdown_puts_numbers_right_and_shows_names_as_they_are() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "| run | AUC | range |",
        "|:---|---:|:---|",
        "| a\\_b | **0.99** | 0 to 1 |",
        "| c\\|d | 0.9 | 1 to 20 |",
        "",
        "A note.",
    ]


@pytest.mark.parametrize(
    "cell", ["1,234", "80 (6 %)", "9.5 ± 0.1", "−2", "-", "", "1e-5", "12.5 %", "< 0.3", "3 GeV", "nan", "100 -0.81"]
)
def test_numbers_with_errors_units_and_remarks_stand_right(cell: str) -> None:
    assert "|---:|" in as_markdown(ReportTable("t", ("n",), (("1",), (cell,))))


@pytest.mark.parametrize("cell", ["0 to 1", "2020-01-01 data", "model/3", "x", "10 jets of 12"])
def test_words_stand_left(cell: str) -> None:
    assert "|:---|" in as_markdown(ReportTable("t", ("n",), (("1",), (cell,))))


def test_a_table_without_rows_is_one_all_the_same() -> None:
    empty = ReportTable("nothing", ("a", "b"), ())
    assert as_markdown(empty) == "| a | b |\n|:---|:---|"
    assert as_text(empty).startswith("nothing\na  b\n")


def test_text_aligns_columns_and_drops_markup() -> None:
    assert as_text(TABLE) == (
        "Figures of merit\nrun   AUC    range\n------------------\na_b  0.99   0 to 1\nc|d   0.9  1 to 20\nA note.\n"
    )


def test_the_terminal_shows_brackets_as_they_are() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(as_rich(ReportTable("[bold]t", ("[x]",), (("[red]1",), ("2",)))))
    assert "[bold]t" in out.getvalue()
    assert "[red]1" in out.getvalue()


def test_markup_is_left_alone_in_markdown() -> None:
    assert "| [x](y) |" in as_markdown(ReportTable("t", ("a",), ((Markup("[x](y)"),),)))

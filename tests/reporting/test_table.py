"""Tables as text, for the terminal and in Markdown."""

import io

import pytest
from rich.console import Console

from cal_ratio_trainer.reporting.table import Markup, ReportTable, as_markdown, as_rich, as_text, bold

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

"""The two files of a report."""

import re
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, Drawing, FigureLabels
from cal_ratio_trainer.reporting.report import Report, file_stem
from tests.reporting.some_reports import HOSTILE, draw_line, written_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report with something of everything."""
    return written_report(tmp_path_factory.mktemp("report"), images=2)


def test_markdown_shows_every_figure_from_the_folder_beside_it(report: Report) -> None:
    paths = re.findall(r"!\[[^\n]*?\]\((report_figures/[^)\n]*\.png)\)", report.file.read_text("utf-8"))
    assert len(paths) == report.figure_count == 6
    assert sorted(path.name for path in report.figure_folder.iterdir()) == sorted(Path(path).name for path in paths)
    assert all((report.file.parent / path).is_file() for path in paths)


def test_the_page_holds_every_figure_and_names_no_other_file(report: Report) -> None:
    page = report.page.read_text("utf-8")
    assert page.count("data:image/png;base64,") == 6
    assert re.findall(r"""(?:src|href)="(?!data:image/png;base64,|#section-)""", page) == []
    assert "url(" not in page


def test_what_an_image_shows_is_said_for_who_cannot_see_it(report: Report) -> None:
    page = report.page.read_text("utf-8")
    assert 'alt="first"' in page
    assert page.count("<img src=") == len(re.findall(r'<img src="[^"]*" alt="[^"]+"', page)) == 6


def test_a_hostile_name_makes_no_tag_and_no_link(report: Report) -> None:
    page = report.page.read_text("utf-8")
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert" in page
    assert 'href="javascript' not in page
    assert "\n# h" not in report.file.read_text("utf-8")


def test_figures_of_files_with_other_labels_have_those(tmp_path: Path) -> None:
    seen: list[tuple[str, list[str]]] = []

    def note(drawings: Any, folder: Path, labels: FigureLabels) -> None:
        seen.append((labels.experiment, [drawing.name for drawing in drawings]))
        for drawing in drawings:
            drawing.write(folder, labels)

    report = Report("Two", tmp_path / "two.md", DEMO)
    report.figures([Drawing("one", draw_line, ([1.0],))])
    report.figures([Drawing("other", draw_line, ([1.0],))], ATLAS_INTERNAL)
    report.write(note)
    assert seen == [("demo", ["one"]), ("ATLAS", ["other"])]


def test_pdf_figures_come_with_png_for_the_page(tmp_path: Path) -> None:
    labels = FigureLabels("demo", "", 13, None, simulation=True, plot_format="pdf")
    report = Report("Both", tmp_path / "both.md", labels)
    report.figures([Drawing("one", draw_line, ([1.0],))])
    report.write()
    assert {path.suffix for path in report.figure_folder.iterdir()} == {".png", ".pdf"}


def test_two_different_figures_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    report = Report("Twice", tmp_path / "twice.md", DEMO)
    report.figures([Drawing("one", draw_line, ([1.0],)), Drawing("one", draw_line, ([2.0],))])
    with pytest.raises(ValueError, match="two figures of one name: one"):
        report.write()
    assert list(tmp_path.iterdir()) == []


def test_captions_must_be_as_many_as_figures(tmp_path: Path) -> None:
    report = Report("Few", tmp_path / "few.md", DEMO)
    with pytest.raises(ValueError, match="zip"):
        report.figures([Drawing("one", draw_line, ([1.0],))], captions=["a", "b"])


def test_parts_of_file_names_hold_no_folder() -> None:
    for text in (HOSTILE, "../../x", "/etc/passwd", "", ".."):
        stem = file_stem(text)
        assert "/" not in stem
        assert stem not in ("", ".", "..")

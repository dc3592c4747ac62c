"""The two files of a report."""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, Drawing, FigureLabels
from cal_ratio_trainer.reporting.page import ReportTable
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, file_stem, report_on
from tests.reporting.some_reports import HOSTILE, draw_line, written_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Report with all kinds of content."""
    return written_report(tmp_path_factory.mktemp("report"), images=2)


@dataclass(frozen=True)
class Counts:
    """Results of something that no module of the package knows."""

    jets: dict[str, int]


def _fill(report: Report, counts: Counts, settings: FigureSettings) -> None:
    rows = tuple((name, f"{jets}") for name, jets in counts.jets.items())
    report.table(ReportTable("Jets", ("class", "jets"), rows))
    report.figures([Drawing("jets", draw_line, ([float(jets) for jets in counts.jets.values()],))])


def test_one_entry_adds_a_report_on_results_of_another_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = ReportKind(lambda counts: f"{sum(counts.jets.values())} jets", lambda counts: ("demo",), _fill)
    monkeypatch.setitem(REPORTS, Counts, kind)
    report = report_on(Counts({"signal": 3, "QCD": 5}), FigureSettings.make(), tmp_path / "counts.md")
    report.write()
    assert report.file.read_text("utf-8").startswith("# 8 jets\n")
    assert "| signal | 3 |" in report.file.read_text("utf-8")
    assert report.page.read_text("utf-8").count("data:image/png;base64,") == 1
    assert report.labels.experiment == "demo"


def test_markdown_shows_every_figure_from_the_folder_beside_it(report: Report) -> None:
    paths = re.findall(r"!\[[^\n]*?\]\((report_figures/[^)\n]*\.png)\)", report.file.read_text("utf-8"))
    assert len(paths) == len(report.drawings) == 6
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


def test_parts_of_file_names_hold_no_folder() -> None:
    for text in (HOSTILE, "../../x", "/etc/passwd", "", ".."):
        stem = file_stem(text)
        assert "/" not in stem
        assert stem not in ("", ".", "..")


def write_report(folder: Path, *names: str, labels: FigureLabels = DEMO) -> Path:
    """Writes a report with figures of these names; returns their folder."""
    report = Report("Some", folder / "some.md", labels)
    report.figures([Drawing(name, draw_line, ([float(len(name))],)) for name in names])
    report.write()
    return report.figure_folder


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_leaves_only_its_own_figures(tmp_path: Path) -> None:
    both = FigureLabels("demo", "", 13, None, simulation=True, plot_format="both")
    folder = write_report(tmp_path, "one", "two", labels=both)
    assert files_in(folder) == {"one.png", "one.pdf", "two.png", "two.pdf"}
    write_report(tmp_path, "two", "three")
    assert files_in(folder) == {"two.png", "three.png"}
    write_report(tmp_path)
    assert files_in(folder) == set()


def test_what_the_program_did_not_draw_or_somebody_changed_stays(tmp_path: Path) -> None:
    folder = write_report(tmp_path, "one", "two", "three")
    (folder / "talk.png").write_bytes((folder / "one.png").read_bytes())
    (folder / "two.png").write_bytes(b"drawn over")
    (folder / "three.png").unlink()
    (folder / "three.png").symlink_to(folder / "talk.png")
    write_report(tmp_path, "four")
    assert files_in(folder) == {"talk.png", "two.png", "three.png", "four.png"}
    # It does not become a file of the program by that.
    write_report(tmp_path, "five")
    assert files_in(folder) == {"talk.png", "two.png", "three.png", "five.png"}


def test_figures_of_another_report_in_the_folder_stay(tmp_path: Path) -> None:
    folder = write_report(tmp_path, "one")
    other = Report("Other", tmp_path / "other.md", DEMO)
    other.figures([Drawing("two", draw_line, ([1.0],))])
    other.write()
    assert files_in(folder) == {"one.png"}


def test_where_a_figure_cannot_be_drawn_the_earlier_report_is_whole(tmp_path: Path) -> None:
    def fail(*given: object) -> None:
        raise OSError("disk full")

    folder = write_report(tmp_path, "one")
    report = Report("Some", tmp_path / "some.md", DEMO)
    report.figures([Drawing("two", draw_line, ([1.0],))])
    with pytest.raises(OSError, match="disk full"):
        report.write(fail)
    assert files_in(folder) == {"one.png"}


def test_calls_that_write_one_report_at_the_same_time_leave_one_of_them_whole(tmp_path: Path) -> None:
    (drawn,) = Drawing("same", draw_line, ([1.0],)).write(tmp_path / "elsewhere", DEMO)
    folder = tmp_path / "reports"

    def draw(drawings: Iterable[Drawing], figures: Path, labels: FigureLabels) -> None:
        for drawing in drawings:
            write_bytes(figures / f"{drawing.name}.png", drawn.read_bytes())

    def write(name: str) -> None:
        report = Report("Some", folder / "some.md", DEMO)
        report.figures([Drawing(name, draw_line, ([1.0],))])
        report.write(draw)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["one", "two", "three"] * 5))
    (there,) = files_in(folder / "some_figures")
    assert f"(some_figures/{there})" in (folder / "some.md").read_text()
    assert files_in(folder) == {"some.md", "some.html", "some_figures", ".some_figures.json"}


@pytest.mark.parametrize("content", ["", "[3]", '{"../../kept.txt": "x", "/kept.txt": "x", "..": "x"}', "[" * 9000])
def test_a_list_that_is_none_of_ours_removes_nothing(tmp_path: Path, content: str) -> None:
    folder = write_report(tmp_path, "one")
    (tmp_path / ".some_figures.json").write_text(content)
    write_report(tmp_path, "two")
    assert files_in(folder) == {"one.png", "two.png"}
    assert list(json.loads((tmp_path / ".some_figures.json").read_text())) == ["two.png"]

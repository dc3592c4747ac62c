"""Report with all kinds of content, for tests of its files."""

from pathlib import Path
from typing import Any

from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.reporting.page import ReportTable, bold
from cal_ratio_trainer.reporting.report import Report
from cal_ratio_trainer.results import escaped

HOSTILE = "<script>alert('x')</script> | [a](javascript:alert(1)) `b` *c* ![d](../e.png) </style> &amp; $x$ \n# h"
"""Name with special characters of Markdown, HTML and matplotlib."""


def draw_line(axes: Any, heights: list[float]) -> None:
    """Some content."""
    axes.plot(heights)


def numbers_table() -> ReportTable:
    """Numbers that sort differently as text: thousands, errors, signs, powers of ten, blanks."""
    rows = (
        ("nine", "9", "9.5 ± 0.1", "2e-3"),
        ("thousand", "1,234", "−2 ± 1", "0.01"),
        ("eighty", "80 (6 %)", "10.25 ± 3", "-"),
        ("none", "", "nan", "1.5e4"),
    )
    return ReportTable("Numbers", ("name", "jets", "value", "small"), rows)


def written_report(folder: Path, images: int = 24) -> Report:
    """Report with narrow and wide tables, a hostile name, a few figures, a part with many, and one in a cell."""
    report = Report("Report on everything", folder / "report.md", DEMO)
    report.heading("Tables")
    report.table(numbers_table())
    wide = tuple(f"column {number}" for number in range(24))
    report.table(ReportTable("Wide", wide, (tuple(f"{number}.123456" for number in range(24)),)))
    report.heading("Names")
    report.text(f"A name: {escaped(HOSTILE)}")
    report.text(f"A long one: {'averylongwordwithoutanyspace' * 20}")
    report.table(ReportTable(HOSTILE, (HOSTILE, "number"), ((HOSTILE, "1"), (bold(HOSTILE), "2")), HOSTILE))
    report.heading("Figures")
    report.figures(
        Drawing(f"figure_{number}", draw_line, ([1.0, number],), caption=caption)
        for number, caption in enumerate(["first", HOSTILE, "third"])
    )
    cell = report.figure(Drawing("in_a_cell", draw_line, ([2.0, 1.0],), caption="in a cell"))
    report.table(ReportTable("With a figure", ("what", "plot"), (("this", cell),)))
    report.heading("Many figures")
    report.heading("Part", level=3)
    report.figures([Drawing(f"many_{number}", draw_line, ([1.0, number],)) for number in range(images)])
    report.write()
    return report

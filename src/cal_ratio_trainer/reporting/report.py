"""A report: Markdown with its figures beside it, and the same as one HTML page with everything inside.

What is written comes from one list of blocks, so that both say the same.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.markdown import escaped
from cal_ratio_trainer.plotting import Drawing, FigureLabels, write_all
from cal_ratio_trainer.reporting.drawn_figures import DrawnFigures
from cal_ratio_trainer.reporting.page import page_html
from cal_ratio_trainer.reporting.table import Markup, ReportTable, as_markdown

_LONGEST_STEM = 120

DrawAll = Callable[[Sequence[Drawing], Path, FigureLabels], object]
"""Draws several figures into a folder, as `plotting.write_all` does."""


@dataclass
class Report:
    """Collects headings, text, tables and figures; `write` makes the files.

    Attributes:
        title: the page's heading.
        file: the Markdown file, e.g. reports/report.md; the page is report.html beside it, the figures' folder
            report_figures/.
        labels: what stands over the figures, where a figure is not given others.
    """

    title: str
    file: Path
    labels: FigureLabels
    _blocks: list[str] = field(default_factory=list)
    _drawings: list[tuple[FigureLabels, Drawing]] = field(default_factory=list)

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.file.with_suffix(".html")

    @property
    def figure_folder(self) -> Path:
        """Where the figures lie."""
        return self.file.with_name(f"{self.file.stem}_figures")

    def heading(self, text: str, level: int = 2) -> None:
        """A heading in plain words; levels 2 and 3 stand in the table of contents."""
        self._blocks.append(f"{'#' * level} {escaped(text)}")

    def text(self, words: str) -> None:
        """A paragraph or list in Markdown; put text from files and users through `escaped`."""
        self._blocks.append(words)

    def table(self, table: ReportTable) -> None:
        """A table with its title above it."""
        self._blocks.append(f"**{escaped(table.title)}**\n\n{as_markdown(table)}")

    def figures(
        self, drawings: Iterable[Drawing], labels: FigureLabels | None = None, captions: Sequence[str] = ()
    ) -> None:
        """Figures side by side, as many as fit the width.

        Args:
            drawings: what to draw.
            labels: what stands over them; None for those of the report.
            captions: what each shows, in plain words; without any, their names.
        """
        drawings = list(drawings)
        said = captions or [""] * len(drawings)
        cells = [self.figure(drawing, labels, caption) for drawing, caption in zip(drawings, said, strict=True)]
        if cells:
            self._blocks.append("\n".join(cells))

    def figure(self, drawing: Drawing, labels: FigureLabels | None = None, caption: str = "") -> Markup:
        """A figure for a cell of a table (or for `text`); it is drawn when the report is written.

        Two figures of one name would be one file: give each drawing its own.

        Args:
            drawing: what to draw.
            labels: what stands over it; None for those of the report.
            caption: what it shows, in plain words, for who cannot see it, and under it in the page; empty for its name.
        """
        labels = labels or self.labels
        if labels.plot_format == "pdf":
            labels = replace(labels, plot_format="both")
        self._drawings.append((labels, drawing))
        path = f"{quote(self.figure_folder.name)}/{quote(drawing.name)}.png"
        return Markup(f"![{escaped(caption or drawing.name.replace('_', ' '))}]({path})")

    @property
    def figure_count(self) -> int:
        """How many figures it has so far."""
        return len(self._drawings)

    def write(self, draw_all: DrawAll = write_all) -> None:
        """Draw the figures, then write both files; each appears complete or not at all.

        Figures that an earlier report of this name had and this one has not are removed; files of others stay. Where
        another process is writing a report of this name, this one waits.

        Raises:
            ValueError: two drawings have one name and differ.
            OSError: a file cannot be written.
        """
        self._refuse_one_name_for_two()
        names = [drawing.name + suffix for labels, drawing in self._drawings for suffix in labels.suffixes]
        markdown = "\n\n".join([f"# {escaped(self.title)}", *self._blocks]) + "\n"
        with DrawnFigures.in_turn(self.figure_folder) as earlier:
            for labels in dict.fromkeys(labels for labels, _ in self._drawings):
                draw_all([drawing for its, drawing in self._drawings if its == labels], self.figure_folder, labels)
            drawn = earlier.with_these(names)
            write_text(self.file, markdown)
            write_text(self.page, page_html(self.title, markdown, self.file.parent))
            drawn.only_these(names)

    def _refuse_one_name_for_two(self) -> None:
        names = [drawing.name for _, drawing in self._drawings]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two figures of one name: {', '.join(twice)}")


def file_stem(text: str) -> str:
    """Text as a part of a file name: letters, digits, dots and dashes stay, and not too many of them.

    >>> file_stem("default/00003 (best)")
    'default_00003_best'
    """
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)[:_LONGEST_STEM].strip("._") or "figure"

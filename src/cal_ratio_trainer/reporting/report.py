"""Report: Markdown with its figures beside it, and the same as one HTML page with everything inside.

Both are written from one list of blocks, so that they say the same.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.errors import UserError, did_you_mean
from cal_ratio_trainer.files.atomic import sha256_of, write_text
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.plotting import Drawing, FigureLabels, figure_labels, write_all
from cal_ratio_trainer.reporting.page import Markup, ReportTable, as_markdown, page_html, picture
from cal_ratio_trainer.results import Result, escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_STEM = 120

DrawAll = Callable[[Sequence[Drawing], Path, FigureLabels], object]
"""Draws several figures into a folder, as `plotting.write_all` does."""


@dataclass
class Report:
    """Collects headings, text, tables and figures; `write` makes the files.

    Attributes:
        title: the page's heading.
        file: the Markdown file, e.g. reports/report.md; the page is report.html beside it, the figures' folder
            report_figures/.
        labels: labels of the figures; single figures may have others.
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
        """Folder of the figures."""
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

    def figures(self, drawings: Iterable[Drawing], labels: FigureLabels | None = None) -> None:
        """Figures side by side, as many as fit the width; arguments as `figure`."""
        cells = [self.figure(drawing, labels) for drawing in drawings]
        if cells:
            self._blocks.append("\n".join(cells))

    def figure(self, drawing: Drawing, labels: FigureLabels | None = None) -> Markup:
        """A figure for a cell of a table (or for `text`); it is drawn when the report is written.

        Two figures of one name would be one file: give each drawing its own.

        Args:
            drawing: drawing to make.
            labels: its labels; None for those of the report.
        """
        self._drawings.append((labels or self.labels, drawing))
        path = f"{quote(self.figure_folder.name)}/{quote(drawing.name)}.png"
        return picture(drawing.caption or drawing.name.replace("_", " "), path)

    @property
    def drawings(self) -> dict[str, tuple[Drawing, FigureLabels]]:
        """Its figures so far by name, each with its heading."""
        return {drawing.name: (drawing, labels) for labels, drawing in self._drawings}

    def write(self, draw_all: DrawAll = write_all) -> None:
        """Draws the figures, then writes both files; each appears complete or not at all.

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


@dataclass(frozen=True)
class ReportKind:
    """Entry of `REPORTS`: makes a report of results of one type.

    Attributes:
        title: of the report, from the results.
        sources: origin of the jets, as for `figure_labels`.
        fill: adds text, tables and figures; called with the report, the results and the settings of the command.
    """

    title: Callable[[Any], str]
    sources: Callable[[Any], Iterable[DataTaking | str | None]]
    fill: Callable[[Report, Any, Any], None]


REPORTS: dict[type[Any], ReportKind] = {}
"""Kinds of reports by the type of their results; the module of each report adds its own."""


def report_on(results: Any, settings: FigureSettings, file: Path) -> Report:
    """Report on some results, to be written with `Report.write`.

    Args:
        results: of a type that has an entry in `REPORTS`.
        settings: of the command; they also decide about the heading of the figures.
        file: the Markdown file.
    """
    kind = REPORTS[type(results)]
    report = Report(kind.title(results), file, figure_labels(settings, *kind.sources(results)))
    kind.fill(report, results, settings)
    return report


@dataclass(frozen=True, repr=False)
class ReportResult(Result):
    """Result of a command that writes a report.

    Attributes:
        written: the report.
    """

    written: Report

    @property
    def report(self) -> Path:
        """The Markdown file."""
        return self.written.file

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.written.page

    def figures(self) -> list[str]:
        """Names of the figures of the report."""
        return list(self.written.drawings)

    def figure(self, name: str) -> "Figure":
        """A figure of the report, to show in a notebook or to change.

        Raises:
            UnknownFigure: there is none of this name; names the nearest.
        """
        drawings = self.written.drawings
        if name not in drawings:
            raise UnknownFigure(f"there is no figure {name}{did_you_mean(name, drawings)}; figures() lists all")
        drawing, labels = drawings[name]
        return drawing.figure(labels)


class UnknownFigure(UserError):
    """A figure is asked for by a name that none has."""


def file_stem(text: str) -> str:
    """Text as a part of a file name: letters, digits, dots and dashes stay, and not too many of them.

    >>> file_stem("default/00003 (best)")
    'default_00003_best'
    """
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)[:_MAX_STEM].strip("._") or "figure"


@dataclass(frozen=True)
class DrawnFigures:
    """The figures of one folder.

    Attributes:
        folder: their place.
        checksums: of their content when they were drawn, by the names of the files.
    """

    folder: Path
    checksums: Mapping[str, str]

    @classmethod
    @contextmanager
    def in_turn(cls, folder: Path) -> Iterator["DrawnFigures"]:
        """Content of the list, while no other process draws to the folder or removes from it; waits for its turn.

        Raises:
            OSError: the folder above cannot be written.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held_in_turn(_list_of(folder)):
            yield cls._listed_in(folder)

    @classmethod
    def _listed_in(cls, folder: Path) -> "DrawnFigures":
        """Entries of the list; empty if it cannot be read."""
        try:
            content = json.loads(_list_of(folder).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        listed = content.items() if isinstance(content, dict) else ()
        # A list that was made by hand may name files elsewhere.
        return cls(folder, {name: str(checksum) for name, checksum in listed if Path(name).name == name})

    def with_these(self, names: Collection[str]) -> "DrawnFigures":
        """Adds the figures drawn just now to the list."""
        return self._listed({**self.checksums, **{name: sha256_of(self.folder / name) for name in names}})

    def only_these(self, names: Collection[str]) -> "DrawnFigures":
        """Removes all other figures that have not been changed."""
        for name in self.checksums.keys() - set(names):
            file = self.folder / name
            if file.is_file() and not file.is_symlink() and sha256_of(file) == self.checksums[name]:
                file.unlink()
        return self._listed({name: self.checksums[name] for name in names})

    def _listed(self, checksums: Mapping[str, str]) -> "DrawnFigures":
        if checksums != self.checksums:
            write_text(_list_of(self.folder), json.dumps(dict(checksums), indent=0) + "\n")
        return replace(self, checksums=checksums)


def _list_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.json")

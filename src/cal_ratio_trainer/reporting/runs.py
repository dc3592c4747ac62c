"""All runs as a table: for the terminal as wide as it is, and whole as CSV."""

import csv
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.runs import RunsSettings
from cal_ratio_trainer.errors import UserError, did_you_mean
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.progress import duration, progress
from cal_ratio_trainer.reporting.page import Markup, ReportTable, as_markdown, as_rich, page_html
from cal_ratio_trainer.results import Result, escaped
from cal_ratio_trainer.runs.finding import all_runs
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, RULES, WITHOUT_KS, BestEpoch
from cal_ratio_trainer.runs.run import Run

if TYPE_CHECKING:
    from rich.table import Table

Value = str | float | int | None

_MAX_CELL = 32
_BETWEEN_COLUMNS = 3


class UnknownColumn(UserError):
    """There is no such column to sort by; names the existing ones."""


@dataclass(frozen=True)
class RunRow:
    """A run with what is computed once for it: its recommended epoch."""

    run: Run
    best: BestEpoch | None
    rule: Rule = DEFAULT_RULE

    @classmethod
    def of(cls, run: Run, rule: Rule) -> "RunRow":
        """Reads the content of the table."""
        return cls(run, run.best(rule), rule)

    @property
    def best_epoch(self) -> Value:
        """The recommended epoch; of a set those of its networks, '3+5+2'."""
        if self.run.known_rule is not None:
            best = self.run.best_epochs(self.rule)
            return None if best is None else best.words
        return self.of_best("epoch")

    def of_best(self, figure: str) -> Value:
        """A figure of the recommended epoch."""
        return None if self.best is None else getattr(self.best, figure)

    def test_jets(self, label: Label) -> int | None:
        """Number of jets of a label in the test part."""
        return None if self.run.test_jets is None else self.run.test_jets[label]


@dataclass(frozen=True)
class RunColumn:
    """A column.

    Attributes:
        name: for `--sort`, and its heading as CSV.
        value: of a run; None where it is not known.
        title: its heading on the terminal; empty keeps it to the CSV.
        shown: its text on the terminal; None for the value as it is.
        importance: in a narrow terminal columns of higher numbers are left out first.
    """

    name: str
    value: Callable[[RunRow], Value]
    title: str = ""
    shown: Callable[[RunRow], str] | None = None
    importance: int = 0

    def text(self, row: RunRow) -> str:
        """Content of the cell on the terminal; '-' for unknown values."""
        value = self.value(row)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return "-"
        text = str(value) if self.shown is None else self.shown(row)
        return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _epochs(row: RunRow) -> str:
    planned = row.run.planned_epochs
    return f"{row.run.epochs}/{'?' if planned is None else planned}"


def _ks(row: RunRow) -> str:
    best = row.best
    if best is None or math.isnan(best.ks_excess):
        return f"{row.of_best('ks_sum'):.2f}"
    return f"{best.ks_sum:.2f} ({best.ks_excess:+.1f}σ)"


def _c2st(row: RunRow) -> str:
    excess = row.run.recorded_number("test", "c2st_excess")
    return f"{row.run.recorded_number('test', 'c2st_auc'):.3f}" + ("" if excess is None else f" ({excess:+.1f}σ)")


def _mix(row: RunRow) -> str:
    return "/".join(str(row.test_jets(label)) for label in (Label.SIGNAL, Label.QCD, Label.BIB))


def _data(row: RunRow) -> str:
    simulation = row.run.simulation
    return row.run.data if simulation in (None, row.run.data) else f"{simulation}: {row.run.data}"


def _started(row: RunRow) -> str:
    return (row.run.recorded_text("started") or "")[:16].replace("T", " ")


COLUMNS = (
    RunColumn("run", lambda row: row.run.name, "run", importance=0),
    RunColumn("status", lambda row: row.run.status, "status", importance=1),
    RunColumn("epochs", lambda row: row.run.epochs, "epochs", _epochs, importance=2),
    RunColumn("planned_epochs", lambda row: row.run.planned_epochs),
    RunColumn(
        "test_auc",
        lambda row: row.run.recorded_number("test", "auc"),
        "test AUC",
        lambda row: f"{row.run.recorded_number('test', 'auc'):.4f}",
        importance=3,
    ),
    RunColumn("test_auc_mean", lambda row: row.run.recorded_number("members", "auc", "mean")),
    RunColumn("test_auc_std", lambda row: row.run.recorded_number("members", "auc", "std")),
    RunColumn("test_c2st", lambda row: row.run.recorded_number("test", "c2st_auc"), "test C2ST", _c2st, importance=5),
    RunColumn("test_c2st_excess", lambda row: row.run.recorded_number("test", "c2st_excess")),
    RunColumn("test_signal_jets", lambda row: row.test_jets(Label.SIGNAL), "signal/QCD/BIB", _mix, importance=9),
    RunColumn("test_qcd_jets", lambda row: row.test_jets(Label.QCD)),
    RunColumn("test_bib_jets", lambda row: row.test_jets(Label.BIB)),
    RunColumn(
        "max_efficiency_ratio",
        lambda row: row.run.recorded_number("test", "max_efficiency_ratio"),
        "max εS/√εB",
        lambda row: f"{row.run.recorded_number('test', 'max_efficiency_ratio'):.2f}",
        importance=6,
    ),
    RunColumn("best_epoch", lambda row: row.best_epoch, "best", importance=5),
    RunColumn("best_val_auc", lambda row: row.of_best("auc")),
    RunColumn("best_ks_sum", lambda row: row.of_best("ks_sum"), "its K-S sum", _ks, importance=4),
    RunColumn("best_ks_expected", lambda row: row.of_best("ks_expected")),
    RunColumn("best_ks_excess", lambda row: row.of_best("ks_excess")),
    RunColumn("tag", lambda row: row.run.setting("tag"), "tag", importance=7),
    RunColumn("note", lambda row: row.run.setting("note"), "note", importance=8),
    RunColumn("data", lambda row: row.run.data, "data", _data, importance=12),
    RunColumn("simulation", lambda row: row.run.simulation),
    RunColumn("commit", lambda row: row.run.commit, "commit", importance=13),
    RunColumn("version", lambda row: row.run.recorded_text("versions", "cal_ratio_trainer")),
    RunColumn("seed", lambda row: row.run.recorded_integer("seed")),
    RunColumn("started", lambda row: row.run.recorded_text("started"), "started (UTC)", _started, importance=10),
    RunColumn("ended", lambda row: row.run.recorded_text("ended")),
    RunColumn(
        "seconds", lambda row: row.run.seconds, "took", lambda row: duration(row.run.seconds or 0.0), importance=11
    ),
    RunColumn("reason", lambda row: row.run.trouble or row.run.recorded_text("reason")),
    RunColumn("folder", lambda row: str(row.run.path)),
)


@dataclass(frozen=True, repr=False)
class RunList(Result):
    """Runs as a table.

    Attributes:
        runs: in the order asked for.
        rule: by which the best epoch of each was chosen.
    """

    runs: tuple[RunRow, ...]
    rule: Rule

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{len(self.runs)} run{'' if len(self.runs) == 1 else 's'}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per run with every column of the CSV; what is not known is None."""
        values = [{column.name: column.value(row) for column in COLUMNS} for row in self.runs]
        return [{name: value if _is_known(value) else None for name, value in row.items()} for row in values]

    def troubles(self) -> list[str]:
        """Files of runs that cannot be read, a sentence for each run."""
        return [row.run.trouble for row in self.runs if row.run.trouble]

    def csv(self) -> str:
        """See `runs_csv`."""
        return runs_csv(self.runs)

    def html(self, folder: Path) -> str:
        """See `runs_html`."""
        return runs_html(self.runs, self.rule, folder)

    def as_rich(self, width: int | None = None) -> "Table":
        """The columns that fit a terminal, for `rich.print`; see `runs_table`."""
        return as_rich(runs_table(self.runs, self.rule, width))


def run_list(settings: RunsSettings) -> RunList:
    """The runs that are asked for; errors as `run_rows`."""
    return RunList(tuple(run_rows(settings)), settings.rule)


def run_rows(settings: RunsSettings) -> list[RunRow]:
    """The runs that are asked for, in order; runs without a known value come last in either order.

    Raises:
        UnknownColumn: there is no such column to sort by.
        RunError: there is no folder of runs.
    """
    column = _column(settings.sort.removeprefix("-"))
    folders = all_runs(settings.output_path)
    rows = []
    with progress("read runs", len(folders), "runs") as line:
        for run in folders:
            has_tag = not settings.tag or run.setting("tag") in settings.tag
            if has_tag and (not settings.status or run.status in settings.status):
                rows.append(RunRow.of(run, settings.rule))
            line.advance()
    known = [row for row in rows if _is_known(column.value(row))]
    # Sorting is stable: runs of one value stay in the order they started.
    known.sort(key=lambda row: _sortable(column.value(row)), reverse=settings.sort.startswith("-"))
    ordered = known + [row for row in rows if not _is_known(column.value(row))]
    if not settings.folds:
        return ordered
    with_networks = []
    for row in ordered:
        with_networks += [row, *(RunRow.of(each, settings.rule) for each in row.run.begun_networks)]
    return with_networks


def runs_csv(rows: Sequence[RunRow]) -> str:
    """Every column of every run, as CSV with a heading line; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    for row in rows:
        values = [column.value(row) for column in COLUMNS]
        writer.writerow([value if _is_known(value) else "" for value in values])
    return text.getvalue()


def runs_html(rows: Sequence[RunRow], rule: Rule, folder: Path) -> str:
    """A page with all columns that stand on the terminal, sortable, with links to the pages of the runs.

    Args:
        rows: the runs.
        rule: by which the best epoch was chosen.
        folder: of the page; links lead from there.
    """
    table = runs_table(rows, rule)
    linked = []
    for row, cells in zip(rows, table.rows, strict=True):
        page, name = row.run.page_file, row.run.name
        link = (
            Markup(f"[{escaped(name)}](<{quote(os.fsencode(os.path.relpath(page, folder)))}>)")
            if page.is_file()
            else name
        )
        linked.append((link, *cells[1:]))
    text = as_markdown(replace(table, rows=tuple(linked), note=""))
    note = "\n".join(f"* {escaped(line)}" for line in table.note.splitlines())
    text = f"# Runs\n\n{len(rows)} runs. A click on a heading sorts.\n\n{text}\n\n{note}\n"
    return page_html("Runs", text, folder, folds=False)


def runs_table(rows: Sequence[RunRow], rule: Rule, width: int | None = None) -> ReportTable:
    """The columns that fit.

    Args:
        rows: the runs.
        rule: by which the best epoch was chosen; it stands in the note.
        width: of the terminal in letters; None for all columns. The columns that matter most always stay.
    """
    shown = [column for column in COLUMNS if column.title]
    cells = {column.name: [column.text(row) for row in rows] for column in shown}
    filled = [column for column in shown if column.importance < 5 or any(cell != "-" for cell in cells[column.name])]
    kept = filled if width is None else _fitting(filled, cells, width)
    left_out = [column.title for column in shown if column not in kept and column in filled]
    return ReportTable(
        title="",
        columns=tuple(column.title for column in kept),
        rows=tuple(zip(*(cells[column.name] for column in kept), strict=True)),
        note=_note(rule, [column.title for column in kept], left_out, rows),
    )


def _note(rule: Rule, shown: Sequence[str], left_out: Sequence[str], rows: Sequence[RunRow]) -> str:
    sentences = ["test AUC: of the newest epoch; it depends on the numbers of signal, QCD and BIB jets"]
    if "test C2ST" in shown:
        sentences.append("test C2ST: AUC of a classifier that tells control data from MC")
    if "best" in shown or "its K-S sum" in shown:
        sentences.append(
            f"best: {RULES[rule]}; on validation. σ: above what identical distributions give, grows with the sample"
        )
        # This rule recommends an epoch without K-S only where there is no control region.
        if rule == DEFAULT_RULE and any(row.best is not None and math.isnan(row.best.ks_sum) for row in rows):
            sentences.append(WITHOUT_KS)
    if left_out:
        sentences.append(f"the terminal is too narrow for {', '.join(left_out)}: --csv - prints all columns")
    return "\n".join(f"{sentence}." for sentence in sentences)


def _fitting(columns: list[RunColumn], cells: dict[str, list[str]], width: int) -> list[RunColumn]:
    kept: set[str] = set()
    left = width
    for column in sorted(columns, key=lambda column: column.importance):
        needed = max(len(text) for text in (column.title, *cells[column.name])) + _BETWEEN_COLUMNS
        if not kept or needed <= left:
            kept.add(column.name)
            left -= needed
    return [column for column in columns if column.name in kept]


def _column(name: str) -> RunColumn:
    for column in COLUMNS:
        if column.name == name:
            return column
    names = [column.name for column in COLUMNS]
    raise UnknownColumn(
        f"there is no column {name} to sort by{did_you_mean(name, names)}; there are {', '.join(names)}"
    )


def _is_known(value: Value) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _sortable(value: Value) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (float(value or 0.0), "")

"""The table of all runs."""

import csv
import io
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.config.runs import RunsSettings
from cal_ratio_trainer.reporting.page import as_text
from cal_ratio_trainer.reporting.runs import COLUMNS, UnknownColumn, run_list, run_rows, runs_csv, runs_table
from tests.factories.runs import history_row, write_run

HISTORY = [history_row(0.95, 0.9), history_row(0.99, 0.7)]
LONG_NOTE = 'a note, with a comma and a "quote" that is longer than a cell of the terminal'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs in different states."""
    folder = tmp_path_factory.mktemp("runs")
    started = "2026-11-2{}T00:00:00+00:00"
    write_run(folder / "good" / "00000", HISTORY, {"started": started.format(1)}, {"tag": "scan", "note": LONG_NOTE})
    write_run(folder / "good" / "00001", HISTORY[:1], {"started": started.format(2), "test": {"auc": 0.97}})
    stopped = {"status": "interrupted", "test": None, "planned_epochs": 9, "started": started.format(3)}
    write_run(folder / "other" / "00000", HISTORY, stopped, {"tag": "scan"})
    lost = {"status": "running", "started": started.format(4), "ended": None, "test": None}
    write_run(folder / "other" / "00001", HISTORY, lost)
    (folder / "wreck" / "00000").mkdir(parents=True)
    return folder


def names(folder: Path, **changes: object) -> list[str]:
    return [row.run.name for row in run_rows(RunsSettings.make(output_path=folder, **changes))]


def test_runs_come_in_the_order_they_started(folder: Path) -> None:
    assert names(folder) == ["good/00000", "good/00001", "other/00000", "other/00001", "wreck/00000"]


def test_any_column_sorts_both_ways_and_what_is_not_known_stands_last(folder: Path) -> None:
    unknown = ["wreck/00000", "other/00000", "other/00001"]
    assert names(folder, sort="test_auc") == ["good/00001", "good/00000", *unknown]
    assert names(folder, sort="-test_auc") == ["good/00000", "good/00001", *unknown]
    assert names(folder, sort="run")[0] == "good/00000"
    assert names(folder, sort="-run")[0] == "wreck/00000"


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_can_be_sorted_by(folder: Path, column: object) -> None:
    assert len(names(folder, sort=column.name)) == 5  # type: ignore[attr-defined]


def test_an_unknown_column_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownColumn, match=r"did you mean test_auc\?"):
        names(folder, sort="test_acu")


def test_runs_are_chosen_by_state_and_tag(folder: Path) -> None:
    assert names(folder, status=["killed", "unknown"]) == ["other/00001", "wreck/00000"]
    assert names(folder, tag=["scan"]) == ["good/00000", "other/00000"]
    assert names(folder, tag=["scan"], status=["finished"]) == ["good/00000"]


def test_the_csv_holds_everything_in_full(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(runs_csv(run_rows(RunsSettings.make(output_path=folder))))))
    good = next(row for row in rows if row["run"] == "good/00000")
    assert (good["note"], good["tag"], good["epochs"], good["planned_epochs"]) == (LONG_NOTE, "scan", "2", "2")
    assert (float(good["test_auc"]), float(good["max_efficiency_ratio"])) == (0.9932, 13.04)
    assert (good["best_epoch"], float(good["best_val_auc"])) == ("1", 0.99)
    assert float(good["best_ks_excess"]) == pytest.approx(0.25 / 0.09)
    assert good["test_signal_jets"] == ""
    wreck = next(row for row in rows if row["run"] == "wreck/00000")
    assert {name: value for name, value in wreck.items() if value} == {
        "run": "wreck/00000",
        "status": "unknown",
        "epochs": "0",
        "folder": str(folder / "wreck" / "00000"),
    }


def test_the_table_shows_figures_as_a_person_reads_them(folder: Path) -> None:
    text = as_text(runs_table(run_rows(RunsSettings.make(output_path=folder)), "auc-near-lowest-ks"))
    line = next(line for line in text.splitlines() if line.startswith("good/00000"))
    for word in ("finished", "2/2", "0.9932", "13.04", "0.70 (+2.8σ)", "demo: main.parquet", "2026-11-21 00:00"):
        assert word in line
    assert "…" in line, "a long note is cut"
    assert "2/9" in next(line for line in text.splitlines() if line.startswith("other/00000"))


@given(width=st.integers(1, 250))
@settings(max_examples=30, deadline=None)
def test_a_terminal_of_any_width_holds_the_table_or_the_name_alone_and_is_told_what_is_left_out(
    folder: Path, width: int
) -> None:
    rows = run_rows(RunsSettings.make(output_path=folder))
    table, whole = runs_table(rows, "auc-near-lowest-ks", width), runs_table(rows, "auc-near-lowest-ks")
    widths = [max(len(text) for text in column) for column in zip(table.columns, *table.rows, strict=True)]
    assert table.columns[0] == "run"
    assert len(widths) == 1 or sum(widths) + 3 * len(widths) <= width
    for title in set(whole.columns) - set(table.columns):
        assert title in table.note


def test_a_best_epoch_whose_spread_is_not_known_has_no_excess(tmp_path: Path) -> None:
    bare = {name: value for name, value in HISTORY[1].items() if "expected" not in name and "spread" not in name}
    write_run(tmp_path / "old" / "00000", [bare])
    (row,) = run_rows(RunsSettings.make(output_path=tmp_path))
    assert row.best is not None
    assert math.isnan(row.best.ks_excess)
    assert "0.70 " in as_text(runs_table([row], "ks-sum"))


def test_the_page_of_all_runs_has_every_row_and_links_to_the_pages_that_there_are(tmp_path: Path) -> None:
    runs = tmp_path / "all runs"
    first = write_run(runs / "m" / "00000", [history_row(0.9, 0.5)], settings={"note": "<b>x</b>"})
    write_run(runs / "m" / "00001", [history_row(0.8, 0.5)])
    first.page_file.write_text("page")
    page = run_list(RunsSettings(output_path=runs)).html(tmp_path / "lists")
    assert page.count("<tr>") == 3
    assert re.findall(r'<a href="([^#"][^"]*)"', page) == ["../all%20runs/m/00000/index.html"]
    assert "m/00001" in page
    assert "<b>" not in page
    assert "<nav" not in page

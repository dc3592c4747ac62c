"""Page of a run: when it is written, what is on it, and what happens when it cannot be."""

import html
import json
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import RunsSettings
from cal_ratio_trainer.reporting import run_page
from cal_ratio_trainer.reporting.run_page import RunPages, write_run_page
from cal_ratio_trainer.reporting.runs import run_list
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.train import train
from cal_ratio_trainer.training.train_networks import set_work, train_networks
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, history_row, set_settings, write_run
from tests.reporting.browser import BrowserPage, browser_page, find_browser

VOID = {"meta", "br", "img", "input", "hr"}


class Structure(HTMLParser):
    """Checks that every element is closed in order; collects identifiers, addresses and charts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.charts: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]
        if tag not in VOID:
            self.open.append("chart" if given.get("class") == "language-chart" else tag)

    def handle_endtag(self, tag: str) -> None:
        opened = self.open.pop()
        assert tag == ("code" if opened == "chart" else opened)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "chart":
            self.charts.append(json.loads(data))


def structure_of(page: Path) -> Structure:
    """A page, parsed; fails where it is no valid HTML."""
    found = Structure()
    found.feed(page.read_text("utf-8"))
    found.close()
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_training_files(tmp_path_factory.mktemp("data"), main_jets=600, control_jets=400)


@pytest.fixture(scope="module")
def trained(
    files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[tuple[float | None, str]]]:
    """A training of two epochs, and its page after each of them and at its end, with the seconds left."""
    settings = set_settings(files, tmp_path_factory.mktemp("runs"), folds=None, note="<b>a note</b> | `x`")
    pages, seen = RunPages(), list[tuple[float | None, str]]()

    def show(run: Run, seconds_left: float | None) -> None:
        pages._due = 0.0
        pages(run, seconds_left)
        seen.append((seconds_left, run.page_file.read_text("utf-8")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        summary = train(Start(settings), lambda text: None, lambda figures: "", show=show)
    return summary.run, seen


def test_the_page_appears_with_the_first_epoch_and_is_whole_at_the_end(
    trained: tuple[Run, list[tuple[float | None, str]]],
) -> None:
    run, seen = trained
    first, second, last = seen
    assert (first[0] or 0) > 0
    assert second[0] == 0
    assert last[0] is None
    words = ("running", "finished", "1 of 2", "2 of 2", "time left")
    assert [word for word in words if word in first[1]] == ["running", "1 of 2", "time left"]
    assert [word for word in words if word in last[1]] == ["finished", "2 of 2"]
    assert not list(run.path.glob(".*.part*"))


def test_the_page_is_valid_html_without_external_references_and_has_every_part(
    trained: tuple[Run, list[tuple[float | None, str]]],
) -> None:
    run, _ = trained
    found = structure_of(run.page_file)
    local = [address for address in found.addresses if not address.startswith(("#", "data:"))]
    assert [address for address in local if not (run.path / address).is_file()] == []
    assert "training_details.txt" in local
    text = run.page_file.read_text("utf-8")
    assert "<b>a note" not in text
    assert re.search(r"<td[^>]*>demo simulation", text)
    for heading in (
        "Commands",
        "Settings",
        "Data",
        "Choice of the epoch, histories",
        "ROC curves",
        "S/√B",
        "Confusion",
        "Overtraining",
    ):
        assert re.search(rf"<h2[^>]*>{heading}", text), heading
    (epochs,) = [chart for chart in found.charts if "frames" in chart]
    assert epochs["epochs"] == [0, 1]
    assert len(epochs["figures"]) == 18
    assert all(len(frame) == 18 for frame in epochs["frames"])
    assert len(text) < 10e6


def test_contents_of_an_epoch_are_shares_of_the_jets(
    trained: tuple[Run, list[tuple[float | None, str]]],
) -> None:
    charts = structure_of(trained[0].page_file).charts
    (epochs,) = [chart for chart in charts if "frames" in chart]
    for figure, (classes, _) in zip(epochs["figures"], epochs["frames"][1], strict=True):
        assert len(classes) == len(figure["classes"])
        for contents, errors in classes:
            assert len(contents) == len(errors) == len(figure["edges"]) - 1
            assert sum(contents) == pytest.approx(1, abs=0.02)


def test_charts_differ_without_colour_and_data_alone_are_filled_circles(trained: tuple[Run, Any]) -> None:
    charts = [chart for chart in structure_of(trained[0].page_file).charts if "panels" in chart]
    for panel in (panel for chart in charts for panel in chart["panels"]):
        lines = [each.get("dash") for each in panel["series"] if each["kind"] == "line" and "dash" in each]
        assert len(set(lines)) == len(lines)
    classes = [
        {each["colour"]: (each["marker"], each["hollow"]) for each in chart["panels"][0]["series"] if "marker" in each}
        for chart in charts
    ]
    assert {"sig": ("^", False), "qcd": ("s", True), "bib": ("o", False)} in classes


def test_settings_that_differ_from_the_profile_are_listed_and_no_others(
    trained: tuple[Run, list[tuple[float | None, str]]],
) -> None:
    text = trained[0].page_file.read_text("utf-8")
    table = text.partition("Settings that differ from the profile 'manual'")[2]
    names = set(re.findall(r"<tr>\s*<td[^>]*>([a-z_]+)</td>", table.partition("</table>")[0]))
    assert names >= {*TINY} - {"tensorboard"}
    assert not names & {"learning_rate", "agreement", "output_path", "seed"}


def test_a_page_that_cannot_be_written_leaves_the_old_one_and_is_a_warning_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)])
    pages = RunPages()
    pages(run, 10.0)
    old = run.page_file.read_bytes()

    def stopped(self: Path, data: str, encoding: str) -> int:
        with self.open("w") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", stopped)
    with caplog.at_level(logging.WARNING):
        pages(run, None)
        pages(run, None)
    assert run.page_file.read_bytes() == old
    assert not list(run.path.glob(".*.part*"))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "m/00000 could not be written; the training goes on" in warning


def test_a_dear_page_waits_and_the_final_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)])
    written, clock = [], iter([0.0, 1.0, 2.0, 60.0, 61.0, 62.0, 63.0])
    run.page_file.touch()
    monkeypatch.setattr(run_page, "write_run_page", lambda run, left=None, frames=None: written.append(left))
    monkeypatch.setattr(run_page, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    pages = RunPages()
    # One second, so the next comes 49 s later: at 2 s it waits, at 60 s it does not, at 62 s the run has ended.
    for left in (3.0, 2.0, 1.0, None):
        pages(run, left)
    assert written == [3.0, 1.0, None]


def test_a_removed_folder_is_not_made_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "m" / "00000")
    RunPages()(run, None)
    assert not run.path.exists()


def test_of_many_epochs_some_have_figures_and_the_recommended_and_the_newest_are_among_them(
    trained: tuple[Run, list[tuple[float | None, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_page, "_MAX_EPOCHS", 8)
    history = [history_row(0.95 if epoch == 5 else 0.9, 0.5) for epoch in range(20)]
    run = write_run(tmp_path / "m" / "00000", history)
    (run.path / "histograms").mkdir()
    content = trained[0].histograms_file(1).read_bytes()
    for epoch in range(20):
        run.histograms_file(epoch).write_bytes(content)
    frames: run_page.Frames = {}
    write_run_page(run, frames=frames)
    (epochs,) = [chart for chart in structure_of(run.page_file).charts if "frames" in chart]
    assert epochs["epochs"] == [0, 4, 5, 8, 12, 16, 19]
    assert epochs["recommended"] == 5
    assert {epoch for _, epoch in frames} == {*epochs["epochs"]}


def test_a_page_of_a_hundred_epochs_has_less_than_ten_megabytes(
    trained: tuple[Run, list[tuple[float | None, str]]], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)] * 100)
    # Of so few jets most bins are empty: here none is, and every content has all its digits.
    full = json.loads(trained[0].histograms_file(1).read_text())
    random = np.random.default_rng(1)
    for of_name in full.values():
        for binning in of_name.values() if "linear" in of_name else ():
            for histogram in binning:
                shape = np.shape(histogram["sums"])
                histogram |= {name: random.exponential(1, shape).tolist() for name in ("sums", "squares")}
    run.histograms_file(99).parent.mkdir()
    run.histograms_file(99).write_text(json.dumps(full))
    frames: run_page.Frames = {}
    write_run_page(run, frames=frames)
    (content,) = frames.values()
    frames.update({(run.path, epoch): content for epoch in range(100)})
    write_run_page(run, frames=frames)
    (epochs,) = [chart for chart in structure_of(run.page_file).charts if "frames" in chart]
    assert len(epochs["frames"]) == 100
    assert run.page_file.stat().st_size < 10e6


def test_a_fold_set_has_a_page_with_links_to_those_of_its_networks(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = set_settings(files, tmp_path, epochs=1)
    work = set_work([("defaults", settings.model_dump()), ("command line", {})], settings, None)
    assert work is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        patch.setattr("cal_ratio_trainer.runs.run.Run.redraw", lambda run: [])
        summary = train_networks(work, lambda text: None, lambda figures: "", show=RunPages())
    found = structure_of(summary.run.page_file)
    assert {"fold_0/index.html", "fold_1/index.html"} <= set(found.addresses)
    assert all((summary.run.path / address).is_file() for address in found.addresses if "html" in address)
    assert "ROC curves" in summary.run.page_file.read_text("utf-8")


def test_a_run_that_left_nothing_but_its_record_has_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", None, {"status": "failed", "reason": "no <jets>"})
    found = structure_of(write_run_page(run))
    assert found.charts == []
    assert "no &lt;jets&gt;" in run.page_file.read_text("utf-8")


def test_names_of_folders_and_files_that_are_no_text_stand_on_the_page_and_in_the_list_of_runs(tmp_path: Path) -> None:
    written = write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)])
    model = tmp_path / "m\udcff\n```\n# x"
    written.path.parent.rename(model)
    run = Run(model / "00000")
    (run.path / "a\udcff.png").touch()
    page = write_run_page(run)
    found = structure_of(page)
    assert "a%FF.png" in found.addresses
    assert "cr_trainer watch 'm\\xff\\n```\\n# x/0'" in html.unescape(page.read_text("utf-8"))
    listed = run_list(RunsSettings(output_path=tmp_path)).html(tmp_path)
    assert "m%FF%0A%60%60%60%0A%23%20x/00000/index.html" in listed.encode("utf-8").decode()


def test_a_profile_that_is_a_path_and_the_query_of_a_url_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("epochs: 77\n")
    data = {"main": {"file": "https://host/jets.parquet?token=1234"}}
    run = write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)], {"data": data})
    text = run.settings_file.read_text().replace("profile: manual", f"profile: {tmp_path}/secret")
    assert "/secret" in text
    run.settings_file.write_text(text)
    page = html.unescape(write_run_page(run).read_text("utf-8"))
    assert "All settings are those of profile 'manual'" in page
    assert "https://host/jets.parquet" in page
    assert "token" not in page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserPage]:
    find_browser()
    with browser_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_is_drawn_and_the_slider_shows_another_epoch(
    browser: BrowserPage, trained: tuple[Run, list[tuple[float | None, str]]], width: int
) -> None:
    run, _ = trained
    browser.open(run.page_file, width)
    charts = structure_of(run.page_file).charts
    drawn = len([chart for chart in charts if "panels" in chart or "frame" in chart]) + 18
    assert browser.ask("document.querySelectorAll('figure.chart svg.plot').length") == drawn
    assert (
        browser.ask("[...document.querySelectorAll('svg.plot')].filter(s => /NaN|undefined/.test(s.innerHTML)).length")
        == 0
    )
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.querySelector('.epochs output').textContent") == "1"
    before = browser.ask("document.querySelector('.epochs svg.plot').innerHTML")
    browser.click(".epochs input")
    browser.press("ArrowLeft")
    browser.ask("document.querySelector('.epochs input').value = 0")
    browser.ask("document.querySelector('.epochs input').dispatchEvent(new Event('input'))")
    assert browser.ask("document.querySelector('.epochs output').textContent") == "0"
    assert browser.ask("document.querySelector('.epochs svg.plot').innerHTML") != before
    assert browser.complaints == []
    assert len(browser.requests) == 1
    browser.click(".epochs button:last-of-type")
    assert browser.ask("document.querySelector('.epochs output').textContent") == "1"


def test_a_page_that_nobody_has_renewed_for_long_says_so(
    browser: BrowserPage, trained: tuple[Run, list[tuple[float | None, str]]], tmp_path: Path
) -> None:
    _, seen = trained
    fresh, page = seen[0][1], tmp_path / "index.html"
    page.write_text(fresh, encoding="utf-8")
    browser.open(page, 1280)
    assert browser.ask("document.querySelector('.late')") is None
    page.write_text(re.sub(r"(updated&quot;:&quot;)[^&]*", r"\g<1>2020-01-01T00:00:00+00:00", fresh), encoding="utf-8")
    browser.open(page, 1280)
    assert "the training may have been killed" in browser.ask("document.querySelector('.late').textContent")
    assert browser.complaints == []

"""Page of a run: when it is written, what is on it, and what happens when it cannot be."""

import html
import logging
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from cal_ratio_trainer.config.runs import RunsSettings
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.plotting.catalogue import epoch_plot_names
from cal_ratio_trainer.plotting.pool import DrawingPool
from cal_ratio_trainer.reporting import run_page
from cal_ratio_trainer.reporting.run_page import RunPages, write_run_page
from cal_ratio_trainer.reporting.runs import run_list
from cal_ratio_trainer.runs.folder import RunFolder
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.run_display import RunDisplay
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from cal_ratio_trainer.training.train_networks import set_work, train_networks
from tests.factories.files import white_png, write_training_files
from tests.factories.runs import TINY, history_row, set_settings, write_run
from tests.reporting.browser import BrowserPage, browser_page, find_browser

VOID = {"meta", "br", "img", "input", "hr"}


class Structure(HTMLParser):
    """Checks that every element is closed in order; collects identifiers, addresses and alternative texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.pictures: dict[str, str] = {}
        """Addresses by alternative text."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]
        if tag == "img" and given.get("alt"):
            assert given["alt"] not in self.pictures
            self.pictures[given["alt"] or ""] = given["src"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


def draw_white(
    pool: DrawingPool, drawings: Iterable[Drawing], folder: Path, labels: FigureLabels, order: int = 0
) -> None:
    """Takes the place of `DrawingPool.submit`."""
    for drawing in drawings:
        (folder / f"{drawing.name}.png").write_bytes(white_png(800, 600))


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

    def show(run: RunFolder, seconds_left: float | None) -> None:
        pages._due = 0.0
        pages(run, seconds_left)
        seen.append((seconds_left, run.page_file.read_text("utf-8")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrawingPool, "submit", draw_white)
        summary = train(Start(settings), lambda text: None, lambda figures: "", observer=RunDisplay(show))
    return Run(summary.run.path), seen


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
    assert [address for address in local if not (run.path / unquote(address)).is_file()] == []
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
    of_epochs = [said for said in found.pictures if "epoch" in said and "all epochs" not in said]
    assert len(of_epochs) == 2 * 18
    assert {"Signal output, main jets, log-odds, epoch 1", "BIB output, control region, low pT, epoch 0"} <= {
        *of_epochs
    }
    assert {"AUC against K-S sum, all epochs, validation part", "Mistag rates by pt"} <= {*found.pictures}
    assert all(address.startswith("data:image/png;base64,") for address in found.pictures.values())
    assert len(found.pictures) == len(list(run.path.glob("*.png")))


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
    monkeypatch.setattr(run_page, "write_run_page", lambda run, left=None: written.append(left))
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


def run_with_pictures(folder: Path, epochs: int, best: int, picture: bytes) -> Run:
    """A run whose plots of each epoch are there."""
    run = write_run(folder / "m" / "00000", [history_row(0.95 if i == best else 0.9, 0.5) for i in range(epochs)])
    for epoch in range(epochs):
        for name in epoch_plot_names(epoch):
            (run.path / f"{name}.png").write_bytes(picture)
    return run


def test_of_many_epochs_some_are_inside_and_others_are_shown_from_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_page, "_MAX_EPOCHS", 8)
    monkeypatch.setattr(run_page, "_MAX_EPOCHS_INSIDE", 4)
    pictures = structure_of(write_run_page(run_with_pictures(tmp_path, 20, 5, white_png(8, 6)))).pictures
    linear = {
        int(said.split()[-1]): at for said, at in pictures.items() if said.startswith("QCD output, main jets, lin")
    }
    assert {0, 5, 19} <= {*linear}
    assert len(linear) == 8
    inside = [epoch for epoch, address in linear.items() if address.startswith("data:")]
    assert {0, 5, 19} <= {*inside}
    assert len(inside) == 4
    assert [address for address in linear.values() if not address.startswith("data:")] == [
        f"{epoch:03d}_main_qcd_predictions_linear.png" for epoch in linear if epoch not in inside
    ]


def test_the_page_of_a_long_training_has_less_than_ten_megabytes(tmp_path: Path) -> None:
    # More than any figure of an epoch takes.
    picture = white_png(800, 600) + bytes(28_000)
    assert write_run_page(run_with_pictures(tmp_path, 150, 5, picture)).stat().st_size < 10e6


def test_figures_that_are_not_drawn_are_counted(tmp_path: Path) -> None:
    page = write_run_page(write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)])).read_text("utf-8")
    assert re.search(r"\d+ figures are not drawn; <code>cr_trainer plot --run m/00000</code> draws all", page)


def test_a_fold_set_has_a_page_with_links_to_those_of_its_networks(files: tuple[Path, Path], tmp_path: Path) -> None:
    settings = set_settings(files, tmp_path, epochs=1)
    work = set_work([("defaults", settings.model_dump()), ("command line", {})], settings, None)
    assert work is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        patch.setattr("cal_ratio_trainer.runs.run.Run.redraw", lambda run: [])
        pages = RunPages()
        summary = train_networks(work, lambda text: None, lambda figures: "", observer=lambda: RunDisplay(pages))
        pages(summary.run, None)
    found = structure_of(summary.run.page_file)
    assert {"fold_0/index.html", "fold_1/index.html"} <= set(found.addresses)
    assert all((summary.run.path / address).is_file() for address in found.addresses if "html" in address)
    assert "ROC curves" in summary.run.page_file.read_text("utf-8")


def test_a_run_that_left_nothing_but_its_record_has_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", None, {"status": "failed", "reason": "no <jets>"})
    found = structure_of(write_run_page(run))
    assert found.pictures == {}
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
@pytest.mark.parametrize("inside", [10, 1])
def test_the_slider_shows_the_figures_of_one_epoch(
    browser: BrowserPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, inside: int
) -> None:
    monkeypatch.setattr(run_page, "_MAX_EPOCHS_INSIDE", inside)
    page = write_run_page(run_with_pictures(tmp_path, 3, 1, white_png(80, 60)))
    browser.open(page, width)

    def seen() -> set[str]:
        shown = "[...document.querySelectorAll('main img')].filter(i => i.offsetParent && i.naturalWidth == 80)"
        browser.ask("[...document.querySelectorAll('main img')].forEach(i => { i.loading = 'eager'; })")
        browser.ask("Promise.all([...document.querySelectorAll('main img')].map(i => i.decode().catch(() => 0)))")
        return {said.rpartition(", ")[2] for said in browser.ask(f"{shown}.map(i => i.alt)")}

    assert seen() == {"epoch 2"}
    assert browser.ask("document.querySelector('.slider output').textContent") == "2"
    assert browser.ask("document.documentElement.scrollWidth") <= width
    browser.ask("document.querySelector('.slider input').value = 0")
    browser.ask("document.querySelector('.slider input').dispatchEvent(new Event('input'))")
    assert seen() == {"epoch 0"}
    browser.click(".slider button:first-of-type")
    assert seen() == {"epoch 1"}
    browser.open(page, width)
    assert browser.ask("document.querySelector('.slider output').textContent") == "1"
    browser.click(".slider button:last-of-type")
    assert seen() == {"epoch 2"}
    assert browser.complaints == []


def test_the_enlarged_figure_goes_on_to_the_next_of_the_same_epoch(browser: BrowserPage, tmp_path: Path) -> None:
    browser.open(write_run_page(run_with_pictures(tmp_path, 3, 1, white_png(80, 60))), 1280)
    browser.click("main p:not([hidden]) > .figure:last-child img")
    caption = "document.querySelector('#enlarged .caption').textContent"
    assert browser.ask(caption) == "BIB output, control region, high pT, epoch 2"
    browser.press("ArrowRight")
    assert browser.ask(caption) == "QCD output, main jets, linear, epoch 2"


def test_a_page_that_nobody_has_renewed_for_long_says_so(
    browser: BrowserPage, trained: tuple[Run, list[tuple[float | None, str]]], tmp_path: Path
) -> None:
    _, seen = trained
    fresh, page = seen[0][1], tmp_path / "index.html"
    page.write_text(fresh, encoding="utf-8")
    browser.open(page, 1280)
    assert browser.ask("document.querySelector('.late')") is None
    page.write_text(re.sub(r"(updated&quot;: &quot;)[^&]*", r"\g<1>2020-01-01T00:00:00+00:00", fresh), encoding="utf-8")
    browser.open(page, 1280)
    assert "the training may have been killed" in browser.ask("document.querySelector('.late').textContent")
    assert browser.complaints == []

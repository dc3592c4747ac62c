"""Pages of all commands in a headless Chromium, wide and narrow, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cal_ratio_trainer as crt
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.reporting.jet_file_report import JetFileComparison
from tests.factories.files import write_training_files
from tests.factories.runs import TINY
from tests.reporting.browser import BrowserPage, browser_page, find_browser
from tests.reporting.test_page_in_browser import DESKTOP, IMAGES_THAT_DO_NOT_SHOW, PHONE

pytestmark = pytest.mark.slow

PAGES = ("run", "runs", "tune", "analyze", "compare", "score", "plot")
FIRST_COLUMN = (
    "[...document.querySelector('main table:has(button)').tBodies[0].rows].map(row => row.cells[0].innerText)"
)
SORTED = "document.querySelector('main table:has(button) th').ariaSort"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each command, of a study of two short trainings on the demo's kind of jets."""
    folder = tmp_path_factory.mktemp("pages")
    runs = folder / "runs"
    main, control = map(str, write_training_files(folder, main_jets=600, control_jets=400))
    files = {"main_training_file": main, "cr_training_file": control}
    study = {"study": "s", "trials": 2, "agreement_measure": "ks", "output_path": runs, "profile": "best"}
    tuned = crt.tune(TuneSettings.make(**{**TINY, **files, **study}), progress=False)
    crt.list_runs(output_path=runs, html=folder / "runs.html")
    names: dict[str, Any] = {"output_path": runs, "progress": False}
    # Trials leave no figures; drawn later, they are on the run's page.
    crt.plot(PlotSettings.make(run="s/0", output_path=runs), progress=False)
    compared = crt.plot(
        PlotSettings.make(input_files=[main], common_plots=["jet_pt"], output_report=folder / "plot" / "report.md"),
        progress=False,
    )
    assert isinstance(compared, JetFileComparison)
    return {
        "run": crt.watch(run="s/0", output_path=runs).page,
        "runs": folder / "runs.html",
        "tune": tuned.page,
        "analyze": crt.analyze(
            output_report=folder / "analyze" / "report.md", best_of_each=1, replicas=20, **names
        ).page,
        "compare": crt.compare(first="s/0", second="s/1", output_report=folder / "compare" / "report.md", **names).page,
        "score": crt.score(
            input_files=[main], training="s/0", output_report=folder / "score" / "report.md", **names
        ).page,
        "plot": compared.page,
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserPage]:
    find_browser()
    with browser_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_shows_all_its_figures_without_scrolling_sideways(
    browser: BrowserPage, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    browser.open(pages[name], width, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.ask(IMAGES_THAT_DO_NOT_SHOW) == []
    assert browser.ask("document.querySelectorAll('main img').length") > 0 or name == "runs"
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)"
    )
    assert browser.complaints == []
    assert browser.requests == [pages[name].resolve().as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_a_click_on_a_heading_of_a_page_sorts_its_table(
    browser: BrowserPage, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], PHONE)
    browser.click("main table th button")
    rising = browser.ask(FIRST_COLUMN)
    assert browser.ask(SORTED) == "ascending"
    browser.click("main table th button")
    assert browser.ask(SORTED) == "descending"
    if len(set(rising)) == len(rising):
        assert browser.ask(FIRST_COLUMN) == rising[::-1]
    else:
        assert sorted(browser.ask(FIRST_COLUMN)) == sorted(rising)

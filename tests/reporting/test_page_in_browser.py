"""Page of a report in a headless Chromium: look and interaction."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cal_ratio_trainer.reporting.report import Report
from tests.reporting.browser import BrowserPage, browser_page, find_browser
from tests.reporting.some_reports import written_report

DESKTOP, PHONE = 1280, 390

IMAGES_THAT_DO_NOT_SHOW = """
Promise.all([...document.querySelectorAll('main img')].map(async (image) => {
  image.loading = 'eager';
  try { await image.decode(); } catch { return image.alt; }
  return image.naturalWidth > 0 ? '' : image.alt;
})).then((names) => names.filter(Boolean))
"""
A_MOMENT = "new Promise(done => setTimeout(done, 50))"
"""Time in which events caused by an action arrive."""

COLUMN = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(row => row.cells[{}].textContent)"
NAMES = COLUMN.format(0)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Report with all kinds of content."""
    return written_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserPage]:
    """One browser for all tests here."""
    find_browser()
    with browser_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_every_image_shows_and_nothing_overflows_the_width(
    browser: BrowserPage, report: Report, width: int, dark: bool
) -> None:
    browser.open(report.page, width, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.ask(IMAGES_THAT_DO_NOT_SHOW) == []
    assert browser.ask("document.querySelectorAll('main img').length") == len(report.drawings)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)"
    )


def test_the_page_asks_for_nothing_but_itself_and_its_scripts_run_without_complaint(
    browser: BrowserPage, report: Report
) -> None:
    browser.open(report.page, DESKTOP)
    browser.click("main img")
    browser.ask("document.getElementById('enlarged').close()")
    assert browser.requests == [report.page.resolve().as_uri()]
    assert browser.complaints == []


def test_the_page_lets_nothing_out_that_is_put_into_it(browser: BrowserPage, report: Report) -> None:
    browser.open(report.page, DESKTOP)
    refused = browser.ask("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    ran = browser.ask(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = true';"
        "document.body.append(s); return window.ran === true; })()"
    )
    assert refused == "refused"
    assert browser.requests == [report.page.resolve().as_uri()]
    assert ran is False


def test_a_click_on_a_heading_sorts_numbers_as_numbers_and_a_second_one_turns_round(
    browser: BrowserPage, report: Report
) -> None:
    browser.open(report.page, DESKTOP)
    browser.click("table th:nth-child(2) button")
    assert browser.ask(NAMES) == ["nine", "eighty", "thousand", "none"]
    browser.click("table th:nth-child(2) button")
    assert browser.ask(NAMES) == ["thousand", "eighty", "nine", "none"]
    browser.click("table th:nth-child(3) button")
    assert browser.ask(NAMES) == ["thousand", "nine", "eighty", "none"]
    browser.click("table th:nth-child(4) button")
    assert browser.ask(NAMES) == ["nine", "thousand", "none", "eighty"]
    browser.click("table th:nth-child(1) button")
    assert browser.ask(NAMES) == ["eighty", "nine", "none", "thousand"]
    assert browser.ask("[...document.querySelectorAll('table')[0].querySelectorAll('th')].map(h => h.ariaSort)") == [
        "ascending",
        "none",
        "none",
        "none",
    ]


def test_the_keyboard_sorts_too(browser: BrowserPage, report: Report) -> None:
    browser.open(report.page, DESKTOP)
    browser.ask("document.querySelector('table th:nth-child(2) button').focus()")
    browser.press("Enter")
    assert browser.ask(NAMES) == ["nine", "eighty", "thousand", "none"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_click_enlarges_an_image_and_another_one_ends_it(browser: BrowserPage, report: Report, width: int) -> None:
    browser.open(report.page, width)
    small = browser.ask("document.querySelector('main img').getBoundingClientRect().width")
    browser.click("main img")
    assert browser.ask("document.querySelector('dialog').open")
    large = browser.ask("document.querySelector('dialog img').getBoundingClientRect().width")
    assert small < large <= width
    assert browser.ask("document.querySelector('dialog').getBoundingClientRect().height") <= 900
    browser.click("dialog img")
    assert not browser.ask("document.querySelector('dialog').open")


def test_enter_enlarges_an_image_arrows_go_to_the_next_and_the_focus_comes_back(
    browser: BrowserPage, report: Report
) -> None:
    browser.open(report.page, DESKTOP)
    browser.ask("document.querySelector('main img').focus()")
    browser.press("Enter")
    assert browser.ask("document.querySelector('dialog img').alt") == "first"
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    assert browser.ask("document.querySelector('dialog .caption').textContent") == "third"
    browser.click("dialog button[value='1']")
    assert browser.ask("document.querySelector('dialog img').alt") == "in a cell"
    browser.press("Escape")
    browser.ask(A_MOMENT)
    assert not browser.ask("document.querySelector('dialog').open")
    assert browser.ask("document.activeElement.alt") == "in a cell"


def test_long_parts_are_folded_until_they_are_asked_for(browser: BrowserPage, report: Report) -> None:
    folded = "document.querySelectorAll('details.long:not([open])').length"
    browser.open(report.page, DESKTOP)
    assert browser.ask(folded) == 1
    assert browser.ask("document.querySelector('details.long summary').textContent") == "24 figures"
    browser.ask("[...document.querySelectorAll('nav a')].at(-1).click()")
    browser.ask(A_MOMENT)
    assert browser.ask(folded) == 0


def test_contents_lead_to_all_headings(browser: BrowserPage, report: Report) -> None:
    browser.open(report.page, DESKTOP)
    targets = browser.ask(
        "[...document.querySelectorAll('nav a')].map(a => document.getElementById(a.hash.slice(1)).textContent)"
    )
    assert targets == browser.ask("[...document.querySelectorAll('nav a')].map(a => a.textContent)")
    assert targets == browser.ask("[...document.querySelectorAll('main h2, main h3')].map(h => h.textContent)")


def test_a_hostile_name_is_shown_letter_by_letter_and_does_nothing(browser: BrowserPage, report: Report) -> None:
    browser.open(report.page, DESKTOP)
    shown = browser.ask("document.querySelector('main').textContent")
    assert shown.count("<script>alert('x')</script> | [a](javascript:alert(1)) `b` *c* ![d](../e.png) </style>") >= 6
    assert browser.ask("document.querySelectorAll('main script, main style, main a').length") == 0
    assert browser.complaints == []


def test_without_scripts_tables_still_scroll_by_themselves_and_folded_parts_open(
    browser: BrowserPage, report: Report, tmp_path: Path
) -> None:
    text = report.page.read_text("utf-8")
    start, end = text.index("<script>"), text.index("</script>", text.rindex("<script>"))
    still = tmp_path / "still.html"
    still.write_text(text[: text.rindex("<script>")] + text[end:], "utf-8")
    assert start > 0
    browser.open(still, PHONE)
    assert browser.ask("document.documentElement.scrollWidth") <= PHONE
    browser.click("details.long summary")
    assert browser.ask("document.querySelectorAll('details.long[open]').length") == 1


def test_where_there_is_no_browser_ci_fails_and_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        find_browser()
    monkeypatch.setitem(os.environ, "CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        find_browser()

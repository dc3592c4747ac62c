"""Headless Chromium, controlled through a pair of pipes: opens a page, evaluates JavaScript, clicks and types.

It needs only the browser itself: its DevTools protocol is JSON with a zero byte after each message.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS_TO_END = 10
_KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}
"""Keys that `press` supports, and their numbers."""


def find_browser() -> str:
    """Path of the browser; without one a test is skipped, or fails in CI."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is not None:
        return found
    said = f"no Chromium to look at pages with (looked for {', '.join(_NAMES)})"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


class BrowserPage:
    """One open page."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._waiting = b""
        self._number = 0
        self._session = ""
        self.requests: list[str] = []
        """Every address that was asked for since the page was opened, data: apart."""
        self.complaints: list[str] = []
        """Errors of the page's scripts, and requests that the browser refused."""

    def start(self) -> None:
        """Creates the tab and listens to it."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, file: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Shows a file in a window of this width."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self.requests.clear()
        self.complaints.clear()
        # Another page first, because the same address with another fragment would not be loaded again.
        self._go("about:blank")
        self.requests.clear()
        self._go(file.resolve().as_uri())

    def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression on the page; waits for promises."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Clicks in the middle of the first element that a CSS selector finds."""
        place = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            self._ask("Input.dispatchMouseEvent", type=kind, **at)

    def press(self, key: str) -> None:
        """Presses a key, e.g. 'Enter', on the element with the focus."""
        said = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **said, **({"text": "\r"} if key == "Enter" else {}))
        self._ask("Input.dispatchKeyEvent", type="keyUp", **said)

    def _go(self, url: str) -> None:
        self._ask("Page.navigate", url=url)
        self.ask("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer.get("method", ""), answer.get("params", {}))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            piece = os.read(self._reads, 1 << 16)
            assert piece, "the browser is gone"
            self._waiting += piece
        message, _, self._waiting = self._waiting.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: str, parameters: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        if event == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        if event == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])


@contextmanager
def browser_page(profile: Path) -> Iterator[BrowserPage]:
    """Page of a browser that ends with the block; its settings are in an empty folder."""
    commands, answers = os.pipe(), os.pipe()
    # The browser reads from descriptor 3 and writes to 4; ours may have these numbers, so they are moved away first.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (*commands, *answers)]
    for end in (*commands, *answers):
        os.close(end)
    command_read, command_write, answer_read, answer_write = ends

    def give_pipes() -> None:
        os.dup2(command_read, 3)
        os.dup2(answer_write, 4)

    words = [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "about:blank"]
    words += [f"--user-data-dir={profile}", "--disable-background-networking", "--no-first-run"]
    process = subprocess.Popen(
        words,
        preexec_fn=give_pipes,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        page = BrowserPage(answer_read, command_write)
        page.start()
        yield page
    finally:
        os.close(command_write)
        os.close(answer_read)
        # Also ends the browser's child processes, which are in its process group.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_SECONDS_TO_END)

"""`cr_trainer watch`: the page of a run, as a file or at an address of this machine.

The server listens on the loopback interface alone and hands out one file. It answers only requests that name this
machine, so that no page elsewhere can read it through a name that is made to lead here.
"""

import os
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.runs import WatchSettings
from cal_ratio_trainer.reporting.run_page import write_run_page
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.directory import RunDirectory, named_run

_LOOPBACK = "127.0.0.1"
_NAMES = (_LOOPBACK, "localhost")


class _PageServer(ThreadingHTTPServer):
    """Server of one file."""

    daemon_threads = True

    def __init__(self, page: Path, port: int) -> None:
        self.page = page
        super().__init__((_LOOPBACK, port), _PageRequest)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error."""


class _PageRequest(BaseHTTPRequestHandler):
    """Answers with the page as it is at that moment."""

    server: _PageServer
    timeout = 30.0
    server_version, sys_version = "cr_trainer", ""

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "only this machine is answered")
            return
        if self.path.partition("?")[0] not in ("/", "/index.html"):
            self.send_error(HTTPStatus.NOT_FOUND, "only the page is served, not the files of the run")
            return
        try:
            content = self.server.page.read_bytes()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "the run has no page any more")
            return
        self.send_response(HTTPStatus.OK)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in (headers | {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed for a request."""


@dataclass(frozen=True, repr=False)
class WatchedRun(Result):
    """A run whose page can be looked at.

    Attributes:
        run: the run.
        page: the file.
        server: serves it until `close`; None where that was not asked for.
    """

    run: RunDirectory
    page: Path
    server: _PageServer | None = None

    @property
    def address(self) -> str:
        """Address for a browser on this machine."""
        if self.server is None:
            return self.page.absolute().as_uri()
        return f"http://{_LOOPBACK}:{self.server.server_port}/"

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"run {self.run.name}: {self.address}"

    def wait(self) -> None:
        """Waits until ^C, then ends the server; returns at once without one."""
        if self.server is None:
            return
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Ends the server."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()


def watch_run(settings: WatchSettings) -> WatchedRun:
    """The page of a run, written anew unless a training renews it, and served if that is asked for.

    Raises:
        RunError: there is no such run.
        OSError: the page cannot be written and there is none, or the port is taken.
    """
    run = named_run(settings.run, settings.output_path)
    if not run.page_file.is_file() or not any(each.is_in_use for each in (run, *run.networks)):
        try:
            write_run_page(run)
        except PermissionError:
            # A run of someone else: its page is shown as it is.
            if not run.page_file.is_file():
                raise
    if not settings.serve:
        return WatchedRun(run, run.page_file)
    server = _PageServer(run.page_file, settings.port)
    threading.Thread(target=server.serve_forever, name="page of a run", daemon=True).start()
    return WatchedRun(run, run.page_file, server)


def has_display() -> bool:
    """True where a browser can open a window."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in names)

"""`cr_trainer watch`: the page of a run, as a file or at an address of this machine.

The server listens on the loopback interface alone and hands out the regular files in the run's folder. It answers
only requests that name this machine, so that no page elsewhere can read them through a name that is made to lead here.
"""

import os
import shutil
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cal_ratio_trainer.config.runs import WatchSettings
from cal_ratio_trainer.reporting.run_page import write_run_page
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.finding import named_run
from cal_ratio_trainer.runs.run import Run

_LOOPBACK = "127.0.0.1"
_NAMES = (_LOOPBACK, "localhost")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".pdf": "application/pdf",
    **dict.fromkeys((".json", ".yaml", ".txt", ".csv", ".md"), "text/plain; charset=utf-8"),
}
"""Content types by ending; browsers save all other files."""

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "form-action 'none'"
)
"""Content-Security-Policy of pages: a page in a folder from elsewhere cannot read other files and send them away."""


class _RunServer(ThreadingHTTPServer):
    """Server of the files of a run."""

    daemon_threads = True

    def __init__(self, run: Run, port: int) -> None:
        self.folder = run.path.resolve()
        self.page_name = run.page_file.name
        super().__init__((_LOOPBACK, port), _FileRequest)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error."""

    def file_at(self, address: str) -> Path | None:
        """File at the path of an address; None for anything but a regular file in the folder, without links."""
        parts = (unquote(address.partition("?")[0]).removeprefix("/") or self.page_name).split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            return None
        path = self.folder.joinpath(*parts)
        try:
            return path if path.resolve() == path and path.is_file() else None
        except (OSError, RuntimeError):
            return None


class _FileRequest(BaseHTTPRequestHandler):
    """Answers with a file as it is at that moment."""

    server: _RunServer
    timeout = 30.0
    server_version, sys_version = "cr_trainer", ""

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "only this machine is answered")
            return
        path = self.server.file_at(self.path)
        try:
            file = None if path is None else path.open("rb")
        except OSError:
            file = None
        if path is None or file is None:
            self.send_error(HTTPStatus.NOT_FOUND, "the run has no such file")
            return
        with file:
            headers = {
                "Content-Type": _TYPES.get(path.suffix, "application/octet-stream"),
                "Content-Length": str(os.fstat(file.fileno()).st_size),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            }
            self.send_response(HTTPStatus.OK)
            for name, value in (
                headers | ({"Content-Security-Policy": _POLICY} if path.suffix == ".html" else {})
            ).items():
                self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(file, self.wfile)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed for a request."""


@dataclass(frozen=True, repr=False)
class WatchedRun(Result):
    """A run whose page can be looked at.

    Attributes:
        run: the run.
        page: the file.
        server: serves the files of the run until `close`; None where that was not asked for.
    """

    run: Run
    page: Path
    server: _RunServer | None = None

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
    server = _RunServer(run, settings.port)
    threading.Thread(target=server.serve_forever, name="page of a run", daemon=True).start()
    return WatchedRun(run, run.page_file, server)


def has_display() -> bool:
    """True where a browser can open a window."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in names)

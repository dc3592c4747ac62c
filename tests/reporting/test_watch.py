"""`cr_trainer watch`: the page as a file and from a server on the loopback interface."""

import os
import re
import socket
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.reporting.watch import WatchedRun
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from tests.factories.runs import history_row, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "m" / "00000", [history_row(0.9, 0.5)])


@pytest.fixture
def served(run: Run) -> Iterator[WatchedRun]:
    watched = crt.watch(run="m/0", output_path=run.path.parents[1], serve=True)
    yield watched
    watched.close()


def answer(watched: WatchedRun, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and content of an answer to a request as it is written, which urllib would tidy up."""
    assert watched.server is not None
    connection = HTTPConnection("127.0.0.1", watched.server.server_port, timeout=10)
    connection.request("GET", path, headers=headers)
    found = connection.getresponse()
    content = found.read()
    connection.close()
    return found.status, content


def test_the_page_and_the_files_of_the_run_are_served_as_they_are_at_that_moment(served: WatchedRun, run: Run) -> None:
    with urllib.request.urlopen(served.address, timeout=10) as found:
        assert found.read() == served.page.read_bytes()
        assert found.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    served.page.write_text("newer")
    assert answer(served, "/index.html?x") == (200, b"newer")
    assert answer(served, "/run.json") == (200, (run.path / "run.json").read_bytes())
    (run.path / "keras").mkdir(exist_ok=True)
    (run.path / "keras" / "a b.png").write_bytes(b"\x89PNG")
    with urllib.request.urlopen(f"{served.address}keras/a%20b.png", timeout=10) as found:
        assert (found.read(), found.headers["Content-Type"]) == (b"\x89PNG", "image/png")
    served.page.unlink()
    assert answer(served, "/")[0] == 404


def test_nothing_outside_the_folder_no_link_and_no_hidden_file_is_served(
    served: WatchedRun, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (run.path.parent / "secret").write_text("secret")
    (run.path / ".hidden").write_text("secret")
    (run.path / "link").symlink_to(tmp_path / "secret")
    (run.path / "folder").symlink_to(tmp_path)
    (run.path / "inside").symlink_to(run.path / "run.json")
    (run.path / "round").symlink_to(run.path / "round")
    os.mkfifo(run.path / "pipe")
    hostile = ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/%2e%2e%2fsecret", "/keras/../../secret", "/./run.json"]
    hostile += ["//etc/hostname", "/%2fetc/hostname", "/run.json/", "/run.json/../../secret", "/x%00", "/run.json%00"]
    hostile += [
        "/link",
        "/folder/secret",
        "/inside",
        "/round",
        "/pipe",
        "/keras",
        "/keras/",
        "/.hidden",
        "/..%5csecret",
    ]
    hostile += [
        f"http://127.0.0.1/{tmp_path}/secret",
        f"/{tmp_path}/secret",
        "/" + "a" * 5000,
        "/%ff",
        "*",
        "/%252e%252e/secret",
    ]
    for path in hostile:
        status, content = answer(served, path)
        assert status in (403, 404), path
        assert b"secret" not in content


def test_a_run_that_is_named_by_a_link_is_served(run: Run, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(run.path.parent)
    watched = crt.watch(run=str(tmp_path / "alias" / run.path.name), serve=True)
    try:
        assert answer(watched, "/")[0] == 200
    finally:
        watched.close()


def test_every_link_of_a_served_page_leads_to_a_file(served: WatchedRun) -> None:
    addresses = set(re.findall(r'<a href="([^"#][^"]*)"', served.page.read_text("utf-8")))
    assert "run.json" in addresses
    assert {address: answer(served, f"/{address}")[0] for address in addresses} == dict.fromkeys(addresses, 200)


def test_only_this_machine_reaches_the_page_also_by_name(served: WatchedRun) -> None:
    assert served.server is not None
    assert served.server.server_address[0] == "127.0.0.1"
    port = served.server.server_port
    assert answer(served, "/", Host=f"localhost:{port}")[0] == 200
    assert answer(served, "/", Host=f"evil.example:{port}")[0] == 403


def test_after_close_nobody_answers(served: WatchedRun) -> None:
    served.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(served.address, timeout=10)


def test_a_port_that_is_taken_is_an_error(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            crt.watch(run=str(run.path), serve=True, port=taken.getsockname()[1])


def test_the_page_is_written_anew_unless_a_training_does_that(run: Run) -> None:
    assert crt.watch(run=str(run.path)).page == run.page_file
    run.page_file.write_text("of the training")
    with run.lock():
        assert crt.watch(run=str(run.path)).page.read_text() == "of the training"
    assert "<h1>Run m/00000" in crt.watch(run=str(run.path)).page.read_text("utf-8")


def test_a_run_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no model m"):
        crt.watch(run="m/0", output_path=tmp_path)


@pytest.mark.parametrize("display", [True, False])
def test_the_command_prints_the_path_and_opens_it_where_there_is_a_display(
    run: Run, monkeypatch: pytest.MonkeyPatch, display: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("cal_ratio_trainer.reporting.watch.has_display", lambda: display)
    words = ["watch", "m/-1", "--output_path", str(run.path.parents[1])]
    result = CliRunner().invoke(cr_trainer(), words, standalone_mode=False)
    assert result.stdout.strip() == str(run.page_file)
    assert opened == [run.page_file.as_uri()] * display

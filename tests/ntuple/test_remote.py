"""Files with a URL: streamed, found by pattern, or copied to a cache."""

import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import uproot

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.files import remote
from cal_ratio_trainer.files.remote import may_pass, opening_options
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.ntuple import ConversionSummary, Status, convert_files
from tests.factories.ntuples import random_events, write_ntuple


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves ranges of files, as for ROOT files; `errors` are the statuses of the next answers, 0 for success."""

    errors: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        if RangeHandler.errors and (status := RangeHandler.errors.pop(0)):
            self.send_error(status)
            return
        asked = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        first, last = asked.removeprefix("bytes=").split("-")
        content = path.read_bytes()
        part = content[int(first) : int(last or len(content) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of the files in tmp_path/served."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(RangeHandler, "errors", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: RangeHandler(*given, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def convert(folder: Path, url: str, **settings: Any) -> ConversionSummary:
    """Converts the files of a URL."""
    return convert_files(
        ConvertSettings.make(input_files=[url], data_type="qcd", output_path=folder, chunk_events=5, **settings)
    )


def test_a_file_behind_a_url_is_converted_and_known_to_be_done(server: str, tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "served" / "a.root", random_events(2, 20), splits=(5, 10))
    url = f"{server}/a.root"
    summary = convert(tmp_path / "remote", url)
    assert [row.status for row in summary.rows] == [Status.CONVERTED], summary.rows
    jets = read_jets(tmp_path / "remote" / "a.parquet")
    assert set(jets.scalars.column("source_file").to_pylist()) == {url}
    convert(tmp_path / "local", str(file))
    expected = read_jets(tmp_path / "local" / "a.parquet")
    assert jets.without_columns(["source_file"]).scalars.equals(expected.without_columns(["source_file"]).scalars)
    assert read_metadata(tmp_path / "remote" / "a.parquet").inputs[0].size_bytes == file.stat().st_size
    assert [row.status for row in convert(tmp_path / "remote", url).rows] == [Status.ALREADY_DONE]


def test_a_pattern_of_urls_is_looked_up(server: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ntuple(tmp_path / "served" / f"{name}.root", random_events(2, 5))
    summary = convert(tmp_path / "remote", f"{server}/*.root")
    assert [row.file for row in summary.rows] == [f"{server}/a.root", f"{server}/b.root"]
    assert {row.status for row in summary.rows} == {Status.CONVERTED}


def test_a_copy_is_kept_where_a_cache_is_named(server: str, tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "served" / "a.root", random_events(2, 5))
    summary = convert(tmp_path / "remote", f"{server}/a.root", cache_path=tmp_path / "cache")
    assert [row.status for row in summary.rows] == [Status.CONVERTED], summary.rows
    copies = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert file.read_bytes() in [path.read_bytes() for path in copies]
    assert [(row.status, row.file) for row in summary.rows] == [(Status.CONVERTED, f"{server}/a.root")]


def test_a_file_that_the_server_does_not_have_fails(server: str, tmp_path: Path) -> None:
    for settings in ({}, {"cache_path": tmp_path / "cache"}):
        summary = convert(tmp_path / "remote", f"{server}/nowhere.root", **settings)
        assert [row.status for row in summary.rows] == [Status.FAILED]
        assert summary.rows[0].reason


def test_a_file_url_is_a_file_of_this_machine(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a b.root", random_events(2, 5))
    summary = convert(tmp_path / "jets", file.as_uri())
    assert [(row.file, row.status) for row in summary.rows] == [(str(file), Status.CONVERTED)]


@pytest.mark.parametrize("good_answers", range(6))
def test_a_server_that_fails_in_the_middle_of_a_file_is_asked_again(
    server: str, tmp_path: Path, good_answers: int
) -> None:
    write_ntuple(tmp_path / "served" / "a.root", random_events(2, 20), splits=(5, 10))
    RangeHandler.errors += [0] * good_answers + [503, 500]
    summary = convert(tmp_path / "remote", f"{server}/a.root")
    assert [row.status for row in summary.rows] == [Status.CONVERTED], summary.rows


@pytest.mark.parametrize("status", [403, 500])
def test_the_status_of_an_answer_stands_in_the_reason(server: str, tmp_path: Path, status: int) -> None:
    write_ntuple(tmp_path / "served" / "a.root", random_events(2, 20))
    RangeHandler.errors += [status] * 100
    (row,) = convert(tmp_path / "remote", f"{server}/a.root").rows
    assert (row.status, f"({status} " in row.reason) == (Status.FAILED, True), row.reason
    (row,) = convert(tmp_path / "remote", f"{server}/*.root").rows
    assert f"the pattern cannot be looked up ({status} " in row.reason


def test_a_file_that_is_not_there_is_called_so(server: str, tmp_path: Path) -> None:
    (row,) = convert(tmp_path / "remote", f"{server}/never.root").rows
    assert row.reason == "no such file (404 Not Found)"


def test_a_server_without_parts_of_files_is_named_with_the_way_around_it(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ntuple(tmp_path / "served" / "a.root", random_events(2, 20))
    monkeypatch.setattr(RangeHandler, "do_GET", SimpleHTTPRequestHandler.do_GET)
    (row,) = convert(tmp_path / "remote", f"{server}/a.root").rows
    assert "whole files only" in row.reason
    assert "--cache" in row.reason


def test_an_error_in_the_middle_of_a_ttree_is_that_of_the_server(server: str, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "served" / "a.root") as file:
        file.mktree("tree", {"x": "f8"}).extend({"x": np.arange(50_000.0)})
    url = f"{server}/a.root"
    with uproot.open({url: None}, **opening_options(url)) as opened:
        tree = opened["tree"]
        RangeHandler.errors += [503] * 10
        with pytest.raises(Exception, match="503") as error:
            tree["x"].array()
    assert may_pass(error.value)

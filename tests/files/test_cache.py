"""Copies of remote files: fetched once, checked, never incomplete."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files import cache, remote
from cal_ratio_trainer.files.cache import default_cache_path, local_copy


class Served:
    """Answers of a small server on this machine, and the number of its requests."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.gets: list[str] = []
        self.cut: set[str] = set()
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    """Handler that answers from a `Served`."""

    protocol_version = "HTTP/1.1"

    def __init__(self, served: Served, *arguments: Any) -> None:
        self.served = served
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        """Sends size and ETag."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Sends the content; half of it for a truncated file."""
        self.served.gets.append(self.path)
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        found = self.served.files.get(self.path)
        if found is None:
            self.send_error(404)
            return
        content, etag = found
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", etag)
        self.end_headers()
        if with_body:
            cut = self.path in self.served.cut
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = cut

    def log_message(self, format: str, *arguments: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(remote, "WAITS_S", (0.0,))
    served = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, served))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def parts_of(folder: Path) -> list[str]:
    """Names of files that are no copies, records or locks."""
    return [path.name for path in folder.rglob("*") if ".part" in path.name]


def test_a_file_is_fetched_once(served: Served, tmp_path: Path) -> None:
    served.files["/sub/jets.pkl"] = (b"content" * 1000, '"1"')
    first = local_copy(f"{served.url}/sub/jets.pkl", tmp_path)
    assert first.read_bytes() == b"content" * 1000
    assert first.name == "jets.pkl"
    assert local_copy(f"{served.url}/sub/jets.pkl", tmp_path) == first
    assert served.gets == ["/sub/jets.pkl"]
    assert parts_of(tmp_path) == []


def test_files_of_one_name_from_two_places_are_two_files(served: Served, tmp_path: Path) -> None:
    served.files |= {"/a/jets.pkl": (b"a", '"1"'), "/b/jets.pkl": (b"b", '"1"')}
    first, second = (local_copy(f"{served.url}/{place}/jets.pkl", tmp_path) for place in "ab")
    assert (first.read_bytes(), second.read_bytes()) == (b"a", b"b")


def test_the_longest_name_that_a_file_can_have_is_kept(tmp_path: Path) -> None:
    name = f"{'a' * 250}.root"
    fsspec.filesystem("memory").pipe(f"/longest/{name}", b"content")
    copy = local_copy(f"memory://longest/{name}", tmp_path)
    assert (copy.name, copy.read_bytes()) == (name, b"content")


@pytest.mark.parametrize("new", [(b"other", '"2"'), (b"longer than before", '"1"')])
def test_a_file_that_changed_is_fetched_again(served: Served, tmp_path: Path, new: tuple[bytes, str]) -> None:
    served.files["/jets.pkl"] = (b"first", '"1"')
    local_copy(f"{served.url}/jets.pkl", tmp_path)
    served.files["/jets.pkl"] = new
    assert local_copy(f"{served.url}/jets.pkl", tmp_path).read_bytes() == new[0]


def test_a_copy_that_was_damaged_here_is_fetched_again(served: Served, tmp_path: Path) -> None:
    served.files["/jets.pkl"] = (b"content", '"1"')
    copy = local_copy(f"{served.url}/jets.pkl", tmp_path)
    copy.write_bytes(b"cont")
    assert local_copy(f"{served.url}/jets.pkl", tmp_path).read_bytes() == b"content"
    (copy.parent / "source.json").write_text("no json")
    assert local_copy(f"{served.url}/jets.pkl", tmp_path).read_bytes() == b"content"


def test_without_the_server_the_copy_is_used_and_that_is_said(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served.files["/jets.pkl"] = (b"content", '"1"')
    url = f"{served.url}/jets.pkl"
    local_copy(url, tmp_path)
    served.files.clear()
    assert local_copy(url, tmp_path).read_bytes() == b"content"
    assert "cannot be asked for (404 Not Found)" in caplog.text


def test_a_file_that_is_not_there_is_an_error_with_its_url(served: Served, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"/never\.pkl: cannot be fetched"):
        local_copy(f"{served.url}/never.pkl", tmp_path)
    assert parts_of(tmp_path) == []


def test_a_broken_off_fetch_leaves_nothing_and_the_next_one_works(served: Served, tmp_path: Path) -> None:
    served.files["/jets.pkl"] = (b"content" * 10000, '"1"')
    served.cut.add("/jets.pkl")
    with pytest.raises(InputFileError, match=r"/jets\.pkl"):
        local_copy(f"{served.url}/jets.pkl", tmp_path)
    assert [path.name for path in tmp_path.rglob("*.pkl")] == []
    assert parts_of(tmp_path) == []
    served.cut.clear()
    assert len(local_copy(f"{served.url}/jets.pkl", tmp_path).read_bytes()) == 70000


def test_a_fetch_that_is_killed_does_not_count_as_a_copy(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.files["/jets.pkl"] = (b"content", '"1"')

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            local_copy(f"{served.url}/jets.pkl", tmp_path)
    assert local_copy(f"{served.url}/jets.pkl", tmp_path).read_bytes() == b"content"
    assert served.gets == ["/jets.pkl"] * 2, "a copy without its record was not checked and is fetched again"


def test_what_a_killed_process_left_of_a_fetch_is_removed(served: Served, tmp_path: Path) -> None:
    served.files["/jets.pkl"] = (b"content", '"1"')
    copy = local_copy(f"{served.url}/jets.pkl", tmp_path)
    (copy.parent / ".jets.123-01234567.part.pkl").write_bytes(b"cont")
    assert local_copy(f"{served.url}/jets.pkl", tmp_path) == copy
    assert parts_of(tmp_path) == []


def test_two_threads_fetch_a_file_once(served: Served, tmp_path: Path) -> None:
    served.files["/jets.pkl"] = (b"content" * 100000, '"1"')
    copies: list[Path] = []
    threads = [
        threading.Thread(target=lambda: copies.append(local_copy(f"{served.url}/jets.pkl", tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(copies)) == 1
    assert served.gets == ["/jets.pkl"]


def test_any_file_system_of_fsspec_will_do(tmp_path: Path) -> None:
    with fsspec.open("memory://folder/jets.parquet", "wb") as file:
        file.write(b"from memory")
    copy = local_copy("memory://folder/jets.parquet", tmp_path)
    assert copy.read_bytes() == b"from memory"
    assert json.loads((copy.parent / "source.json").read_text())["url"] == "memory://folder/jets.parquet"


def test_an_unknown_protocol_is_an_error_with_the_url(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="nonsense://a/b: cannot be fetched"):
        local_copy("nonsense://a/b", tmp_path)


def test_plain_paths_and_file_urls_are_used_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "with space.pkl"
    path.write_bytes(b"x")
    assert local_copy(str(path), tmp_path / "cache") == path
    assert local_copy(path.as_uri(), tmp_path / "cache") == path
    assert not (tmp_path / "cache").exists()
    for missing in (str(tmp_path / "no.pkl"), (tmp_path / "no.pkl").as_uri()):
        with pytest.raises(InputFileError, match="no such file"):
            local_copy(missing, tmp_path / "cache")


def test_the_cache_stands_under_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "default_cache_path", lambda: tmp_path / "user")
    with fsspec.open("memory://default.bin", "wb") as file:
        file.write(b"x")
    assert (tmp_path / "user") in local_copy("memory://default.bin").parents
    assert "cal_ratio_trainer" in str(default_cache_path())

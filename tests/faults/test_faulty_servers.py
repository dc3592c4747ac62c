"""Faulty web servers: a fetched file is complete, or a sentence names it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files import remote
from cal_ratio_trainer.files.cache import local_copy
from tests.faults.faulty_server import BODY, FaultyServer, faulty_server

pytestmark = pytest.mark.faults


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Faulty server, and short timeouts."""
    from cal_ratio_trainer.files.http import PatientHttp

    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(remote, "SILENCE_S", 30.0)
    monkeypatch.setattr(remote, "MAX_BYTES", 1 << 20)
    # fsspec caches objects with the timeouts of another test.
    PatientHttp.clear_instance_cache()
    with faulty_server() as running:
        yield running
    PatientHttp.clear_instance_cache()


def fetched(server: FaultyServer, path: str, folder: Path) -> bytes:
    """Content of the fetched file."""
    return local_copy(server.url + path, folder).read_bytes()


@pytest.mark.parametrize("path", ["/good", "/trickle", "/reset_once", "/fails_twice", "/no_head", "/two_versions"])
def test_slow_and_shaky_servers_give_the_whole_file(server: FaultyServer, tmp_path: Path, path: str) -> None:
    assert fetched(server, path, tmp_path) == BODY


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/silent", "the server sent nothing for 0.5 s"),
        ("/falls_silent", "the server sent nothing for 0.5 s"),
        ("/403", "403 Forbidden"),
        ("/404", "404 Not Found"),
        ("/429", "429 Too Many Requests"),
        ("/503", "503 Service Unavailable"),
        ("/short", "the connection ended after 5000 of 16384 bytes"),
        ("/shorter_than_head", "gave 5000 bytes where 16384 were announced"),
        ("/long", "Data after `Connection: close`"),
        ("/longer_than_head", "gave 16384 bytes where 5000 were announced"),
        ("/endless", "more than 1048576 bytes came; no length was announced"),
        ("/packed_bomb", "more than 1048576 bytes came; no length was announced"),
        ("/loop", "its redirects do not end"),
        ("/no_http", "no answer in HTTP"),
    ],
)
def test_a_server_that_cannot_be_believed_is_named_and_nothing_is_kept(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    if "silent" in path:
        monkeypatch.setattr(remote, "SILENCE_S", 0.5)
    with pytest.raises(InputFileError) as error:
        fetched(server, path, tmp_path)
    assert str(error.value).startswith(f"{server.url}{path}: ")
    assert reason in str(error.value)
    assert len(str(error.value)) < 300
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize(("path", "asked"), [("/503", 4), ("/429", 4), ("/403", 1), ("/404", 1), ("/silent", 1)])
def test_only_servers_that_may_recover_are_asked_again(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, asked: int
) -> None:
    if path == "/silent":
        monkeypatch.setattr(remote, "SILENCE_S", 0.5)
    with pytest.raises(InputFileError):
        fetched(server, path, tmp_path)
    assert server.asked["HEAD", path] == asked


def test_a_copy_is_recorded_with_the_version_that_came_with_its_content(server: FaultyServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetched(server, "/two_versions", tmp_path) == BODY
    assert server.asked["GET", "/two_versions"] == 2, "HEAD tells of another version, so the copy cannot be relied on"
    for _ in range(2):
        fetched(server, "/good", tmp_path)
    assert server.asked["GET", "/good"] == 1


def test_a_file_that_does_not_fit_the_disk_is_refused_before_a_byte_is_written(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=16384))
    assert fetched(server, "/good", tmp_path) == BODY
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=16383))
    with pytest.raises(InputFileError, match=r"it has 16384 bytes, and 16383 are free in "):
        fetched(server, "/good", tmp_path / "other")
    with pytest.raises(InputFileError, match=r"more than .* bytes came"):
        fetched(server, "/endless", tmp_path)

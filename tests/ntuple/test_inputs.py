"""Lists of files: shards, lists in files, patterns on servers."""

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cal_ratio_trainer.config.base import in_shard
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.ntuple import Status, convert_files
from cal_ratio_trainer.ntuple.request import files_matching, requests_for
from cal_ratio_trainer.ntuple.summary import FAILED_FILES
from tests.factories.ntuples import event, write_ntuple


class RootServer(MemoryFileSystem):  # type: ignore[misc]  # it has no types
    """Files with root:// URLs, named without the server, as the package for them does."""

    protocol = ("root",)
    store: dict[str, Any] = {}  # noqa: RUF012 - the parent has it as a class attribute too
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        rest = path.partition("://")[2].partition("/")[2] if "://" in path else path
        return "/" + rest.strip("/")


def made(folder: Path, **given: Any) -> ConvertSettings:
    """Settings for multijets."""
    return ConvertSettings.make(**({"data_type": "qcd", "output_path": folder / "jets"} | given))


@given(files=st.integers(0, 60), shards=st.integers(1, 12))
@settings(max_examples=30)
def test_every_file_is_in_exactly_one_shard(files: int, shards: int) -> None:
    parts = [[position for position in range(files) if in_shard(position, f"{i}/{shards}")] for i in range(shards)]
    assert sorted(position for part in parts for position in part) == list(range(files))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_two_shards_do_one_list(tmp_path: Path) -> None:
    files = [write_ntuple(tmp_path / f"{i}.root", [event((100, 0, 0))]) for i in range(5)]
    names = [*map(str, files), str(tmp_path / "none*.root")]
    first, second = (convert_files(made(tmp_path, input_files=names, shard=f"{i}/2")) for i in (0, 1))
    assert [Path(row.file).name for row in first.rows] == ["0.root", "2.root", "4.root", "none*.root"]
    assert [Path(row.file).name for row in second.rows] == ["1.root", "3.root"]
    assert {row.status for row in (*first.rows[:3], *second.rows)} == {Status.CONVERTED}
    assert len(list((tmp_path / "jets").iterdir())) == 5


@pytest.mark.parametrize("shard", ["2/2", "1", "a/b", "0/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(shard: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="shard"):
        made(tmp_path, shard=shard)


@pytest.mark.parametrize("given_as", [FAILED_FILES, f"@{FAILED_FILES}", "@some.txt"])
def test_the_list_of_failed_files_is_an_input(tmp_path: Path, given_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.root").write_text("no ROOT")
    convert_files(made(tmp_path, input_files=[str(tmp_path / "*.root")]))
    monkeypatch.chdir(tmp_path / "jets")
    (tmp_path / "jets" / "some.txt").write_text((tmp_path / "jets" / FAILED_FILES).read_text())
    for name in "ab":
        write_ntuple(tmp_path / f"{name}.root", [event((100, 0, 0))])
    summary = convert_files(made(tmp_path, input_files=[given_as]))
    assert [Path(row.file).name for row in summary.rows] == ["a.root", "b.root"]
    assert summary.failed == ()
    assert not (tmp_path / "jets" / FAILED_FILES).exists()


def test_a_list_may_hold_patterns_and_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ntuple(tmp_path / f"{name}.root", [])
    given_list = tmp_path / "list.txt"
    given_list.write_text(f"# two\n\n{tmp_path}/?.root\n{tmp_path}/a.root\n{tmp_path}/x*.root\n")
    files, reason = files_matching(f"@{given_list}")
    assert [Path(file).name for file in files] == ["a.root", "b.root"]
    assert reason == f"{tmp_path}/x*.root: the pattern matches no file"
    assert files_matching(f"@{tmp_path}/nowhere.txt") == (
        [],
        "the list of files cannot be read (No such file or directory)",
    )
    given_list.write_text("# nothing\n")
    assert files_matching(f"@{given_list}") == ([], "the list names no file")


def test_a_pattern_on_root_needs_a_package_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> Any:
        raise ValueError("Protocol not known: root")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    requests, not_found = requests_for(made(tmp_path, input_files=["root://server//eos/a*.root"]))
    assert requests == []
    assert "pip install 'cal_ratio_trainer[xrootd]'" in not_found[0].reason


def test_a_pattern_on_root_becomes_urls_of_that_server(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RootServer()
    for name in ("b", "a", "c.txt"):
        server.pipe_file(f"/eos/atlas/{name}.root" if "." not in name else f"/eos/atlas/{name}", b"")
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (server, server._strip_protocol(url)))
    files, reason = files_matching("root://server.cern.ch//eos/atlas/*.root")
    assert reason == ""
    assert files == ["root://server.cern.ch//eos/atlas/a.root", "root://server.cern.ch//eos/atlas/b.root"]


def test_a_server_that_does_not_answer_is_no_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(RootServer):
        def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
            return []

        def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
            raise OSError(f"{path}: [FATAL] Connection error")

    monkeypatch.setattr("cal_ratio_trainer.files.remote.WAITS_S", ())
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (Deaf(), "/eos/atlas/*.root"))
    files, reason = files_matching("root://server.cern.ch//eos/atlas/*.root")
    assert files == []
    assert reason == "the pattern cannot be looked up (/eos/atlas: [FATAL] Connection error)"


def test_a_pattern_in_a_folder_that_is_not_there_matches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (RootServer(), "/eos/nowhere/*.root"))
    assert files_matching("root://server.cern.ch//eos/nowhere/*.root") == ([], "the pattern matches no file")

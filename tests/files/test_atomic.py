"""Files appear complete or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from cal_ratio_trainer.files.atomic import (
    UnusableOutput,
    refuse_unusable_file,
    refuse_unusable_folder,
    refuse_unusable_report,
    remove_remains,
    replacing,
    sha256_of,
    write_bytes,
    write_text,
)


def test_a_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_remains_are_told_from_what_others_are_writing_under_similar_names(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.parquet", "a.b.parquet", "a.12-abcdef01.parquet", "a.pkl")]
    waiting = [replacing(path) for path in paths]
    temporary = [each.__enter__() for each in waiting]
    for each in temporary:
        each.write_text("half")
    remove_remains(paths[0])
    assert [each.exists() for each in temporary] == [False, True, True, True]


def test_remains_of_a_name_that_is_a_pattern_are_found(tmp_path: Path) -> None:
    path = tmp_path / "jets[1].parquet"
    temporary = replacing(path).__enter__()
    temporary.write_text("half")
    remove_remains(path)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_that_a_file_can_have_is_written_and_its_remains_are_found(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 123}.parquet"
    temporary = replacing(path).__enter__()
    temporary.write_text("half")
    remove_remains(path)
    assert list(tmp_path.iterdir()) == []
    write_text(path, "text")
    assert path.read_text() == "text"


def test_text_is_written_in_utf_8_and_bytes_as_they_are(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ΔR")
    assert (tmp_path / "a").read_bytes() == "ΔR".encode()
    write_bytes(tmp_path / "a", b"\x00\x01")
    assert (tmp_path / "a").read_bytes() == b"\x00\x01"


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The example of FIPS 180-2.
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_error_of_writing_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    with pytest.raises(OSError, match="No space left") as full, replacing(path):
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")
    with pytest.raises(FileNotFoundError) as never_made, replacing(path):
        pass
    assert full.value.filename == never_made.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as other, replacing(tmp_path / "a"):
        (tmp_path / "input").read_bytes()
    assert other.value.filename == str(tmp_path / "input")
    with pytest.raises(ConnectionResetError) as lost, replacing(tmp_path / "a"):
        raise OSError(errno.ECONNRESET, "reset")
    assert lost.value.filename is None


def test_what_a_killed_process_was_writing_is_removed_by_the_next_that_writes_into_the_folder(tmp_path: Path) -> None:
    words = "import os, sys; from pathlib import Path; from cal_ratio_trainer.files.atomic import replacing\n"
    words += "with replacing(Path(sys.argv[1])) as temporary: temporary.write_text('half'); os._exit(9)"
    subprocess.run([sys.executable, "-c", words, str(tmp_path / "killed.txt")], check=False)
    (left,) = tmp_path.iterdir()
    with replacing(tmp_path / "alive.txt") as alive:
        alive.write_text("half")
        assert not left.exists()
        subprocess.run([sys.executable, "-c", words, str(tmp_path / "killed.txt")], check=False)
        assert alive.exists()


def test_a_place_that_can_hold_no_file_is_refused_before_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unusable_folder(tmp_path / "new" / "folders", "output_path")
    refuse_unusable_file(tmp_path / "new" / "report.md", "output_report")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UnusableOutput, match=r"output_path: .*/file is no folder"):
            refuse_unusable_folder(folder, "output_path")
    with pytest.raises(UnusableOutput, match=r"output_report: .* is a folder"):
        refuse_unusable_file(tmp_path, "output_report")
    # Checks the permission bits, because root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UnusableOutput, match="cannot be written to"):
        refuse_unusable_folder(tmp_path / "new", "output_path")


def test_a_report_takes_the_place_of_no_file_of_data(tmp_path: Path) -> None:
    for name, content in (("report.md", "any text"), ("report", "# Scores"), ("new.parquet", None)):
        if content is not None:
            (tmp_path / name).write_text(content)
        refuse_unusable_report(tmp_path / name)
    (tmp_path / "main.parquet").write_bytes(b"PAR1\xff")
    with pytest.raises(UnusableOutput, match=r"main\.parquet exists and is no report"):
        refuse_unusable_report(tmp_path / "main.parquet")

"""Files cut into pieces: the result equals that of the whole, bit for bit, for all workers and errors."""

from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.ntuple import ConversionSummary, Status, convert_files
from tests.factories.ntuples import random_events, write_ntuple


def convert(folder: Path, *files: Path, **settings: Any) -> ConversionSummary:
    """Converts files in chunks of 7 events."""
    given = {"input_files": [str(file) for file in files], "data_type": "qcd", "output_path": folder}
    return convert_files(ConvertSettings.make(**(given | {"chunk_events": 7} | settings)))


def content(folder: Path) -> dict[str, bytes]:
    """Content of all files of a folder, including hidden ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 90 events in clusters of 3."""
    folder = tmp_path_factory.mktemp("large")
    return write_ntuple(folder / "large.root", random_events(5, 90), splits=tuple(range(3, 90, 3)))


@pytest.mark.parametrize(
    "settings", [{}, {"layout": "flat"}, {"keep_branches": ["perEvent", "perJet"]}, {"max_events": 50}]
)
def test_a_file_in_pieces_becomes_the_same_bytes_as_the_whole(
    large: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = convert(tmp_path / "whole", large, scheduler="none", **settings)
    pieces = convert(tmp_path / "pieces", large, workers=2, piece_events=20, **settings)
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    assert [row.status for row in pieces.rows] == [Status.CONVERTED]
    assert pieces.rows[0].cutflow == whole.rows[0].cutflow
    assert pieces.rows[0].unusual_values == whole.rows[0].unusual_values
    assert pieces.rows[0].events == whole.rows[0].events == settings.get("max_events", 90)


def test_a_file_that_is_damaged_in_one_piece_fails_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.root"
    damage = bytearray(large.read_bytes())
    middle = len(damage) // 2
    damage[middle : middle + 2000] = bytes(2000)
    damaged.write_bytes(damage)
    summary = convert(tmp_path / "jets", damaged, large, workers=2, piece_events=20)
    assert [row.status for row in summary.rows] == [Status.FAILED, Status.CONVERTED]
    assert "cannot be read" in summary.rows[0].reason
    assert sorted(content(tmp_path / "jets")) == ["failed_files.txt", "large.parquet"]


def test_pieces_that_a_killed_run_left_are_removed_finished_or_not(large: Path, tmp_path: Path) -> None:
    (tmp_path / ".large.parquet.0123456789abcdef.piece").write_text("left")
    (tmp_path / "..large.parquet.0123456789abcdef.12-89abcdef.part.piece").write_text("half of one")
    (tmp_path / ".larger.parquet.0123456789abcdef.piece").write_text("of another")
    convert(tmp_path, large)
    assert sorted(content(tmp_path)) == [".larger.parquet.0123456789abcdef.piece", "large.parquet"]

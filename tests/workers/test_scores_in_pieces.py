"""Scores by several processes, of files in pieces: equal to those by one process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.scoring.score import ScoreSummary, score_files
from tests.factories.files import write_converted
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network
from tests.factories.ntuples import random_events, write_ntuple
from tests.scoring.small import score_settings


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without a run."""
    return write_network(tmp_path_factory.mktemp("network") / "small.keras")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A large ntuple, a file of jets, and a bad one."""
    folder = tmp_path_factory.mktemp("files")
    bad = folder / "bad.root"
    bad.write_text("no ROOT")
    return [
        write_ntuple(folder / "large.root", random_events(5, 60), splits=tuple(range(5, 60, 5))),
        write_converted(folder / "jets.parquet", mixed_jets(30)),
        bad,
    ]


def score(folder: Path, files: list[Path], network: Path, **given: Any) -> ScoreSummary:
    """Scores files in chunks of 7 events."""
    settings = {
        "data_type": "sig",
        "llp_mH": 125.0,
        "llp_mS": 55.0,
        "chunk_events": 7,
        "threads": 1,
        "max_jet_pt": 500.0,
    }
    return score_files(score_settings(folder, files, network, **(settings | given)))


def content(folder: Path) -> dict[str, bytes]:
    """Content of all files of a folder, including hidden ones."""
    return {path.name: path.read_bytes() for path in (folder / "scores").iterdir()}


def test_the_scores_of_a_file_in_pieces_are_those_of_the_whole(
    files: list[Path], network: Path, tmp_path: Path
) -> None:
    whole = score(tmp_path / "whole", files, network, scheduler="none")
    pieces = score(tmp_path / "pieces", files, network, workers=2, piece_events=20)
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    assert sorted(content(tmp_path / "whole")) == ["jets.parquet", "large.parquet"]
    for one, other in zip(whole.files, pieces.files, strict=True):
        assert (one.file, one.jets, one.reason, one.notes) == (other.file, other.jets, other.reason, other.notes)
        if one.tally is not None:
            assert other.tally is not None
            assert one.tally.shares.counts.keys() == other.tally.shares.counts.keys()
            assert one.tally.jets_by_part() == other.tally.jets_by_part()
            for name in ("scores", "weight", "label", "llp_mH"):
                np.testing.assert_array_equal(one.tally.fair.column(name), other.tally.fair.column(name))
    assert len(pieces.failed) == 1


def test_a_shard_scores_its_part(files: list[Path], network: Path, tmp_path: Path) -> None:
    (only,) = score(tmp_path, files, network, shard="1/3").files
    assert only.file == str(files[1])
    assert list(content(tmp_path)) == ["jets.parquet"]

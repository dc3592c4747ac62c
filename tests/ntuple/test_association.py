"""Limits and order of constituents."""

from pathlib import Path

import pytest

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CLUSTERS, CONSTITUENTS, MUON_SEGMENTS, TRACKS
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.chunk import convert_chunk
from cal_ratio_trainer.ntuple.reading import opened
from cal_ratio_trainer.ntuple.request import JetSelection
from cal_ratio_trainer.ntuple.summary import Tally
from tests.factories.ntuples import Event, cluster, event, segment, track, write_ntuple


def jets_of(path: Path, one: Event) -> Jets:
    """The jets of one event."""
    write_ntuple(path, [one])
    with opened(str(path)) as ntuple:
        return convert_chunk(ntuple, range(1), JetSelection(DataType.QCD), Tally(weighted=True))


@pytest.fixture
def crowded(tmp_path: Path) -> Jets:
    """Jet with 45 constituents of each kind; those of highest pt are last in the file."""
    one = event(
        (100, 0.0, 0.0),
        clusters=[cluster(0, pt=number, time=number) for number in range(45)],
        tracks=[track(0, pt=number) for number in range(45)],
        segments=[segment(0, chiSquared=number) for number in range(45)],
    )
    return jets_of(tmp_path / "a.root", one)


def test_each_kind_is_cut_at_its_limit(crowded: Jets) -> None:
    assert [len(crowded.constituents[each.name].values) for each in CONSTITUENTS] == [30, 20, 30]


def test_the_hardest_clusters_and_tracks_stay_and_the_first_segments(crowded: Jets) -> None:
    pt = crowded.constituents[CLUSTERS.name].values[:, CLUSTERS.position("pt")]
    assert pt.tolist() == list(range(44, 14, -1))
    assert crowded.constituents[CLUSTERS.name].values[:, CLUSTERS.position("time")].tolist() == pt.tolist()
    assert crowded.constituents[TRACKS.name].values[:, TRACKS.position("pt")].tolist() == list(range(44, 24, -1))
    chi_squared = crowded.constituents[MUON_SEGMENTS.name].values[:, MUON_SEGMENTS.position("chiSquared")]
    assert chi_squared.tolist() == list(range(30))


def test_equally_hard_clusters_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    one = event(
        (100, 0.0, 0.0), clusters=[cluster(0, pt=5, time=1), cluster(0, pt=9, time=2), cluster(0, pt=5, time=3)]
    )
    times = jets_of(tmp_path / "a.root", one).constituents[CLUSTERS.name].values[:, CLUSTERS.position("time")]
    assert times.tolist() == [2, 1, 3]

"""Rules that all events of the real ntuples obey."""

import awkward as ak
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import DemoSummary
from cal_ratio_trainer.simulation.clusters import LAYERS


@pytest.fixture(params=["signal", "qcd", "bib", "control_data"])
def events(demo: DemoSummary, request: pytest.FixtureRequest) -> ak.Array:
    """All events of one kind."""
    paths = [file.path for file in demo.files if file.sample.startswith(request.param)]
    return ak.concatenate([uproot.open(path)["trees_DV_"].arrays() for path in paths])


def wrapped(angle: ak.Array) -> ak.Array:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def distance(events: ak.Array, prefix: str) -> NDArray[np.float64]:
    """Delta R of all pairs (constituent, jet), as [events, constituents, jets]."""
    eta = events[f"{prefix}_eta"][:, :, None] - events.jet_eta[:, None, :]
    phi = wrapped(events[f"{prefix}_phi"][:, :, None] - events.jet_phi[:, None, :])
    distances: NDArray[np.float64] = np.sqrt(eta**2 + phi**2)
    return distances


def test_jets_are_sorted_by_pt_and_numbered_in_order(events: ak.Array) -> None:
    assert ak.all(events.jet_pT[:, :-1] >= events.jet_pT[:, 1:])
    assert ak.array_equal(events.nn_jet_index, ak.values_astype(ak.local_index(events.jet_pT), np.int32))


def test_events_are_as_full_as_real_ones(events: ak.Array) -> None:
    assert 8 < ak.mean(ak.num(events.jet_pT)) < 11.5
    assert 50 < ak.mean(ak.num(events.clus_pt)) < 120
    assert 45 < ak.mean(ak.num(events.track_pT)) < 95
    assert 10 < ak.mean(ak.num(events.MSeg_t0)) < 60


def test_no_two_jets_overlap(events: ak.Array) -> None:
    pairs = ak.combinations(ak.zip({"eta": events.jet_eta, "phi": events.jet_phi}), 2)
    first, second = ak.unzip(pairs)
    near = np.hypot(first.eta - second.eta, wrapped(first.phi - second.phi))
    assert ak.min(near) > 0.399


def test_layers_sum_to_the_cluster_energy(events: ak.Array) -> None:
    total = sum(events[f"clus_{name}"] for name in LAYERS)
    energy = events.clus_pt * np.cosh(events.clus_eta)
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(total)), ak.to_numpy(ak.flatten(energy)), rtol=1e-9)


def test_clusters_are_grouped_by_jet_and_each_has_one(events: ak.Array) -> None:
    index = events.cluster_jetIndex
    assert ak.all(index[:, :-1] <= index[:, 1:])
    assert ak.all(index >= 0)
    assert ak.all(index < ak.num(events.jet_pT))


def test_every_jet_has_a_cluster(events: ak.Array) -> None:
    jets = ak.Array([len(set(index)) for index in events.cluster_jetIndex.to_list()])
    assert ak.all(jets == ak.num(events.jet_pT))


def test_a_track_belongs_to_the_jet_within_0_2_or_to_none(events: ak.Array) -> None:
    index = events.track_jetIndex
    assert ak.all(ak.num(index, axis=2) == 1)
    near = distance(events, "track") < 0.2
    expected = ak.where(ak.any(near, axis=2), ak.argmax(near, axis=2), -1)
    assert ak.mean(ak.flatten(index[:, :, 0] == expected)) > 0.9999


def test_a_segment_belongs_to_every_jet_within_0_2_in_azimuth(events: ak.Array) -> None:
    near = np.abs(wrapped(events.MSeg_phiPos[:, :, None] - events.jet_phi[:, None, :])) < 0.2
    position = ak.local_index(near, axis=2)[near]
    expected = ak.where(ak.num(position, axis=2) > 0, position, ak.Array([[-1]])[:, None][:, :1])
    assert ak.mean(ak.flatten(ak.num(events.MSeg_jetIndex, axis=2) == ak.num(expected, axis=2))) > 0.9999
    assert ak.all(ak.flatten(events.MSeg_jetIndex[ak.num(position, axis=2) == 0], axis=None) == -1)


def test_some_segments_are_shared_by_jets(events: ak.Array) -> None:
    assert ak.max(ak.num(events.MSeg_jetIndex, axis=2)) > 1


def test_azimuths_lie_between_minus_pi_and_pi(events: ak.Array) -> None:
    for name in ("jet_phi", "clus_phi", "track_phi", "MSeg_phiPos", "MSeg_phiDir", "HLT_jet_phi"):
        values = ak.flatten(events[name])
        assert ak.all((values >= -3.1416) & (values <= 3.1416)), name


def test_everything_is_finite(events: ak.Array) -> None:
    for name in events.fields:
        assert np.all(np.isfinite(ak.to_numpy(ak.flatten(events[name], axis=None)))), name

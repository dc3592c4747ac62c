"""Formulas of build, computed by hand and jet by jet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import CLUSTER_LAYERS, CLUSTERS, MUON_SEGMENTS, TRACKS
from tests.factories.jets import converted_jets

FULL = Scaling(min_jet_pt=0, max_jet_pt=500)


def one_jet(clusters: list[dict[str, float]], tracks: list[dict[str, float]], jet_pt: float = 100.0) -> Jets:
    """A jet with these constituents; features that are not named are 0."""
    lists = {}
    for kind, given_ones in ((CLUSTERS, clusters), (TRACKS, tracks), (MUON_SEGMENTS, [])):
        values = np.zeros((len(given_ones), len(kind.features)), dtype=np.float32)
        for row, constituent in enumerate(given_ones):
            for name, value in constituent.items():
                values[row, kind.position(name)] = value
        lists[kind.name] = Ragged.from_lengths(values, np.array([len(given_ones)]))
    columns = {"label": [0], "jet_pt": np.float32([jet_pt]), "jet_eta": np.float32([1.0]), "jet_phi": np.float32([2.0])}  # type: ignore[arg-type]
    return Jets.from_columns(columns, lists)


def value(jets: Jets, kind: str, row: int, name: str) -> float:
    """One number of one constituent."""
    position = {"clusters": CLUSTERS, "tracks": TRACKS}[kind].position(name)
    return float(jets.constituents[kind].values[row, position])


def test_pt_becomes_its_place_in_the_range() -> None:
    jets = one_jet([{"pt": 50_000, "l1ecal": 1}], [{"pt": 25}])
    scaled = scale(jets, FULL).jets
    assert scaled["jet_pt"].tolist() == pytest.approx([0.2])
    assert value(scaled, "clusters", 0, "pt") == pytest.approx(0.1)
    assert value(scaled, "tracks", 0, "pt") == pytest.approx(0.05)


def test_a_range_from_40_shifts_all_pt_in_the_units_that_they_have() -> None:
    jets = one_jet([{"pt": 50_000, "l1ecal": 1}], [{"pt": 25}])
    scaled = scale(jets, Scaling(min_jet_pt=40, max_jet_pt=500)).jets
    assert scaled["jet_pt"].tolist() == pytest.approx([60 / 460])
    assert value(scaled, "clusters", 0, "pt") == pytest.approx((50_000 - 40) / 460_000)
    assert value(scaled, "tracks", 0, "pt") == pytest.approx((25 - 40) / 460)
    assert np.all(scaled.constituents["tracks"].padding == 0)


def test_layer_energies_become_fractions_and_none_becomes_zero() -> None:
    jets = one_jet([{"pt": 1, "l1ecal": 1, "l4hcal": 3}, {"pt": 1}, {"pt": 1, "l1ecal": 2, "l2ecal": -2}], [])
    result = scale(jets, FULL)
    assert value(result.jets, "clusters", 0, "l1ecal") == 0.25
    assert value(result.jets, "clusters", 0, "l4hcal") == 0.75
    assert [value(result.jets, "clusters", row, layer) for row in (1, 2) for layer in CLUSTER_LAYERS] == [0] * 16
    assert result.clusters_without_fractions == 2


@pytest.mark.parametrize(
    ("etas", "sign"), [((0.5, -0.1), 1), ((-0.5, 0.1), -1), ((0.1, -0.5), -1), ((0.3, -0.3), 1), ((0.0, 0.0), 1)]
)
def test_eta_is_turned_to_the_side_of_its_weighted_sum_and_no_sum_counts_as_positive(
    etas: tuple[float, float], sign: int
) -> None:
    constituents = [{"pt": 10.0, "eta": eta, "l1ecal": 1} for eta in etas]
    tracks = [{"pt": 10.0, "eta": eta} for eta in etas]
    scaled = scale(one_jet(constituents, tracks), FULL).jets
    for kind in ("clusters", "tracks"):
        found = [value(scaled, kind, row, "eta") for row in (0, 1)]
        assert found == pytest.approx([sign * eta for eta in etas])


def test_the_side_is_taken_from_the_unscaled_pt() -> None:
    # With pt shifted by 40 the soft track would weigh -30 and turn the jet.
    tracks = [{"pt": 10.0, "eta": -0.4}, {"pt": 45.0, "eta": 0.2}]
    scaled = scale(one_jet([], tracks), Scaling(min_jet_pt=40, max_jet_pt=500)).jets
    assert value(scaled, "tracks", 1, "eta") == pytest.approx(0.2)
    scaled = scale(one_jet([], [{"pt": 10.0, "eta": -0.4}]), Scaling(min_jet_pt=40, max_jet_pt=500)).jets
    assert value(scaled, "tracks", 0, "eta") == pytest.approx(0.4)


def test_track_z0_is_in_units_of_250_mm_and_the_rest_stays() -> None:
    jets = one_jet([{"pt": 1, "phi": 0.3, "time": 7, "l1ecal": 1}], [{"pt": 1, "z0": 500, "d0": 2, "phi": 0.1}])
    scaled = scale(jets, FULL).jets
    assert value(scaled, "tracks", 0, "z0") == 2
    assert value(scaled, "tracks", 0, "d0") == 2
    assert value(scaled, "clusters", 0, "time") == 7
    assert (scaled["jet_eta"][0], scaled["jet_phi"][0]) == (1, 2)


@given(st.integers(0, 40), st.integers(0, 100), st.floats(0, 50))
@settings(max_examples=20, deadline=None)
def test_scaling_jets_one_by_one_or_together_is_the_same(count: int, seed: int, smallest: float) -> None:
    jets, scaling = converted_jets(count, seed=seed), Scaling(min_jet_pt=smallest, max_jet_pt=500)
    together = scale(jets, scaling).jets
    for jet in range(count):
        alone = scale(jets.slice(jet, jet + 1), scaling).jets
        assert alone["jet_pt"][0] == together["jet_pt"][jet]
        for name, ragged in together.constituents.items():
            np.testing.assert_array_equal(alone.constituents[name].values, ragged.slice(jet, jet + 1).values)


@given(st.integers(1, 40), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_fractions_sum_to_one_and_weighted_eta_is_never_negative(count: int, seed: int) -> None:
    jets = converted_jets(count, seed=seed)
    scaled = scale(jets, FULL).jets
    layers = [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]
    clusters = scaled.constituents["clusters"]
    energies = jets.constituents["clusters"].values[:, layers].astype(np.float64)
    # Where energies of both signs nearly cancel, float32 fractions are large and their sum is not exact.
    tame = np.abs(energies.sum(axis=1)) > 0.1 * np.abs(energies).sum(axis=1)
    np.testing.assert_allclose(clusters.values[:, layers][tame].sum(axis=1), 1, rtol=1e-4)
    pt = jets.constituents["clusters"].values[:, 0].astype(np.float64)
    sums = np.bincount(clusters.owners(), pt * clusters.values[:, 1], minlength=count)
    assert np.all(sums >= 0)


def test_the_jets_given_do_not_change() -> None:
    jets = converted_jets(5)
    before = {name: ragged.values.copy() for name, ragged in jets.constituents.items()}
    scale(jets, FULL)
    for name, values in before.items():
        np.testing.assert_array_equal(jets.constituents[name].values, values)

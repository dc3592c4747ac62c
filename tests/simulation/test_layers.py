"""Energies in the layers of clusters, showers and halo muons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED, Clusters
from cal_ratio_trainer.simulation.layers import (
    SPEED_OF_LIGHT,
    depth_at,
    halo_delay,
    halo_shares,
    noisy_energies,
    ordinary_shares,
    shower_shares,
)

N = 6000


def clusters(kind: int, pt: float, abs_eta: float = 0.5) -> tuple[Clusters, NDArray[np.int8]]:
    """One cluster for each of N jets, and their types."""
    number, all_true = np.arange(N), np.ones(N, bool)
    pts, eta = np.full(N, pt, np.float32), np.full(N, abs_eta, np.float32)
    found = Clusters(np.ones(N, np.int64), number, np.zeros(N, np.int64), all_true, all_true, pts, eta, eta)
    return found, np.full(N, kind, np.int8)


@pytest.mark.parametrize("kind", [EM, MIXED, HAD])
@pytest.mark.parametrize("pt", [0.2, 0.8, 5.0, 60.0])
def test_shares_sum_to_one(kind: int, pt: float) -> None:
    shares = ordinary_shares(np.random.default_rng(1), *clusters(kind, pt))
    assert np.all(shares >= 0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_types_use_the_calorimeters_that_they_are_named_after() -> None:
    def em_share(kind: int) -> float:
        return float(ordinary_shares(np.random.default_rng(2), *clusters(kind, 5.0))[:, :4].sum(axis=1).mean())

    assert em_share(EM) == 1
    assert 0.3 < em_share(MIXED) < 0.8
    assert em_share(HAD) == 0


def test_noise_does_not_move_the_energy_of_hard_clusters() -> None:
    chosen = clusters(EM, 60.0)
    shares = ordinary_shares(np.random.default_rng(4), *chosen)
    energies, pt = noisy_energies(np.random.default_rng(3), *chosen, shares)
    np.testing.assert_allclose(energies.sum(axis=1), 60 * np.cosh(0.5), rtol=1e-4)
    np.testing.assert_allclose(pt, 60, rtol=1e-4)


def test_soft_clusters_have_negative_layers_and_a_positive_sum() -> None:
    chosen = clusters(HAD, 0.3)
    shares = ordinary_shares(np.random.default_rng(6), *chosen)
    energies, pt = noisy_energies(np.random.default_rng(5), *chosen, shares)
    assert np.mean(np.any(energies < 0, axis=1)) > 0.05
    assert np.all(energies.sum(axis=1) > 0)
    assert np.all(pt > 0)


def test_deep_displaced_clusters_have_noise_in_the_ecal() -> None:
    chosen = clusters(HAD, 30.0)
    shares = ordinary_shares(np.random.default_rng(7), *chosen)
    energies, _ = noisy_energies(np.random.default_rng(8), *chosen, shares, displaced=np.ones(N, bool))
    active = np.mean(energies[:, :4] != 0, axis=0)
    np.testing.assert_allclose(active, [0.03, 0.08, 0.42, 0.68], atol=0.03)


MANY = 3000


def generator() -> np.random.Generator:
    return np.random.default_rng(2)


@settings(max_examples=20, deadline=None)
@given(depth=st.floats(0, 11), eta=st.floats(0, 2.5))
def test_shares_are_positive_and_sum_to_one(depth: float, eta: float) -> None:
    shares = shower_shares(generator(), np.full(50, depth, np.float32), np.full(50, eta, np.float32))
    assert np.all(shares >= 0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_the_barrel_has_no_first_hadronic_layer() -> None:
    central = np.full(MANY, 0.5, np.float32)
    assert np.all(shower_shares(generator(), np.full(MANY, 1.0, np.float32), central)[:, 4] == 0)
    assert np.all(halo_shares(generator(), central)[0][:, 4] == 0)


def test_a_shower_leaves_nothing_before_where_it_starts() -> None:
    shares = shower_shares(generator(), np.full(MANY, 4.0, np.float32), np.zeros(MANY, np.float32))
    assert np.all(shares[:, :6] == 0)


def test_a_halo_muon_lights_up_one_layer() -> None:
    shares, layer = halo_shares(generator(), np.full(MANY, 0.4, np.float32))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert np.median(shares[np.arange(MANY), 4 + layer]) > 0.9


def test_outgoing_halo_muons_come_early_by_the_detour_of_light() -> None:
    at_zero = np.zeros(3, np.float32)
    layer = np.array([1, 2, 3])
    delay = halo_delay(generator(), at_zero, layer, np.zeros(3, bool))
    np.testing.assert_allclose(delay, -np.array([2440, 3050, 3650]) / SPEED_OF_LIGHT, rtol=1e-3)


def test_incoming_halo_muons_come_earlier_than_outgoing_ones() -> None:
    eta = np.full(MANY, 0.3, np.float32)
    layer = np.full(MANY, 1)
    outgoing, incoming = (
        halo_delay(generator(), eta, layer, np.full(MANY, is_incoming)) for is_incoming in (False, True)
    )
    assert np.all(incoming < outgoing)


def test_depth_grows_outwards() -> None:
    radius = np.linspace(1200, 4200, 50, dtype=np.float32)
    barrel = depth_at(radius, np.zeros(50, np.float32), np.zeros(50, np.float32))
    endcap = depth_at(np.zeros(50, np.float32), np.linspace(3500, 6000, 50, dtype=np.float32), np.full(50, 2.0))
    assert np.all(np.diff(barrel) > 0)
    assert np.all(np.diff(endcap) > 0)

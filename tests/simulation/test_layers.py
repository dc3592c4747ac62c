"""Energies in the layers of clusters."""

import numpy as np
import pytest

from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED
from cal_ratio_trainer.simulation.layers import Energies, noisy_energies, ordinary_shares

N = 6000


def clusters(kind: int, pt: float, abs_eta: float = 0.5) -> Energies:
    none = np.zeros(N, bool)
    return Energies(np.full(N, pt, np.float32), np.full(N, abs_eta, np.float32), np.full(N, kind, np.int8), none, none)


@pytest.mark.parametrize("kind", [EM, MIXED, HAD])
@pytest.mark.parametrize("pt", [0.2, 0.8, 5.0, 60.0])
def test_shares_sum_to_one(kind: int, pt: float) -> None:
    shares = ordinary_shares(np.random.default_rng(1), clusters(kind, pt))
    assert np.all(shares >= 0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_types_use_the_calorimeters_that_they_are_named_after() -> None:
    def em_share(kind: int) -> float:
        return float(ordinary_shares(np.random.default_rng(2), clusters(kind, 5.0))[:, :4].sum(axis=1).mean())

    assert em_share(EM) == 1
    assert 0.3 < em_share(MIXED) < 0.8
    assert em_share(HAD) == 0


def test_noise_does_not_move_the_energy_of_hard_clusters() -> None:
    chosen = clusters(EM, 60.0)
    energies = noisy_energies(np.random.default_rng(3), chosen, ordinary_shares(np.random.default_rng(4), chosen))
    np.testing.assert_allclose(energies.sum(axis=1), 60 * np.cosh(0.5), rtol=1e-4)


def test_soft_clusters_have_negative_layers_and_a_positive_sum() -> None:
    chosen = clusters(HAD, 0.3)
    energies = noisy_energies(np.random.default_rng(5), chosen, ordinary_shares(np.random.default_rng(6), chosen))
    assert np.mean(np.any(energies < 0, axis=1)) > 0.05
    assert np.all(energies.sum(axis=1) > 0)


def test_deep_displaced_clusters_have_noise_in_the_ecal() -> None:
    plain, pt = clusters(HAD, 30.0), np.full(N, 30, np.float32)
    displaced = Energies(pt, plain.abs_eta, plain.kind, np.ones(N, bool), np.zeros(N, bool))
    shares = ordinary_shares(np.random.default_rng(7), displaced)
    energies = noisy_energies(np.random.default_rng(8), displaced, shares)
    active = np.mean(energies[:, :4] != 0, axis=0)
    np.testing.assert_allclose(active, [0.03, 0.08, 0.42, 0.68], atol=0.03)

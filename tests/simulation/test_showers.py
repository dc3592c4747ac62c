"""Layer patterns of showers inside the calorimeter and of halo muons."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.simulation.layers import SPEED_OF_LIGHT, depth_at, halo_delay, halo_shares, shower_shares

N = 3000


def generator() -> np.random.Generator:
    return np.random.default_rng(2)


@settings(max_examples=20, deadline=None)
@given(depth=st.floats(0, 11), eta=st.floats(0, 2.5))
def test_shares_are_positive_and_sum_to_one(depth: float, eta: float) -> None:
    shares = shower_shares(generator(), np.full(50, depth, np.float32), np.full(50, eta, np.float32))
    assert np.all(shares >= 0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_the_barrel_has_no_first_hadronic_layer() -> None:
    central = np.full(N, 0.5, np.float32)
    assert np.all(shower_shares(generator(), np.full(N, 1.0, np.float32), central)[:, 4] == 0)
    assert np.all(halo_shares(generator(), central)[0][:, 4] == 0)


def test_a_shower_leaves_nothing_before_where_it_starts() -> None:
    shares = shower_shares(generator(), np.full(N, 4.0, np.float32), np.zeros(N, np.float32))
    assert np.all(shares[:, :6] == 0)


def test_a_halo_muon_lights_up_one_layer() -> None:
    shares, layer = halo_shares(generator(), np.full(N, 0.4, np.float32))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert np.median(shares[np.arange(N), 4 + layer]) > 0.9


def test_outgoing_halo_muons_come_early_by_the_detour_of_light() -> None:
    at_zero = np.zeros(3, np.float32)
    layer = np.array([1, 2, 3])
    delay = halo_delay(generator(), at_zero, layer, np.zeros(3, bool))
    np.testing.assert_allclose(delay, -np.array([2440, 3050, 3650]) / SPEED_OF_LIGHT, rtol=1e-3)


def test_incoming_halo_muons_come_earlier_than_outgoing_ones() -> None:
    eta = np.full(N, 0.3, np.float32)
    layer = np.full(N, 1)
    outgoing, incoming = (halo_delay(generator(), eta, layer, np.full(N, is_incoming)) for is_incoming in (False, True))
    assert np.all(incoming < outgoing)


def test_depth_grows_outwards() -> None:
    radius = np.linspace(1200, 4200, 50, dtype=np.float32)
    barrel = depth_at(radius, np.zeros(50, np.float32), np.zeros(50, np.float32))
    endcap = depth_at(np.zeros(50, np.float32), np.linspace(3500, 6000, 50, dtype=np.float32), np.full(50, 2.0))
    assert np.all(np.diff(barrel) > 0)
    assert np.all(np.diff(endcap) > 0)

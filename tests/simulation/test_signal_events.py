"""Kinematics of the signal: conservation, acceptance, and weights of accepted events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.simulation.draws import parameters
from cal_ratio_trainer.simulation.signal import MassPoint, _boosted, _pair, kept_in_signal, signal_events

GRID = [MassPoint(*point) for point in parameters("samples")["signal_grid"]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), point=st.sampled_from(GRID))
def test_a_boosted_decay_keeps_the_mass_and_momentum_of_its_parent(seed: int, point: MassPoint) -> None:
    random = np.random.default_rng(seed)
    rest = random.normal(size=(3, 5))
    rest *= np.sqrt(point.mH**2 / 4 - point.mS**2) / np.sqrt((rest**2).sum(axis=0))
    momentum = random.normal(scale=200, size=(3, 5))
    parent = np.concatenate([momentum, np.sqrt((momentum**2).sum(axis=0) + point.mH**2)[None]])
    both = [_boosted(sign * rest, point.mH / 2, parent, point.mH) for sign in (1, -1)]
    np.testing.assert_allclose(both[0] + both[1], momentum, rtol=1e-9, atol=1e-6)
    energy = sum(np.sqrt((each**2).sum(axis=0) + point.mS**2) for each in both)
    np.testing.assert_allclose(energy, parent[3], rtol=1e-9)


def test_the_two_particles_are_back_to_back_when_the_parent_is_slow() -> None:
    (first, _), (second, _) = _pair(np.random.default_rng(1), 4000, MassPoint(1000, 50, 0.38))
    angle = np.abs((first.phi - second.phi + np.pi) % (2 * np.pi) - np.pi)
    assert np.median(angle) > 2.8


@pytest.mark.parametrize("point", GRID)
def test_every_event_has_a_decay_in_the_fiducial_region_and_every_point_gives_jets(point: MassPoint) -> None:
    draft = signal_events(np.random.default_rng(3), 4000, point)
    assert np.all(draft.per_event["llp_fiducial"].any(axis=1))
    assert kept_in_signal(draft).sum() > 100


def test_the_share_of_fiducial_events_is_that_of_a_free_decay() -> None:
    """Weighted acceptance must equal that of brute force: 29 % in the real sample of this point."""
    point = MassPoint(125, 55, 1.05)
    draft = signal_events(np.random.default_rng(5), 100_000, point)
    from cal_ratio_trainer.simulation.signal import _decay_freely, is_fiducial

    random = np.random.default_rng(6)
    pair = _pair(random, 100_000, point)
    inside = [is_fiducial(_decay_freely(random, *each, point)) for each in pair]
    assert len(draft) / draft.tried == pytest.approx(np.mean(inside[0] | inside[1]), abs=0.006)
    assert len(draft) / draft.tried == pytest.approx(0.29, abs=0.03)


def test_both_decays_are_inside_as_often_as_with_free_decays() -> None:
    point = MassPoint(400, 100, 1.608)
    draft = signal_events(np.random.default_rng(5), 100_000, point)
    from cal_ratio_trainer.simulation.signal import _decay_freely, is_fiducial

    random = np.random.default_rng(6)
    inside = [is_fiducial(_decay_freely(random, *each, point)) for each in _pair(random, 100_000, point)]
    expected = np.mean(inside[0] & inside[1]) / np.mean(inside[0] | inside[1])
    assert np.mean(draft.per_event["llp_fiducial"].all(axis=1)) == pytest.approx(expected, abs=0.01)


def test_a_jet_with_two_decays_counts_once() -> None:
    draft = signal_events(np.random.default_rng(5), 20_000, MassPoint(1000, 50, 0.38))
    kept = kept_in_signal(draft)
    assert kept.max() == 2
    assert np.all(kept <= draft.per_event["llp_fiducial"].sum(axis=1))

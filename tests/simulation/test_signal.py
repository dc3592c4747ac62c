"""Signal events, and jets of late and deep decays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.draws import parameters
from cal_ratio_trainer.simulation.grouped import DECAY, Constituents, jet_array
from cal_ratio_trainer.simulation.signal import (
    MassPoint,
    boosted,
    decay_freely,
    is_fiducial,
    kept_in_signal,
    particle_pair,
    signal_events,
    signal_jets,
)

N = 2000


def jets_of_decays_at(radius: float, delay: float = 0.0, opening: float = 0.1) -> Constituents:
    """Barrel jets of 80 GeV from decays at one radius [mm]."""
    one = np.ones(N, np.float32)
    decays = {"transverse": one * radius, "longitudinal": one, "opening": one * opening, "delay": one * delay}
    jets = jet_array(80 * one, 0 * one, np.linspace(-3, 3, N, dtype=np.float32), DECAY, **decays)
    return signal_jets(np.random.default_rng(7), jets)


def sums(jets: Constituents, names: list[str]) -> NDArray[np.float64]:
    """Energy of each jet in some layers [MeV]."""
    total = np.sum([jets["clusters"][name] for name in names], axis=0)
    return np.asarray(np.bincount(jets["clusters"].owners, weights=total, minlength=N), np.float64)


def em_fraction(jets: Constituents) -> float:
    em = sums(jets, [f"l{i}ecal" for i in range(1, 5)])
    had = sums(jets, [f"l{i}hcal" for i in range(1, 5)])
    return float(np.mean(em / (em + had)))


def test_em_fraction_falls_with_the_radius_of_the_decay() -> None:
    fractions = [em_fraction(jets_of_decays_at(radius)) for radius in (1250.0, 1600.0, 1900.0, 2400.0)]
    assert fractions == sorted(fractions, reverse=True)
    assert fractions[0] > 0.5
    assert fractions[-1] < 0.25


def test_energy_moves_outwards_through_the_hadronic_layers() -> None:
    def favourite(radius: float) -> int:
        jets = jets_of_decays_at(radius)
        return int(np.argmax([sums(jets, [f"l{i}hcal"]).sum() for i in range(1, 5)])) + 1

    assert [favourite(radius) for radius in (2100.0, 2700.0, 3600.0)] == [2, 3, 4]


def test_muon_segments_become_more_with_depth() -> None:
    counts = [jets_of_decays_at(radius)["muon_segments"].counts.mean() for radius in (1300.0, 2400.0, 3800.0)]
    assert counts == sorted(counts)
    assert counts[2] > 3 * counts[0]


@pytest.mark.parametrize("delay", [0.0, 3.0, 8.0])
def test_the_leading_cluster_comes_as_late_as_the_decay(delay: float) -> None:
    jets = jets_of_decays_at(2000.0, delay)
    pt, time = jets["clusters"]["pt"], jets["clusters"]["time"]
    leading = np.lexsort((-pt, jets["clusters"].owners))[np.cumsum(jets["clusters"].counts) - jets["clusters"].counts]
    assert np.median(time[leading]) == pytest.approx(delay + 0.2, abs=0.3)


def test_wide_decays_give_wide_jets_with_more_clusters() -> None:
    narrow, wide = (jets_of_decays_at(2000.0, opening=opening) for opening in (0.02, 0.5))
    assert wide["clusters"].counts.mean() > narrow["clusters"].counts.mean() + 1


def free_decays_inside(random: np.random.Generator, point: MassPoint) -> list[NDArray[np.bool_]]:
    """For the first and the second particle of events, whether a free decay lies in the fiducial region."""
    pair = particle_pair(random, 100_000, point)
    for each in pair:
        decay_freely(random, each, point)
    return [is_fiducial(each) for each in pair]


GRID = [MassPoint(*point) for point in parameters("samples")["signal_grid"]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), point=st.sampled_from(GRID))
def test_a_boosted_decay_keeps_the_mass_and_momentum_of_its_parent(seed: int, point: MassPoint) -> None:
    random = np.random.default_rng(seed)
    rest = random.normal(size=(3, 5))
    rest *= np.sqrt(point.mH**2 / 4 - point.mS**2) / np.sqrt((rest**2).sum(axis=0))
    momentum = random.normal(scale=200, size=(3, 5))
    parent = np.concatenate([momentum, np.sqrt((momentum**2).sum(axis=0) + point.mH**2)[None]])
    both = [boosted(sign * rest, point.mH / 2, parent, point.mH) for sign in (1, -1)]
    np.testing.assert_allclose(both[0] + both[1], momentum, rtol=1e-9, atol=1e-6)
    energy = sum(np.sqrt((each**2).sum(axis=0) + point.mS**2) for each in both)
    np.testing.assert_allclose(energy, parent[3], rtol=1e-9)


def test_the_two_particles_are_back_to_back_when_the_parent_is_slow() -> None:
    first, second = particle_pair(np.random.default_rng(1), 4000, MassPoint(1000, 50, 0.38))
    angle = np.abs((first["phi"] - second["phi"] + np.pi) % (2 * np.pi) - np.pi)
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
    random = np.random.default_rng(6)
    inside = free_decays_inside(random, point)
    assert len(draft) / draft.tried == pytest.approx(np.mean(inside[0] | inside[1]), abs=0.006)
    assert len(draft) / draft.tried == pytest.approx(0.29, abs=0.03)


def test_both_decays_are_inside_as_often_as_with_free_decays() -> None:
    point = MassPoint(400, 100, 1.608)
    draft = signal_events(np.random.default_rng(5), 100_000, point)
    random = np.random.default_rng(6)
    inside = free_decays_inside(random, point)
    expected = np.mean(inside[0] & inside[1]) / np.mean(inside[0] | inside[1])
    assert np.mean(draft.per_event["llp_fiducial"].all(axis=1)) == pytest.approx(expected, abs=0.01)


def test_a_jet_with_two_decays_counts_once() -> None:
    draft = signal_events(np.random.default_rng(5), 20_000, MassPoint(1000, 50, 0.38))
    kept = kept_in_signal(draft)
    assert kept.max() == 2
    assert np.all(kept <= draft.per_event["llp_fiducial"].sum(axis=1))

"""Classes of jets, compared with values of real jets from the specification of the demo."""

import numpy as np
import pytest

from cal_ratio_trainer.simulation.bib import bib_jets, bib_mixture
from cal_ratio_trainer.simulation.grouped import HALO, Constituents, JetArray, jet_array
from cal_ratio_trainer.simulation.multijet import multijets

N = 4000


def spectrum() -> JetArray:
    """Jets with a spectrum like the real control region's: half soft, half spread up to 500 GeV."""
    random = np.random.default_rng(2)
    pt = np.where(random.random(N) < 0.45, 40 + random.exponential(30, N), random.uniform(60, 500, N))
    eta = np.clip(random.normal(0, 1.3, N), -2.5, 2.5)
    return jet_array(pt, eta, random.uniform(-3.1, 3.1, N))


def mean_counts(jets: Constituents) -> tuple[float, float, float]:
    """Mean numbers of clusters, tracks (at most 20) and segments per jet."""
    tracks = np.minimum(jets["tracks"].counts, 20)
    return float(jets["clusters"].counts.mean()), float(tracks.mean()), float(jets["muon_segments"].counts.mean())


def test_multijets_have_as_many_constituents_as_real_ones_in_simulation_and_in_data() -> None:
    simulation = mean_counts(multijets(np.random.default_rng(1), spectrum(), mismodelling=0.0))
    data = mean_counts(multijets(np.random.default_rng(1), spectrum(), mismodelling=1.0))
    assert simulation == pytest.approx((16.3, 11.0, 1.5), rel=0.15)
    assert data == pytest.approx((13.6, 11.3, 2.6), rel=0.15)


def test_bib_jets_have_as_many_constituents_as_real_ones() -> None:
    random = np.random.default_rng(3)
    assert mean_counts(bib_jets(random, bib_mixture(random, N))) == pytest.approx((7.2, 2.8, 6.7), rel=0.15)


def leading(jets: Constituents, name: str) -> np.ndarray:
    """A column of the leading clusters."""
    order = np.lexsort((-jets["clusters"]["pt"], jets["clusters"].owners))
    first = np.cumsum(jets["clusters"].counts) - jets["clusters"].counts
    return np.asarray(jets["clusters"][name][order[first]])


def test_halo_jets_come_early_and_the_earlier_the_more_central() -> None:
    random = np.random.default_rng(4)
    jets = bib_mixture(random, N)
    time = leading(bib_jets(random, jets), "time")
    halo, abs_eta = jets["maker"] == HALO, np.abs(jets["eta"])
    medians = [
        np.median(time[halo & (abs_eta > low) & (abs_eta < high)]) for low, high in ((0, 0.3), (1, 1.5), (1.5, 3))
    ]
    assert medians == sorted(medians)
    assert medians == pytest.approx([-8.6, -3.2, -0.7], abs=1.2)


def test_bib_jets_prefer_the_horizontal_plane() -> None:
    jets = bib_mixture(np.random.default_rng(5), 20_000)
    near = np.abs(np.sin(jets["phi"])) < np.sin(0.26)
    assert near.mean() == pytest.approx(0.41, abs=0.08)


def test_bib_and_multijets_differ_in_where_the_energy_lies() -> None:
    def em_share(jets: Constituents) -> float:
        em = sum(jets["clusters"][f"l{i}ecal"].sum() for i in range(1, 5))
        had = sum(jets["clusters"][f"l{i}hcal"].sum() for i in range(1, 5))
        return float(em / (em + had))

    random = np.random.default_rng(6)
    assert em_share(multijets(random, spectrum(), mismodelling=0.0)) > 0.6
    assert em_share(bib_jets(random, bib_mixture(random, N))) < 0.25


def test_data_differ_from_simulation_where_the_real_ones_do() -> None:
    simulation, data = (multijets(np.random.default_rng(7), spectrum(), mismodelling) for mismodelling in (0.0, 1.0))
    ratio = {kind: data[kind].counts.mean() / simulation[kind].counts.mean() for kind in simulation}
    assert ratio["clusters"] == pytest.approx(0.8, abs=0.08)
    assert ratio["muon_segments"] == pytest.approx(1.67, abs=0.35)
    assert np.median(leading(data, "time")) < np.median(leading(simulation, "time")) - 0.2
    assert np.any(data["muon_segments"]["t0"] == 99999)
    assert not np.any(simulation["muon_segments"]["t0"] == 99999)


def test_twice_the_mismodelling_takes_away_twice_as_many_clusters() -> None:
    counts = [
        multijets(np.random.default_rng(9), spectrum(), mismodelling)["clusters"].counts.mean()
        for mismodelling in (0.0, 1.0, 2.0)
    ]
    assert (counts[0] - counts[2]) / (counts[0] - counts[1]) == pytest.approx(2.0, abs=0.3)


def test_exact_zeros_and_negative_layers_are_there_as_in_real_clusters() -> None:
    clusters = multijets(np.random.default_rng(8), spectrum(), mismodelling=0.0)["clusters"]
    second, first_hadronic = clusters["l2ecal"], clusters["l2hcal"]
    assert 0.05 < np.mean(second == 0) < 0.6
    assert 0.001 < np.mean(first_hadronic < 0) < 0.2

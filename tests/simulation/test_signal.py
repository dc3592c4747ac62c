"""Jets of decays: late and deep decays have the expected features."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.events import Decays
from cal_ratio_trainer.simulation.lists import Axes, Constituents
from cal_ratio_trainer.simulation.signal import signal_jets

N = 2000


def jets_of_decays_at(radius: float, delay: float = 0.0, opening: float = 0.1) -> Constituents:
    """Barrel jets of 80 GeV from decays at one radius [mm]."""
    axes = Axes(np.full(N, 80, np.float32), np.zeros(N, np.float32), np.linspace(-3, 3, N, dtype=np.float32))
    one = np.ones(N, np.float32)
    return signal_jets(np.random.default_rng(7), axes, Decays(one * radius, one, one * opening, one * delay))


def sums(jets: Constituents, names: list[str]) -> NDArray[np.float64]:
    """Energy of each jet in some layers [MeV]."""
    total = np.sum([jets.clusters.columns[name] for name in names], axis=0)
    return np.asarray(np.bincount(jets.clusters.owners, weights=total, minlength=N), np.float64)


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
    counts = [jets_of_decays_at(radius).muon_segments.counts.mean() for radius in (1300.0, 2400.0, 3800.0)]
    assert counts == sorted(counts)
    assert counts[2] > 3 * counts[0]


@pytest.mark.parametrize("delay", [0.0, 3.0, 8.0])
def test_the_leading_cluster_comes_as_late_as_the_decay(delay: float) -> None:
    jets = jets_of_decays_at(2000.0, delay)
    pt, time = jets.clusters.columns["pt"], jets.clusters.columns["time"]
    leading = np.lexsort((-pt, jets.clusters.owners))[np.cumsum(jets.clusters.counts) - jets.clusters.counts]
    assert np.median(time[leading]) == pytest.approx(delay + 0.2, abs=0.3)


def test_wide_decays_give_wide_jets_with_more_clusters() -> None:
    narrow, wide = (jets_of_decays_at(2000.0, opening=opening) for opening in (0.02, 0.5))
    assert wide.clusters.counts.mean() > narrow.clusters.counts.mean() + 1

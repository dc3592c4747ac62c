"""Cluster times."""

import numpy as np
import pytest

from cal_ratio_trainer.simulation.clusters import out_of_time, times

N = 20_000


def drawn(pt: float, mismodelling: float = 0.0) -> np.ndarray:
    pts, delay, tail_scale = (np.full(N, value, np.float32) for value in (pt, 0.0, 1.0))
    return times(np.random.default_rng(1), pts, delay, tail_scale, mismodelling)


def core_width(values: np.ndarray) -> float:
    return float(np.diff(np.quantile(values[values != 0], [0.16, 0.84]))[0] / 2)


def test_resolution_improves_with_pt() -> None:
    widths = [core_width(drawn(pt)) for pt in (1.5, 5.0, 20.0, 60.0)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(("pt", "share"), [(0.2, 0.64), (0.5, 0.48), (2.0, 0.13), (60.0, 0.0)])
def test_soft_clusters_often_have_no_time(pt: float, share: float) -> None:
    assert np.mean(drawn(pt) == 0) == pytest.approx(share, abs=0.02)


def test_hard_clusters_of_data_come_earlier_and_spread_more() -> None:
    simulation, data = drawn(60.0), drawn(60.0, mismodelling=1.0)
    assert np.median(data) - np.median(simulation) == pytest.approx(-0.42, abs=0.03)
    assert core_width(data) > core_width(simulation)


def test_twice_the_mismodelling_is_twice_the_shift() -> None:
    simulation, data, twice = (np.median(drawn(60.0, mismodelling)) for mismodelling in (0.0, 1.0, 2.0))
    assert twice - simulation == pytest.approx(2 * (data - simulation), abs=0.03)


def test_jets_of_other_crossings_are_soft_and_mostly_early() -> None:
    soft, hard = (out_of_time(np.random.default_rng(2), np.full(N, pt, np.float32), 0.0) for pt in (42.0, 150.0))
    assert np.mean(soft != 0) == pytest.approx(0.21, abs=0.02)
    assert np.mean(hard != 0) < 0.01
    assert np.mean(soft[soft != 0] < 0) == pytest.approx(0.75, abs=0.03)

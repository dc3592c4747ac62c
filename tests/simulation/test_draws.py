"""Random numbers follow the distributions of their names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cal_ratio_trainer.simulation import draws

N = 40_000


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


def test_mismodelled_numbers_are_those_of_simulation_and_data_or_twice_as_far_and_never_negative() -> None:
    simulation, data = [0.3, 0.7, 0.0], [0.1, 0.9, 0.0]
    assert draws.mismodelled(simulation, data, 0.0) == simulation
    assert draws.mismodelled(simulation, data, 1.0) == data
    assert draws.mismodelled(simulation, data, 2.0) == pytest.approx([0.0, 1.1, 0.0])
    assert draws.mismodelled(1.0, 0.7, 2.0) == pytest.approx(0.4)


def test_negative_binomial_has_the_mean_and_variance_asked_for() -> None:
    counts = draws.negative_binomial(generator(), 4.0, 2.0, N)
    assert counts.mean() == pytest.approx(4.0, rel=0.03)
    assert counts.var() == pytest.approx(4.0 + 4.0**2 / 2.0, rel=0.05)


@pytest.mark.parametrize(
    ("sample", "distribution"),
    [
        (draws.normal(generator(), N), stats.norm()),
        (draws.exponential(generator(), N), stats.expon()),
        (draws.laplace(generator(), N), stats.laplace()),
        (draws.rayleigh(generator(), N), stats.rayleigh()),
        (draws.student_t(generator(), 2.6, N), stats.t(2.6)),
        (draws.uniform(generator(), N, -1.0, 3.0), stats.uniform(-1, 4)),
        (draws.gamma(generator(), 0.8, N), stats.gamma(0.8)),
    ],
    ids=["normal", "exponential", "laplace", "rayleigh", "student t", "uniform", "gamma"],
)
def test_samples_follow_their_distribution(sample: np.ndarray, distribution: object) -> None:
    assert stats.kstest(sample, distribution.cdf).pvalue > 1e-3  # type: ignore[attr-defined]


def test_power_law_falls_with_its_exponent() -> None:
    sample = draws.power_law(generator(), 50.0, 500.0, 5.4, N)
    assert sample.min() >= 50
    assert sample.max() <= 500
    assert np.mean(sample > 100) == pytest.approx(2**-4.4, rel=0.1)


def test_choices_come_as_often_as_their_probabilities() -> None:
    drawn = draws.choose(generator(), [0.5, 0.0, 1.5], N)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / N, [0.25, 0, 0.75], atol=0.01)


@settings(max_examples=30)
@given(st.floats(-50, 50, width=32))
def test_wrapping_keeps_the_direction(angle: float) -> None:
    wrapped = float(draws.wrap(np.array([angle], np.float32))[0])
    assert -np.pi - 1e-5 <= wrapped <= np.pi + 1e-5
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-4)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-4)

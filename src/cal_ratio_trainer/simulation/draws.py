"""Random numbers of the distributions that the model uses, and its parameters (`parameters.yaml`).

Numbers are float32 arrays unless counts are drawn.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Generator = np.random.Generator


def uniform(random: Generator, size: int, low: float = 0.0, high: float = 1.0) -> FloatArray:
    """Flat between low and high, [size]."""
    return random.random(size, dtype=np.float32) * np.float32(high - low) + np.float32(low)


def normal(random: Generator, size: int | tuple[int, ...]) -> FloatArray:
    """Standard normal numbers."""
    return random.standard_normal(size, dtype=np.float32)


def exponential(random: Generator, size: int) -> FloatArray:
    """Exponential numbers of mean 1, [size]."""
    return random.standard_exponential(size, dtype=np.float32)


def gamma(random: Generator, shape: ArrayLike, size: int | tuple[int, ...] | None = None) -> FloatArray:
    """Gamma numbers of scale 1; shape may be an array and may be 0 (which gives 0)."""
    return np.asarray(random.standard_gamma(np.asarray(shape, np.float32), size, dtype=np.float32), np.float32)


def laplace(random: Generator, size: int) -> FloatArray:
    """Two-sided exponential numbers of scale 1, [size]."""
    return exponential(random, size) * sign(random, size)


def sign(random: Generator, size: int, negative: float = 0.5) -> FloatArray:
    """-1 with probability `negative`, else 1, [size]."""
    return np.where(random.random(size, dtype=np.float32) < negative, np.float32(-1), np.float32(1))


def student_t(random: Generator, freedom: float, size: int) -> FloatArray:
    """Student's t with `freedom` degrees of freedom, [size]."""
    chi2 = 2 * gamma(random, freedom / 2, size)
    return np.asarray(normal(random, size) / np.sqrt(np.maximum(chi2, 1e-12) / freedom), np.float32)


def rayleigh(random: Generator, size: int) -> FloatArray:
    """Distance from the origin of two standard normal numbers, [size]."""
    return np.sqrt(2 * exponential(random, size))


def angle(random: Generator, size: int) -> FloatArray:
    """Flat in [-pi, pi), [size]."""
    return uniform(random, size, -np.pi, np.pi)


def choose(random: Generator, probabilities: Sequence[float], size: int) -> NDArray[np.int8]:
    """0, 1, 2, ... with the given probabilities (made to sum to 1), [size]."""
    edges = np.cumsum(probabilities)
    edges = (edges / edges[-1]).astype(np.float32)[:-1]
    return np.searchsorted(edges, random.random(size, dtype=np.float32), side="right").astype(np.int8)


def negative_binomial(random: Generator, mean: ArrayLike, k: float, size: int) -> IntArray:
    """Poisson counts whose mean varies by a Gamma of shape k, [size]: variance = mean + mean^2 / k."""
    return random.poisson(gamma(random, k, size) * (np.asarray(mean, np.float32) / np.float32(k)))


def power_law(random: Generator, low: float, high: float, power: float, size: int) -> FloatArray:
    """Distributed as x^-power between low and high, [size]."""
    exponent = 1.0 - power
    start, stop = low**exponent, high**exponent
    return np.asarray((start + random.random(size) * (stop - start)) ** (1.0 / exponent), np.float32)


def wrap(phi: FloatArray) -> FloatArray:
    """Angles in [-pi, pi)."""
    turns = np.floor((phi + np.float32(np.pi)) * np.float32(0.5 / np.pi))
    return np.asarray(phi - np.float32(2 * np.pi) * turns)


def mismodelled(simulation: ArrayLike, data: ArrayLike, mismodelling: float) -> Any:
    """Value of a parameter in data whose difference from simulation is scaled; never negative.

    Args:
        simulation: value in simulation, any shape.
        data: value measured in data, same shape.
        mismodelling: 0 gives exactly the value in simulation, 1 the value in data, 2 twice the difference.

    Returns:
        A float, or a list for arrays.
    """
    value = np.multiply(simulation, 1 - mismodelling) + np.multiply(data, mismodelling)
    return np.maximum(value, 0.0).tolist()


@cache
def parameters(section: str) -> dict[str, Any]:
    """One section of the parameters, e.g. 'clusters'; treat it as read-only.

    Raises:
        KeyError: there is no such section.
    """
    content: dict[str, Any] = _all()[section]
    return content


@cache
def _all() -> dict[str, Any]:
    text = resources.files("cal_ratio_trainer.simulation").joinpath("parameters.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content

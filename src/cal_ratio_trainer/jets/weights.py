"""Effective sample size of weighted jets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def effective_number(weights: NDArray[np.floating[Any]]) -> float:
    """Effective sample size, (sum w)^2 / sum w^2; 0 if there is no weight.

    Source: L. Kish, Survey Sampling (1965), section 11.7.
    """
    weights = np.asarray(weights, dtype=np.float64)
    # Not weights @ weights: BLAS starts threads for it, which wait for each other on a busy machine.
    return effective_number_of(float(weights.sum()), float(np.square(weights).sum()))


def effective_number_of(sum_of_weights: float, sum_of_squares: float) -> float:
    """The same from the sums, for jets that are counted as they come."""
    return sum_of_weights**2 / sum_of_squares if sum_of_squares > 0 else 0.0

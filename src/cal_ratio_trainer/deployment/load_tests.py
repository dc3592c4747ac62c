"""Which jets go into a frugally-deep file for the library's check on loading, chosen so that it means something.

The library allows a difference of 1e-4 in a score. A jet whose scores are 0 and 1 to that precision sees nothing: with
random numbers as inputs even exchanged gates of a recurrence pass.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.deployment.fdeep_file import LoadTest
from cal_ratio_trainer.deployment.network_inputs import NetworkInputs

_WANTED_SCORE = 0.6
"""High enough that a class is favoured, low enough that the softmax still moves."""
_DIGITS = 6
"""Scores are rounded to this: further ones would depend on the machine, and the bytes of a file with them."""


def chosen_load_tests(
    inputs: NetworkInputs, fillings: NDArray[np.integer], scores: NDArray[np.float64]
) -> tuple[LoadTest, ...]:
    """For each filling and each output the jet whose score there is nearest to 0.6, each jet once.

    Args:
        inputs: the jets to choose from.
        fillings: [jets], which of them belong together.
        scores: [jets, outputs] in double precision.
    """
    chosen: list[int] = []
    for filling in np.unique(fillings):
        candidates = np.flatnonzero(fillings == filling)
        for output in range(scores.shape[1]):
            free = candidates[~np.isin(candidates, chosen)]
            if len(free):
                chosen.append(int(free[np.argmin(np.abs(scores[free, output] - _WANTED_SCORE))]))
    rounded = np.round(scores, _DIGITS).astype(np.float32)
    return tuple(LoadTest(inputs.of(jet), rounded[jet]) for jet in chosen)

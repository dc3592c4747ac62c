"""Which jets go into a frugally-deep file for the library's check on loading, chosen so that it means something.

The library allows a difference of 1e-4 in a score. A jet whose scores are 0 and 1 to that precision sees nothing: with
random numbers as inputs even exchanged gates of a recurrence pass.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.formats.fdeep_file import LoadTest
from cal_ratio_trainer.formats.network_inputs import NetworkInputs

_WANTED_SCORE = 0.6
"""High enough that a class is favoured, low enough that the softmax still moves."""
_SATURATED = 0.95
"""With a larger score than this the others hardly move: the check would see only what changes the network a lot."""
_DIGITS = 6
"""Scores are rounded to this: further ones would depend on the machine, and the bytes of a file with them."""


def is_sensitive(scores: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """For each jet whether its scores [jets, outputs] still move with what the network computes: none is near 1."""
    sensitive: NDArray[np.bool_] = scores.max(axis=1) <= _SATURATED
    return sensitive


def chosen_load_tests(
    inputs: NetworkInputs, fillings: NDArray[np.integer], scores: NDArray[np.float64]
) -> tuple[LoadTest, ...]:
    """For each filling and each output the jet whose score there is nearest to 0.6, each jet once.

    Where all jets of a filling are saturated, others take their places, and saturated ones only where nothing else is
    left.

    Args:
        inputs: the jets to choose from.
        fillings: [jets], which of them belong together.
        scores: [jets, outputs] in double precision.
    """
    distances = np.abs(scores - _WANTED_SCORE)
    sensitive = is_sensitive(scores)
    chosen: list[int] = []
    vacant: list[int] = []
    for filling in np.unique(fillings):
        for output in range(scores.shape[1]):
            jet = _nearest(distances[:, output], (fillings == filling) & sensitive, chosen)
            chosen += [] if jet is None else [jet]
            vacant += [output] if jet is None else []
    for output in vacant:
        jet = _nearest(distances[:, output], sensitive, chosen)
        jet = _nearest(distances[:, output], ~sensitive, chosen) if jet is None else jet
        chosen += [] if jet is None else [jet]
    rounded = np.round(scores, _DIGITS).astype(np.float32)
    return tuple(LoadTest(inputs.of(jet), rounded[jet]) for jet in chosen)


def _nearest(distances: NDArray[np.float64], allowed: NDArray[np.bool_], taken: list[int]) -> int | None:
    """The position of the smallest distance among those that are allowed and not taken."""
    free = np.flatnonzero(allowed)
    free = free[~np.isin(free, taken)]
    return int(free[np.argmin(distances[free])]) if len(free) else None

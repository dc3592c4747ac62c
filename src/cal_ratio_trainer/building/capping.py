"""Keeps single jets from outweighing all others of their class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Capped:
    """Weights of one class after the largest were lowered.

    Attributes:
        weights: [jets].
        limit: what no weight exceeds.
        jets: how many were lowered.
        share_lost: by how much the sum of weights fell, as a share of it.
    """

    weights: Doubles
    limit: float
    jets: int
    share_lost: float


def capped(weights: Doubles, share: float) -> Capped | None:
    """Lower the largest weights so that none is more than a share of the sum of all, as it is then.

    Weights count by their size; those of generators may be negative, and keep their sign.

    Args:
        weights: of the jets of one class, [jets].
        share: the largest share [1]. Where there are fewer jets than 1 / share, no limit can reach it, and all that is
            above the smallest weight is lowered to it.

    Returns:
        None where no weight is too large.
    """
    sizes = np.abs(weights)
    total = float(sizes.sum())
    if not len(sizes) or not sizes.max() > share * total * (1 + 1e-12):
        return None
    falling = -np.sort(-sizes)
    # With the largest n lowered to a limit, limit = share * (n * limit + rest): the first n that fits its own limit.
    lowered = np.arange(1, len(falling) + 1)
    rest = np.concatenate([(total - np.cumsum(falling))[:-1], [0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = np.where(lowered * share < 1, share * np.maximum(rest, 0.0) / (1 - lowered * share), np.nan)
    following = np.append(falling[1:], 0.0)
    fits = np.flatnonzero((limits >= following) & (limits <= falling) & (limits > 0))
    limit = float(limits[fits[0]]) if len(fits) else float(falling[-1])
    low = np.minimum(sizes, limit)
    return Capped(np.sign(weights) * low, limit, int((sizes > limit).sum()), 1 - float(low.sum()) / total)

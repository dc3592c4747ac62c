"""The weights of a network as they are written to files: all there, of the right shape, finite, float32."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.network.shape import NetworkShape

FloatArray = NDArray[np.float32]


class NonFiniteWeights(UserError):
    """Weights hold NaN or infinities: the training that made them has diverged."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        super().__init__(f"weight {name} holds {count} values that are not finite; no network file can be made of it")


def checked_weights(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, FloatArray]:
    """Every weight as contiguous float32, by name and in the order of `shape.weight_shapes()`.

    Args:
        shape: the classifier's shape.
        weights: every weight by name.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight holds NaN or infinities.
    """
    expected = shape.weight_shapes()
    if weights.keys() != expected.keys():
        raise ValueError(f"weights missing or unknown: {sorted(weights.keys() ^ expected.keys())}")
    stored = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in expected}
    for name, values in stored.items():
        if values.shape != expected[name]:
            raise ValueError(f"weight {name} has shape {values.shape}, expected {expected[name]}")
        if bad := int(np.count_nonzero(~np.isfinite(values))):
            raise NonFiniteWeights(name, bad)
    return stored

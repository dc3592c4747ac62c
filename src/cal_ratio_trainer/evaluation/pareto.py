"""Pareto front of points with two figures of merit."""

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points than which no other is at least as good in both figures and better in one.

    Args:
        points: (figure that should be high, figure that should be low) of each; a point with a NaN or an infinity is
            passed over.

    Returns:
        Positions by falling first figure, so that the second falls too; of equal points the earliest.
    """
    known = [position for position, point in enumerate(points) if all(map(math.isfinite, point))]
    front, lowest = [], math.inf
    for position in sorted(known, key=lambda position: (-points[position][0], points[position][1], position)):
        if points[position][1] < lowest:
            front.append(position)
            lowest = points[position][1]
    return front

"""Shares of jets with their 68 % intervals."""

import math
from dataclasses import dataclass

from scipy.special import betaincinv

_TAIL = (1 - math.erf(1 / math.sqrt(2))) / 2
"""The probability left out on each side of a 68.3 % interval."""


@dataclass(frozen=True)
class Share:
    """A part of a number of jets: `value` = passed / total, in [low, high] at 68 % confidence; NaN of no jets.

    `passed` and `total` are counts, or effective counts where jets carry weights.
    """

    passed: float
    total: float
    value: float
    low: float
    high: float

    @property
    def error_down(self) -> float:
        """Distance from the value to the lower end."""
        return self.value - self.low

    @property
    def error_up(self) -> float:
        """Distance from the value to the upper end."""
        return self.high - self.value


def share(passed: float, total: float) -> Share:
    """A share with its Clopper-Pearson interval.

    Args:
        passed: how many pass; with weights their share times `total`, put into [0, total] for the interval.
        total: how many there are; with weights their effective number.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404; at real-valued counts as the incomplete beta
        function continues it.
    """
    if total <= 0:
        return Share(passed, total, math.nan, math.nan, math.nan)
    inside = min(max(passed, 0.0), total)
    low = float(betaincinv(inside, total - inside + 1, _TAIL)) if inside > 0 else 0.0
    high = float(betaincinv(inside + 1, total - inside, 1 - _TAIL)) if inside < total else 1.0
    return Share(passed, total, passed / total, low, high)

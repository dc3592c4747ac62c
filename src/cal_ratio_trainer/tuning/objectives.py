"""Objectives of a study: what an epoch and a trial are worth, and when one is clearly worse than others.

All figures are those of the validation part, so that figures quoted on the test part stay honest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cal_ratio_trainer.config.tuning import Measure, Objective
from cal_ratio_trainer.evaluation.roc import roc_curve
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.runs.recommendation import BestEpoch, pareto_front

OBJECTIVES: dict[Objective, str] = {"auc": "AUC", "rejection": "rejection at 90 %"}
MEASURES: dict[Measure, str] = {"c2st": "C2ST excess", "ks": "K-S excess"}
"""Objectives in words."""

REJECTION, REJECTION_ERROR = "val_rejection_90", "val_rejection_90_error"
"""Columns of the history that a study by rejection adds."""

_SIGNAL_EFFICIENCY = 0.9
CLEAR = 2.0
"""Errors of the difference by which a trial is clearly better than another."""


@dataclass(frozen=True)
class Point:
    """Objectives after an epoch.

    Attributes:
        figure: AUC or rejection; high is good.
        error: its standard error.
        excess: of C2ST or of the K-S sum over identical distributions, in units of their spread; low is good.
        epoch: number of the epoch.
    """

    figure: float
    error: float
    excess: float
    epoch: int

    @classmethod
    def of(cls, row: Mapping[str, float], epoch: int, objective: Objective, measure: Measure) -> "Point | None":
        """Returns the objectives of a row of a history; None where one of them is not known."""
        names = ("val_auc", "val_auc_error") if objective == "auc" else (REJECTION, REJECTION_ERROR)
        figure, error = (row.get(name, math.nan) for name in names)
        excess = row.get("c2st_excess", math.nan) if measure == "c2st" else BestEpoch.of(epoch, row).ks_excess
        known = math.isfinite(figure) and math.isfinite(excess) and math.isfinite(error) and error > 0
        return cls(figure, error, excess, epoch) if known else None

    @property
    def values(self) -> tuple[float, float]:
        """Values of both objectives; an agreement better than that of identical distributions counts as that."""
        return self.figure, max(self.excess, 0.0)

    def clearly_beats(self, other: "Point") -> bool:
        """True where both objectives are better by more than `CLEAR` errors of their differences.

        The errors count as independent. All networks are judged on the same jets, so that differences are better known
        than that, and the comparison is cautious. The error of an excess is 1.
        """
        figure_error, excess_error = math.hypot(self.error, other.error), math.sqrt(2.0)
        return (
            self.figure - other.figure > CLEAR * figure_error
            and other.values[1] - self.values[1] > CLEAR * excess_error
        )


def front(points: Sequence[Point]) -> list[int]:
    """Positions of the points that no other beats in both objectives, by falling figure."""
    return pareto_front([point.values for point in points])


def recommended(points: Sequence[Point]) -> int | None:
    """Position of the point that is recommended; None of none.

    Of the points on the front it is the one with the highest figure in units of its error minus excess: the rule by
    which the epoch of a run is recommended, see `runs.recommendation`. The error is that of the highest figure.
    """
    positions = front(points)
    if not positions:
        return None
    error = points[positions[0]].error
    return max(positions, key=lambda position: points[position].figure / error - points[position].values[1])


def best_point(history: Sequence[Mapping[str, float]], objective: Objective, measure: Measure) -> Point | None:
    """Returns the objectives of a training: those of its recommended epoch, among epochs where both are known."""
    found = [Point.of(row, epoch, objective, measure) for epoch, row in enumerate(history)]
    points = [point for point in found if point is not None]
    chosen = recommended(points)
    return None if chosen is None else points[chosen]


def rejection_columns(main: ScoredJets) -> dict[str, float]:
    """Returns the rejection at 90 % signal efficiency with its error, for the history.

    Where no background passes, it is the lower end of its 68 % interval, with half of that as error.
    """
    found = roc_curve(main, rejection_at=(_SIGNAL_EFFICIENCY,)).rejection_at(_SIGNAL_EFFICIENCY)
    if math.isinf(found.value):
        return {REJECTION: found.low, REJECTION_ERROR: found.low / 2}
    return {REJECTION: found.value, REJECTION_ERROR: found.value - found.low}

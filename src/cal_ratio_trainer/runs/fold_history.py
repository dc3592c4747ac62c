"""The histories of the networks of a set as one: what is the same for all of them is said once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cal_ratio_trainer.runs.recommendation import Rule, recommended_epoch

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class BestOfFolds:
    """Each network of a set at the epoch that a rule recommends in its own history.

    Attributes:
        epochs: by fold.
        row: the mean of these rows. The validation parts of the folds share most of their jets, so a mean of spreads
            is not divided by the root of their number.
    """

    epochs: tuple[int, ...]
    row: Mapping[str, float]

    @classmethod
    def of(cls, histories: Sequence[History], rule: Rule) -> "BestOfFolds | None":
        """None where some fold has no epoch with what the rule looks at."""
        chosen = [recommended_epoch(history, rule) for history in histories]
        epochs = tuple(epoch for epoch in chosen if epoch is not None)
        if not epochs or len(epochs) < len(histories):
            return None
        return cls(epochs, mean_row([history[epoch] for history, epoch in zip(histories, epochs, strict=True)]))

    @property
    def words(self) -> str:
        """The epochs by fold: '3+5+2'."""
        return "+".join(map(str, self.epochs))


def mean_history(histories: Sequence[History]) -> list[dict[str, float]]:
    """Row by row the mean over the folds, as far as all have come."""
    return [mean_row(rows) for rows in zip(*histories, strict=False)]


def mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure that all rows have; NaN where it is not known of one."""
    common = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in common}

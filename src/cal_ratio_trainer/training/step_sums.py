"""Sums over the steps of an epoch that stay on the device until the epoch ends."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cal_ratio_trainer.training.ranks import Ranks

SUMS = (
    "adversary_loss",
    "adversary_correct",
    "adversary_jets",
    "main_loss",
    "main_correct",
    "main_jets",
    "control_loss",
    "control_correct",
    "control_jets",
)


class Tally:
    """Named sums in one tensor: losses weighted as in the loss, correct answers and jets counted."""

    def __init__(self, device: torch.device, values: Mapping[str, float] | None = None) -> None:
        start = [0.0 if values is None else values[name] for name in SUMS]
        self._sums = torch.tensor(start, dtype=torch.float64, device=device)

    def add(self, stage: str, losses: Tensor, correct: Tensor) -> None:
        """Add one batch.

        Args:
            stage: 'adversary' (its own update), 'main' or 'control' (the network's update).
            losses: [jets], weighted.
            correct: [jets] bool.
        """
        first = SUMS.index(f"{stage}_loss")
        self._sums[first] += losses.detach().sum(dtype=torch.float64)
        self._sums[first + 1] += correct.sum()
        self._sums[first + 2] += len(losses)

    def add_sums(self, sums: Tensor) -> None:
        """Add sums [9] in the order of `SUMS`, on the device."""
        self._sums += sums

    def take(self) -> Tensor:
        """The sums [9] on the device, which begin at 0 again."""
        taken = self._sums.clone()
        self._sums.zero_()
        return taken

    def add_up(self, ranks: Ranks) -> None:
        """Take the sums of all processes together."""
        ranks.all_reduce_sum_([self._sums])

    def values(self) -> dict[str, float]:
        """All sums by name; this waits for the device."""
        return dict(zip(SUMS, self._sums.tolist(), strict=True))

    def mean(self, stage: str) -> tuple[float, float]:
        """(mean loss a jet, share of correct answers) of a stage; NaN where it has seen no jets."""
        values = self.values()
        jets = values[f"{stage}_jets"]
        if jets == 0:
            return float("nan"), float("nan")
        return values[f"{stage}_loss"] / jets, values[f"{stage}_correct"] / jets

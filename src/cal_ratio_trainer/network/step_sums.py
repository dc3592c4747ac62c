"""Sums over the steps of an epoch that stay on the device until the epoch ends."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class StepSums:
    """Named sums in one tensor: losses weighted as in the loss, correct predictions and jets counted.

    Args:
        device: of the steps.
        stages: names of separate sums, e.g. 'main'; each has the sums STAGE_loss, STAGE_correct and STAGE_jets.
        values: sums to begin with, by name; None begins at 0.

    Attributes:
        sums: [3 stages] float64.
    """

    def __init__(self, device: torch.device, stages: Sequence[str], values: Mapping[str, float] | None = None) -> None:
        self.names = tuple(f"{stage}_{what}" for stage in stages for what in ("loss", "correct", "jets"))
        start = [0.0 if values is None else values[name] for name in self.names]
        self.sums = torch.tensor(start, dtype=torch.float64, device=device)

    def add(self, stage: str, losses: Tensor, correct: Tensor | None = None) -> None:
        """Adds one batch.

        Args:
            stage: one of the stages.
            losses: [jets], weighted.
            correct: [jets] bool; None for a loss that predicts nothing.
        """
        first = self.names.index(f"{stage}_loss")
        self.sums[first] += losses.detach().sum(dtype=torch.float64)
        if correct is not None:
            self.sums[first + 1] += correct.sum()
        self.sums[first + 2] += len(losses)

    def take(self) -> Tensor:
        """Returns the sums [3 stages] on the device and sets them to 0."""
        taken = self.sums.clone()
        self.sums.zero_()
        return taken

    def values(self) -> dict[str, float]:
        """All sums by name; waits for the device."""
        return dict(zip(self.names, self.sums.tolist(), strict=True))

    def mean(self, stage: str) -> tuple[float, float]:
        """(mean loss of a jet, share of correct predictions) of a stage; NaN where it has seen no jets."""
        values = self.values()
        jets = values[f"{stage}_jets"]
        if jets == 0:
            return float("nan"), float("nan")
        return values[f"{stage}_loss"] / jets, values[f"{stage}_correct"] / jets

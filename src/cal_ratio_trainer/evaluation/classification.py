"""Accuracies and the confusion matrix. Jets count 1 each, whatever their weight."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How many jets of each label have each output as their largest.

    Attributes:
        counts: [true label, label of the largest output], in the order of `Label`.
    """

    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of jets whose largest output is the right one; NaN of no jets."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else math.nan

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each row divided by its sum: what becomes of the jets of one label; NaN in a row without jets."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            result: NDArray[np.float64] = self.counts / totals
        return result


def confusion_matrix(jets: ScoredJets) -> ConfusionMatrix:
    """Count jets by label and largest output (the first of equal ones)."""
    labels = len(Label)
    cells = np.asarray(jets.labels, dtype=np.int64) * labels + jets.predictions
    return ConfusionMatrix(np.bincount(cells, minlength=labels**2).reshape(labels, labels).astype(np.int64))

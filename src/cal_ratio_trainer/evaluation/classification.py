"""Jets by their largest output: confusion matrix, signal efficiencies, false positives."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import Share, share, weighted_share
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Number of jets by label and largest output.

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
        """Rows divided by their sum: shares of the jets of one label; NaN in a row without jets."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            result: NDArray[np.float64] = self.counts / totals
        return result


def confusion_matrix(jets: ScoredJets) -> ConfusionMatrix:
    """Counts jets by label and largest output (the first of equal ones)."""
    labels = len(Label)
    cells = np.asarray(jets.labels, dtype=np.int64) * labels + jets.predictions
    return ConfusionMatrix(np.bincount(cells, minlength=labels**2).reshape(labels, labels).astype(np.int64))


@dataclass(frozen=True)
class MassPointEfficiency:
    """Share of the signal jets of one (mH, mS) in GeV whose largest output is signal; jets count 1 each."""

    higgs_mass: float
    scalar_mass: float
    efficiency: Share


@dataclass(frozen=True)
class FalsePositives:
    """Share of a background's jets whose largest output is signal, by count and by weight."""

    label: Label
    by_count: Share
    by_weight: Share


def signal_efficiencies(jets: ScoredJets) -> tuple[MassPointEfficiency, ...]:
    """Efficiency for each (mH, mS) of the signal jets, rising; none where the masses are not known."""
    if jets.higgs_mass is None or jets.scalar_mass is None:
        return ()
    masses = np.stack([jets.higgs_mass, jets.scalar_mass], axis=1)
    known_signal = (jets.labels == Label.SIGNAL) & np.isfinite(masses).all(axis=1)
    points, point_of_jet = np.unique(masses[known_signal], axis=0, return_inverse=True)
    totals = np.bincount(point_of_jet, minlength=len(points))
    taken = np.bincount(point_of_jet, weights=jets.predictions[known_signal] == Label.SIGNAL, minlength=len(points))
    return tuple(
        MassPointEfficiency(float(mh), float(ms), share(int(passed), int(total)))
        for (mh, ms), passed, total in zip(points, taken, totals, strict=True)
    )


def signal_efficiency(jets: ScoredJets) -> Share:
    """Share of all signal jets whose largest output is signal."""
    return _taken_for_signal(jets, Label.SIGNAL)


def false_positives(jets: ScoredJets) -> tuple[FalsePositives, ...]:
    """Shares of QCD and BIB jets whose largest output is signal."""
    found = []
    for label in (Label.QCD, Label.BIB):
        rows = jets.positions[label]
        by_weight = weighted_share(jets.weights[rows], jets.predictions[rows] == Label.SIGNAL)
        found.append(FalsePositives(label, _taken_for_signal(jets, label), by_weight))
    return tuple(found)


def _taken_for_signal(jets: ScoredJets, label: Label) -> Share:
    of_label = jets.labels == label
    taken = of_label & (jets.predictions == Label.SIGNAL)
    return share(int(np.count_nonzero(taken)), int(np.count_nonzero(of_label)))

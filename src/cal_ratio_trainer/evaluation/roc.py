"""ROC curves: signal against a mixture of backgrounds on the signal output."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.background import QCD_AND_TENTH_OF_BIB, Background, mass_name
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.evaluation.sample import Sample
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label

REJECTION_AT = (0.5, 0.7, 0.8, 0.9)
"""Signal efficiencies at which the rejection is quoted. [1]"""

_STORED_POINTS = 1000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Rejection:
    """Background rejection 1/fpr where a given share of signal passes; infinite where no background does.

    `low` and `high` enclose it at 68 % confidence (Clopper-Pearson at the background's effective number; the cut counts
    as given, so the signal sample's own fluctuation is not in it).
    """

    signal_efficiency: float
    background_efficiency: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Background against signal efficiency over all cuts on the signal output.

    Attributes:
        name: '' for all masses, else as `mass_name`.
        background: the mixture. Its efficiency depends on the class counts beside it.
        signal_jets, qcd_jets, bib_jets: how many jets took part.
        auc: area under the exact curve: the weighted share of (signal, background) pairs in which signal scores higher,
            pairs of equal scores counting half. With negative weights the same sum over pairs, which may leave [0, 1].
            NaN where signal or background is missing or its weights do not sum to more than 0.
        cuts: [points] the lowest score that passes, falling from infinity (nothing passes).
        signal_efficiency: [points] from 0 to 1; at most about 1000 points of the exact curve.
        background_efficiency: [points] likewise.
        rejections: at the efficiencies asked for, from the exact curve.
    """

    name: str
    background: Background
    signal_jets: int
    qcd_jets: int
    bib_jets: int
    auc: float
    cuts: NDArray[np.float64]
    signal_efficiency: NDArray[np.float64]
    background_efficiency: NDArray[np.float64]
    rejections: tuple[Rejection, ...]

    def rejection_at(self, signal_efficiency: float) -> Rejection:
        """The rejection at one of the efficiencies that the curve was made with.

        Raises:
            KeyError: the curve was made with others.
        """
        for rejection in self.rejections:
            if math.isclose(rejection.signal_efficiency, signal_efficiency):
                return rejection
        raise KeyError(signal_efficiency)


def roc_curve(
    jets: ScoredJets,
    background: Background = QCD_AND_TENTH_OF_BIB,
    higgs_mass: float | None = None,
    rejection_at: tuple[float, ...] = REJECTION_AT,
) -> RocCurve:
    """Signal against background on the signal output.

    Args:
        jets: main-sample jets; weights are scaled so that each class's sum is its count, then by the mixture's factors.
        background: the mixture.
        higgs_mass: only signal of this mH in GeV; None for all.
        rejection_at: signal efficiencies at which to quote the rejection. [1]
    """
    signal, mixture = _signal(jets, higgs_mass), mixed(jets, background)
    cuts, signal_efficiency, background_efficiency = _exact_curve(signal, mixture)
    kept = _thinned(signal_efficiency, background_efficiency)
    return RocCurve(
        name="" if higgs_mass is None else mass_name(higgs_mass),
        background=background,
        signal_jets=len(signal),
        qcd_jets=background.count(jets, Label.QCD),
        bib_jets=background.count(jets, Label.BIB),
        auc=_area(signal_efficiency, background_efficiency),
        cuts=cuts[kept],
        signal_efficiency=signal_efficiency[kept],
        background_efficiency=background_efficiency[kept],
        rejections=tuple(
            _rejection(at, signal_efficiency, background_efficiency, mixture.effective_number) for at in rejection_at
        ),
    )


def roc_auc(jets: ScoredJets, background: Background = QCD_AND_TENTH_OF_BIB, higgs_mass: float | None = None) -> float:
    """The area alone, as in `RocCurve.auc`; for use after every epoch."""
    _, signal_efficiency, background_efficiency = _exact_curve(_signal(jets, higgs_mass), mixed(jets, background))
    return _area(signal_efficiency, background_efficiency)


def mixed(jets: ScoredJets, background: Background) -> Sample:
    """The background's scores on the signal output; each class's weights sum to its count times the factor."""
    parts = []
    for label in (Label.QCD, Label.BIB):
        sample = jets.sample(label, Label.SIGNAL)
        total = sample.weights.sum(dtype=np.float64)
        if background.factor(label) and total > 0:
            parts.append(Sample(sample.values, sample.weights * (background.factor(label) * len(sample) / total)))
    if not parts:
        return Sample.unweighted(np.zeros(0))
    return Sample(np.concatenate([part.values for part in parts]), np.concatenate([part.weights for part in parts]))


def _signal(jets: ScoredJets, higgs_mass: float | None) -> Sample:
    return jets.sample(Label.SIGNAL, Label.SIGNAL) if higgs_mass is None else jets.signal_sample(higgs_mass)


def _exact_curve(
    signal: Sample, background: Sample
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    totals = signal.weights.sum(dtype=np.float64), background.weights.sum(dtype=np.float64)
    if not (totals[0] > 0 and totals[1] > 0):
        nothing = np.zeros(0)
        return nothing, nothing, nothing
    values = np.concatenate([signal.values, background.values])
    order = np.argsort(values)[::-1]
    falling = values[order]
    last_of_equal = np.append(falling[1:] != falling[:-1], True)
    efficiencies = []
    for share_of in (
        np.concatenate([signal.weights / totals[0], np.zeros(len(background))]),
        np.concatenate([np.zeros(len(signal)), background.weights / totals[1]]),
    ):
        passing = np.cumsum(share_of[order])[last_of_equal]
        # Rounding leaves the last sum beside 1 by some 1e-16.
        passing[-1] = 1.0
        efficiencies.append(np.append(0.0, passing))
    return np.append(np.inf, falling[last_of_equal].astype(np.float64)), efficiencies[0], efficiencies[1]


def _area(signal_efficiency: NDArray[np.float64], background_efficiency: NDArray[np.float64]) -> float:
    if len(signal_efficiency) == 0:
        return math.nan
    return float(np.trapezoid(signal_efficiency, background_efficiency))


def _rejection(
    at: float, signal_efficiency: NDArray[np.float64], background_efficiency: NDArray[np.float64], effective: float
) -> Rejection:
    if len(signal_efficiency) == 0:
        return Rejection(at, math.nan, math.nan, math.nan, math.nan)
    # With negative weights the curve can turn back: the tightest cut that lets enough signal pass is meant.
    right = max(int(np.argmax(signal_efficiency >= at - _ROUNDING)), 1)
    between = slice(right - 1, right + 1)
    efficiency = float(np.interp(at, signal_efficiency[between], background_efficiency[between]))
    interval = share(efficiency * effective, effective)
    return Rejection(at, efficiency, _inverse(efficiency), _inverse(interval.high), _inverse(interval.low))


def _inverse(efficiency: float) -> float:
    return 1 / efficiency if efficiency > 0 else math.inf


def _thinned(
    signal_efficiency: NDArray[np.float64], background_efficiency: NDArray[np.float64]
) -> NDArray[np.intp] | slice:
    if len(signal_efficiency) <= _STORED_POINTS:
        return slice(None)
    half = _STORED_POINTS // 2
    # Even steps of signal efficiency, the plot's x, and even steps of log rejection, its y, so that both ends stay.
    positive = background_efficiency[background_efficiency > 0]
    along_x = np.searchsorted(np.maximum.accumulate(signal_efficiency), np.linspace(0, 1, half))
    along_y = np.searchsorted(np.maximum.accumulate(background_efficiency), np.geomspace(positive.min(), 1, half - 2))
    ends = [0, len(signal_efficiency) - 1]
    return np.unique(np.clip(np.concatenate([along_x, along_y, ends]), 0, ends[1]))

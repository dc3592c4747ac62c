"""ROC curves: signal against a mixture of QCD and BIB on the signal output."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import clopper_pearson, effective_trials
from cal_ratio_trainer.evaluation.plain import rounded
from cal_ratio_trainer.evaluation.scored import ROUNDING, FloatArray, ScoredJets, WeightedSample
from cal_ratio_trainer.jets.labels import Label


@dataclass(frozen=True)
class Background:
    """Mixture of QCD and BIB that signal is separated from.

    Attributes:
        name: for tables and axes.
        qcd: factor on the QCD jets' normalised weights. [1]
        bib: factor on the BIB jets' normalised weights. [1]
    """

    name: str
    qcd: float
    bib: float

    def factor(self, label: Label) -> float:
        """The factor of one background label."""
        return {Label.QCD: self.qcd, Label.BIB: self.bib}[label]

    def count(self, jets: ScoredJets, label: Label) -> int:
        """Number of jets of one background label that take part."""
        return jets.count(label) if self.factor(label) else 0


QCD_AND_TENTH_OF_BIB = Background("QCD + 0.1 BIB", 1.0, 0.1)
QCD_AND_BIB = Background("QCD + BIB", 1.0, 1.0)
QCD_ONLY = Background("QCD only", 1.0, 0.0)
BIB_ONLY = Background("BIB only", 0.0, 1.0)

BACKGROUNDS = (QCD_AND_TENTH_OF_BIB, QCD_ONLY, BIB_ONLY)
"""Backgrounds that networks are judged by, in the order of tables."""


def mass_name(higgs_mass: float) -> str:
    """Name of results for one mH, in file names too.

    >>> mass_name(125)
    'mH125.0'
    """
    return f"mH{float(higgs_mass)}"


REJECTION_AT = (0.5, 0.7, 0.8, 0.9)
"""Signal efficiencies at which the rejection is quoted. [1]"""

_STORED_POINTS = 400
_CUT_DIGITS, _SHARE_DIGITS = 9, 7


@dataclass(frozen=True)
class Rejection:
    """Background rejection 1/fpr where a given share of signal passes; infinite where no background does.

    `low` and `high` enclose it at 68 % confidence (Clopper-Pearson at the background's effective number at that cut,
    see `effective_trials`; the cut counts as given, so the signal sample's own fluctuation is not in it).
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
        signal_jets, qcd_jets, bib_jets: numbers of jets used.
        auc: area under the exact curve: the weighted share of (signal, background) pairs in which signal scores higher,
            pairs of equal scores counting half. With negative weights the same sum over pairs, which may leave [0, 1].
            NaN where signal or background is missing or its weights do not sum to more than 0.
        cuts: [points] the lowest score that passes, falling from infinity (nothing passes).
        signal_efficiency: [points] from 0 to 1; at most about 400 points of the exact curve, to seven digits.
        background_efficiency: [points] likewise.
        signal_effective: [points] effective number of signal jets at each cut, see `effective_trials`.
        background_effective: [points] the same of the background.
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
    signal_effective: NDArray[np.float64]
    background_effective: NDArray[np.float64]
    rejections: tuple[Rejection, ...]

    @property
    def signal_interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of the signal efficiency's 68 % intervals, [points] each."""
        return clopper_pearson(self.signal_efficiency * self.signal_effective, self.signal_effective)

    @property
    def background_interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of the background efficiency's 68 % intervals, [points] each."""
        return clopper_pearson(self.background_efficiency * self.background_effective, self.background_effective)

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
    signal, mixture = jets.signal_sample(higgs_mass), mixed(jets, background)
    curve = _exact_curve(signal, mixture)
    kept = _thinned(curve.signal, curve.background)
    return RocCurve(
        name="" if higgs_mass is None else mass_name(higgs_mass),
        background=background,
        signal_jets=len(signal),
        qcd_jets=background.count(jets, Label.QCD),
        bib_jets=background.count(jets, Label.BIB),
        auc=curve.area,
        cuts=rounded(curve.cuts[kept], _CUT_DIGITS),
        signal_efficiency=rounded(curve.signal[kept], _SHARE_DIGITS),
        background_efficiency=rounded(curve.background[kept], _SHARE_DIGITS),
        signal_effective=rounded(curve.effective_signal()[kept], _SHARE_DIGITS),
        background_effective=rounded(curve.effective_background()[kept], _SHARE_DIGITS),
        rejections=tuple(_rejection(at, curve) for at in rejection_at),
    )


def roc_auc(jets: ScoredJets, background: Background = QCD_AND_TENTH_OF_BIB) -> float:
    """The area alone, as in `RocCurve.auc`; for use after every epoch."""
    return _exact_curve(jets.signal_sample(), mixed(jets, background)).area


def roc_auc_error(
    jets: ScoredJets, events: NDArray[np.integer[Any]], background: Background = QCD_AND_TENTH_OF_BIB
) -> float:
    """Standard error of `roc_auc`; the shares of QCD and BIB in the background count as given.

    Args:
        jets: main-sample jets.
        events: [jets] a number that all jets of an event share.
        background: the mixture.
    """
    of_background = events[mixed_positions(jets, background)]
    return auc_error(jets.signal_sample(), mixed(jets, background), events[jets.positions[Label.SIGNAL]], of_background)


def auc_error(
    signal: WeightedSample,
    background: WeightedSample,
    signal_events: NDArray[np.integer[Any]],
    background_events: NDArray[np.integer[Any]],
) -> float:
    """Standard error of the AUC, with jets of one event correlated; NaN where the AUC is.

    Args:
        signal, background: scores and weights, as for the AUC; weights count as given, negative ones too.
        signal_events, background_events: [jets] a number that all jets of an event share.

    Source: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44 (1988) 837, with the contributions of
        an event added up before they are squared (N. A. Obuchowski, Biometrics 53 (1997) 567).
    """
    if not (signal.weights.sum(dtype=np.float64) > 0 and background.weights.sum(dtype=np.float64) > 0):
        return math.nan
    event = np.unique(np.concatenate([signal_events, background_events]), return_inverse=True)[1]
    return clustered_error(auc_contributions(signal, background), event)


def auc_contributions(signal: WeightedSample, background: WeightedSample) -> NDArray[np.float64]:
    """Contribution of each jet to the AUC beyond its share, signal jets first, [jets]; the sum is 0.

    Args:
        signal, background: scores and weights, whose sums are above 0.

    Source: see `auc_error`.
    """
    shares = [sample.weights / sample.weights.sum(dtype=np.float64) for sample in (signal, background)]
    won = _share_below(background.values, shares[1], signal.values)
    auc = float((shares[0] * won).sum())
    lost = 1 - _share_below(signal.values, shares[0], background.values)
    return np.concatenate([shares[0] * (won - auc), shares[1] * (lost - auc)])


def clustered_error(contributions: NDArray[np.float64], event: NDArray[np.intp]) -> float:
    """Standard error of a figure from what each jet adds to it, with jets of one event correlated.

    Args:
        contributions: [jets].
        event: [jets] the event of each, numbered from 0.
    """
    return math.sqrt(float(np.square(np.bincount(event, contributions)).sum()))


def _share_below(values: FloatArray, shares: NDArray[np.float64], at: FloatArray) -> NDArray[np.float64]:
    """Share of a sample below each of some values; equal values count half."""
    order = np.argsort(values)
    running = np.append(0.0, np.cumsum(shares[order]))
    low, high = (np.searchsorted(values[order], at, side) for side in ("left", "right"))
    below: NDArray[np.float64] = (running[low] + running[high]) / 2
    return below


def mixed(jets: ScoredJets, background: Background) -> WeightedSample:
    """The background's scores on the signal output; each class's weights sum to its count times the factor."""
    parts = []
    for label in _labels(jets, background):
        sample = jets.sample(label, Label.SIGNAL)
        factor = background.factor(label) * len(sample) / sample.weights.sum(dtype=np.float64)
        parts.append(WeightedSample(sample.values, sample.weights * factor))
    return WeightedSample.concatenated(parts) if parts else WeightedSample.unweighted(np.zeros(0))


def mixed_positions(jets: ScoredJets, background: Background) -> NDArray[np.intp]:
    """Positions of the jets of a mixture, in the order of `mixed`."""
    return np.concatenate([np.zeros(0, np.intp), *(jets.positions[label] for label in _labels(jets, background))])


def _labels(jets: ScoredJets, background: Background) -> list[Label]:
    """Labels that take part in a mixture: their factor and the sum of their weights are above 0."""
    return [
        label
        for label in (Label.QCD, Label.BIB)
        if background.factor(label) and jets.weights[jets.positions[label]].sum(dtype=np.float64) > 0
    ]


@dataclass(frozen=True, eq=False)
class _ExactCurve:
    """Every point of a curve; `order` and `steps` say which jets pass from one point to the next."""

    samples: tuple[WeightedSample, WeightedSample]
    order: NDArray[np.intp]
    steps: NDArray[np.bool_]
    cuts: NDArray[np.float64]
    signal: NDArray[np.float64]
    background: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area by trapezoids, which count pairs of equal scores half."""
        # Imported here: commands that only score need not wait for it.
        from scipy.integrate import trapezoid

        return float(trapezoid(self.signal, self.background)) if len(self.cuts) else math.nan

    def effective_signal(self) -> NDArray[np.float64]:
        """See `effective_trials`, [points]."""
        return self._effective(0, self.signal)

    def effective_background(self) -> NDArray[np.float64]:
        """See `effective_trials`, [points]."""
        return self._effective(1, self.background)

    def _effective(self, which: int, efficiency: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(self.cuts):
            return np.zeros(0)
        squares = [np.zeros(len(sample)) for sample in self.samples]
        squares[which] = np.square(self.samples[which].weights, dtype=np.float64)
        squares[which] /= squares[which].sum()
        passing = _running(np.concatenate(squares), self.order, self.steps)
        return effective_trials(efficiency, passing, self.samples[which].effective_number)


def _exact_curve(signal: WeightedSample, background: WeightedSample) -> _ExactCurve:
    totals = signal.weights.sum(dtype=np.float64), background.weights.sum(dtype=np.float64)
    if not (totals[0] > 0 and totals[1] > 0):
        nothing = np.zeros(0)
        no_jets = np.zeros(0, dtype=np.intp)
        return _ExactCurve((signal, background), no_jets, no_jets > 0, nothing, nothing, nothing)
    values = np.concatenate([signal.values, background.values])
    order = np.argsort(values)[::-1]
    falling = values[order]
    last_of_equal = np.append(falling[1:] != falling[:-1], True)
    of_signal = np.concatenate([signal.weights / totals[0], np.zeros(len(background))])
    of_background = np.concatenate([np.zeros(len(signal)), background.weights / totals[1]])
    return _ExactCurve(
        (signal, background),
        order,
        last_of_equal,
        np.append(np.inf, falling[last_of_equal].astype(np.float64)),
        _running(of_signal, order, last_of_equal),
        _running(of_background, order, last_of_equal),
    )


def _running(shares: NDArray[np.float64], order: NDArray[np.intp], steps: NDArray[np.bool_]) -> NDArray[np.float64]:
    passing = np.cumsum(shares[order])[steps]
    # Rounding leaves the last sum beside 1 by some 1e-16.
    passing[-1] = 1.0
    return np.append(0.0, passing)


def _rejection(at: float, curve: _ExactCurve) -> Rejection:
    if len(curve.cuts) == 0:
        return Rejection(at, math.nan, math.nan, math.nan, math.nan)
    # With negative weights the curve can turn back: the tightest cut that lets enough signal pass is meant.
    right = max(int(np.argmax(curve.signal >= at - ROUNDING)), 1)
    between = slice(right - 1, right + 1)
    efficiency = float(np.interp(at, curve.signal[between], curve.background[between]))
    # Between two cuts the jets on the way count as the ones behind it.
    effective = curve.effective_background()[right : right + 1]
    low, high = clopper_pearson(efficiency * effective, effective)
    return Rejection(at, efficiency, _inverse(efficiency), _inverse(float(high[0])), _inverse(float(low[0])))


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

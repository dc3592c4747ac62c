"""S/sqrt(B) over cuts on the signal output. It grows with the sample, so it compares networks on one sample only."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.plain import rounded
from cal_ratio_trainer.evaluation.roc import BIB_ONLY, QCD_AND_BIB, QCD_ONLY, Background, mass_name
from cal_ratio_trainer.evaluation.scored import ScoredJets, WeightedSample
from cal_ratio_trainer.jets.labels import Label

CUTS = np.concatenate([np.geomspace(1e-5, 0.1, 100), np.linspace(0.11, 0.89, 20), np.geomspace(0.9, 1.0, 600)])
"""The cuts of the scan, rising; dense near 1, where signal piles up."""

MIN_BACKGROUND = 10.0
"""The scan ends where no more than this many background jets are left."""

_DIGITS = 7


@dataclass(frozen=True, eq=False)
class SignificanceScan:
    """Signal and background that pass each of `CUTS`; all arrays [cuts], up to the end of the scan.

    Attributes:
        name: '' for everything, 'QCD only', 'BIB only', or as `mass_name`.
        signal: number of signal jets that pass; a jet passes when its score is above the cut.
        background: BIB jets that pass, plus QCD weights that pass with their sum scaled to the count of BIB (to the
            count of QCD where BIB takes no part); to seven digits.
        background_squares: the sum of the squares of these weights.
        signal_jets: all signal jets of the scan.
        background_jets: all of the background, in the same normalisation.
    """

    name: str
    signal: NDArray[np.float64]
    background: NDArray[np.float64]
    background_squares: NDArray[np.float64]
    signal_jets: int
    background_jets: float

    @property
    def cuts(self) -> NDArray[np.float64]:
        """The cuts of the scan, rising."""
        return CUTS[: len(self.signal)]

    @property
    def significance(self) -> NDArray[np.float64]:
        """S/sqrt(B) at each cut; relative: it holds for this sample's counts only."""
        return self.signal / np.sqrt(self.background)

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard deviation of S/sqrt(B) at each cut: S counts, B is weighted, both fluctuate by themselves."""
        of_signal = self.signal / self.background
        of_background = np.square(self.significance / (2 * self.background)) * self.background_squares
        result: NDArray[np.float64] = np.sqrt(of_signal + of_background)
        return result

    @property
    def efficiency_ratio(self) -> NDArray[np.float64]:
        """eps_S/sqrt(eps_B) at each cut, which does not grow with the sample; NaN without signal."""
        return self.significance * self.ratio_scale

    @property
    def ratio_scale(self) -> float:
        """eps_S/sqrt(eps_B) in units of S/sqrt(B); NaN without signal."""
        return math.sqrt(self.background_jets) / self.signal_jets if self.signal_jets else math.nan

    @property
    def maximum(self) -> float:
        """The largest S/sqrt(B); NaN where no cut leaves enough background."""
        return float(self.significance.max()) if len(self.cuts) else math.nan

    @property
    def maximum_efficiency_ratio(self) -> float:
        """The largest eps_S/sqrt(eps_B), at the same cut."""
        return float(self.efficiency_ratio.max()) if len(self.cuts) else math.nan

    @property
    def cut_at_maximum(self) -> float:
        """The lowest cut that gives the maximum."""
        return float(self.cuts[np.argmax(self.significance)]) if len(self.cuts) else math.nan

    @property
    def area(self) -> float:
        """S/sqrt(B) integrated over the cut, by trapezoids."""
        # Imported here: commands that only score need not wait for it.
        from scipy.integrate import trapezoid

        return float(trapezoid(self.significance, self.cuts)) if len(self.cuts) else math.nan


def significance_scan(
    jets: ScoredJets, background: Background = QCD_AND_BIB, higgs_mass: float | None = None
) -> SignificanceScan:
    """S/sqrt(B) of cuts on the signal output.

    Args:
        jets: main-sample jets; only QCD's weights count, signal and BIB are counted.
        background: `QCD_AND_BIB`, `QCD_ONLY` or `BIB_ONLY`.
        higgs_mass: only signal of this mH in GeV; None for all.
    """
    signal = jets.signal_sample(higgs_mass)
    qcd, bib = (_scaled(jets, background, label) for label in (Label.QCD, Label.BIB))
    passing_signal = _passing(WeightedSample.unweighted(signal.values), CUTS)
    passing_background = _passing(qcd, CUTS) + _passing(bib, CUTS)
    squares = _passing(WeightedSample(qcd.values, np.square(qcd.weights)), CUTS) + _passing(bib, CUTS)
    name = "" if background == QCD_AND_BIB else background.name
    if higgs_mass is not None:
        name = mass_name(higgs_mass)
    enough = passing_background > MIN_BACKGROUND
    stop = len(CUTS) if enough.all() else int(np.argmin(enough))
    return SignificanceScan(
        name=name,
        signal=passing_signal[:stop],
        background=rounded(passing_background[:stop], _DIGITS),
        background_squares=rounded(squares[:stop], _DIGITS),
        signal_jets=len(signal),
        background_jets=float(qcd.weights.sum() + bib.weights.sum()),
    )


def all_scans(jets: ScoredJets) -> tuple[SignificanceScan, ...]:
    """The scans of everything, QCD only, BIB only, and each mH of the signal."""
    by_background = [significance_scan(jets, background) for background in (QCD_AND_BIB, QCD_ONLY, BIB_ONLY)]
    return (*by_background, *(significance_scan(jets, higgs_mass=mass) for mass in jets.higgs_masses))


def _scaled(jets: ScoredJets, background: Background, label: Label) -> WeightedSample:
    sample = jets.sample(label, Label.SIGNAL)
    total = sample.weights.sum(dtype=np.float64)
    if background.factor(label) == 0 or len(sample) == 0:
        return WeightedSample.unweighted(np.zeros(0))
    if label == Label.BIB:
        return WeightedSample.unweighted(sample.values)
    if not total > 0:
        return WeightedSample.unweighted(np.zeros(0))
    # "In the scan" means that there are such jets, not only that they were asked for.
    wanted = background.count(jets, Label.BIB) or len(sample)
    return WeightedSample(sample.values, sample.weights * (wanted / total))


def _passing(sample: WeightedSample, cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(sample.values)
    above = np.append(np.cumsum(sample.weights[order][::-1], dtype=np.float64)[::-1], 0.0)
    return above[np.searchsorted(sample.values[order], cuts, side="right")]

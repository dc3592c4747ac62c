"""Kolmogorov-Smirnov distances, of simulation and data and of train and test, beside those of identical distributions.

A distance says nothing by itself: two samples of the same distribution have one that grows as their size falls. So
every distance here comes with the expected one at the effective counts.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, main_histograms
from cal_ratio_trainer.evaluation.scored import FloatArray, ScoredJets, WeightedSample, effective_number
from cal_ratio_trainer.jets.labels import Label

# Moments and 95 % quantile of Kolmogorov's distribution: sqrt(pi/2) ln 2, sqrt(pi^2/12 - mean^2), and K(x) = 0.95.
_MEAN = math.sqrt(math.pi / 2) * math.log(2)
_SPREAD = math.sqrt(math.pi**2 / 12 - _MEAN**2)
_QUANTILE_95 = 1.3580986393225505


@dataclass(frozen=True)
class PtRange:
    """Range of scaled jet pt, `low` included, `high` not [1]; `gev` are the same edges in GeV, where known."""

    name: str
    low: float
    high: float
    gev: tuple[float, float] | None = None


PT_RANGES = (PtRange("low", 0.0, 0.25), PtRange("mid", 0.25, 0.5), PtRange("high", 0.5, math.inf))


@dataclass(frozen=True)
class KsReference:
    """The K-S distance of two samples of one distribution: mean, standard deviation, and what 5 % exceed."""

    mean: float
    spread: float
    critical: float


@dataclass(frozen=True)
class KsComparison:
    """Measured distance beside its reference; NaN where one of the samples is empty."""

    distance: float
    reference: KsReference

    @property
    def excess(self) -> float:
        """Excess of the distance over the expected one, in units of the expected spread."""
        return (self.distance - self.reference.mean) / self.reference.spread


@dataclass(frozen=True)
class OutputKs:
    """Comparisons of one network output, one per pt range, and their sum (NaN if one of them is)."""

    output: Label
    ranges: tuple[KsComparison, ...]

    @property
    def total(self) -> float:
        """Sum of the distances, from 0 to the number of ranges."""
        return math.fsum(comparison.distance for comparison in self.ranges)

    @property
    def expected(self) -> float:
        """The sum that identical distributions would give."""
        return math.fsum(comparison.reference.mean for comparison in self.ranges)

    @property
    def spread(self) -> float:
        """Standard deviation of that sum; the ranges share no jet, so theirs add in quadrature."""
        return math.sqrt(math.fsum(comparison.reference.spread**2 for comparison in self.ranges))

    @property
    def excess(self) -> float:
        """Excess of the sum over the expected one, in units of its spread."""
        return (self.total - self.expected) / self.spread


@dataclass(frozen=True)
class ControlRegionKs:
    """MC against data in the control region, each output in each pt range.

    Attributes:
        pt_ranges: the ranges, in the order of `OutputKs.ranges`.
        outputs: one for each output, in the order of `Label`.
        effective_mc: effective number of MC jets in each range.
        effective_data: the same of data.
    """

    pt_ranges: tuple[PtRange, ...]
    outputs: tuple[OutputKs, ...]
    effective_mc: tuple[float, ...]
    effective_data: tuple[float, ...]

    def __getitem__(self, output: Label) -> OutputKs:
        return self.outputs[output]

    def to_dict(self) -> dict[str, float]:
        """All figures under flat names, for the history.

        'ks_qcd_hist' is the sum as in the earlier program; 'ks_qcd_expected', '_spread', '_excess' belong to it;
        'ks_qcd_low', 'ks_qcd_low_expected', ... are those of a pt range; 'ks_low_mc' its effective number of MC jets.
        """
        figures: dict[str, float] = {}
        for result in self.outputs:
            name = f"ks_{result.output.output}"
            figures[f"{name}_hist"] = result.total
            figures |= _flat(name, result.expected, result.spread, result.excess)
            for pt_range, comparison in zip(self.pt_ranges, result.ranges, strict=True):
                reference = comparison.reference
                figures[f"{name}_{pt_range.name}"] = comparison.distance
                figures |= _flat(f"{name}_{pt_range.name}", reference.mean, reference.spread, comparison.excess)
                figures[f"{name}_{pt_range.name}_critical"] = reference.critical
        for pt_range, mc, data in zip(self.pt_ranges, self.effective_mc, self.effective_data, strict=True):
            figures |= {f"ks_{pt_range.name}_mc": mc, f"ks_{pt_range.name}_data": data}
        return figures


def _flat(name: str, expected: float, spread: float, excess: float) -> dict[str, float]:
    return {f"{name}_expected": expected, f"{name}_spread": spread, f"{name}_excess": excess}


def weighted_ks(first: WeightedSample, second: WeightedSample) -> float:
    """Largest distance between the weighted cumulative distributions of two samples.

    Args:
        first: values [n] with weights [n], any unit; weights may be negative (MC generators give such).
        second: values [m] with weights [m].

    Returns:
        Distance in [0, 1] (negative weights can bring it above 1); NaN where a sample is empty or its weights do not
        sum to more than 0.

    Source: the two-sample Kolmogorov-Smirnov statistic with empirical distributions weighted jet by jet.
    """
    values = np.concatenate([first.values, second.values])
    return _distance(values, _signed_shares(first.weights, second.weights))


def expected_ks(effective_first: float, effective_second: float) -> KsReference:
    """The distance two samples of one distribution have, from their effective numbers of jets.

    The mean is within 4 % of simulation from 30 jets per sample up, with real MC weights too, and the critical value is
    exceeded in 4 to 5 % of cases. Without the finite-size correction the mean is 8 % high there.

    Returns:
        All NaN where a sample is empty.

    Source: Kolmogorov's limiting distribution (mean 0.8687, standard deviation 0.2603, 95 % quantile 1.3581, all
        times sqrt((n + m) / (n m))); the correction 0.12 + 0.11 / sqrt(n m / (n + m)) to mean and quantile is of
        M. A. Stephens, J. R. Stat. Soc. B 32 (1970) 115.
    """
    if effective_first <= 0 or effective_second <= 0:
        return KsReference(math.nan, math.nan, math.nan)
    root = math.sqrt(effective_first * effective_second / (effective_first + effective_second))
    corrected = root + 0.12 + 0.11 / root
    return KsReference(_MEAN / corrected, _SPREAD / root, _QUANTILE_95 / corrected)


def ks_of_control_jets(jets: ScoredJets, pt_ranges: tuple[PtRange, ...] = PT_RANGES) -> ControlRegionKs:
    """MC against data for every network output in every pt range.

    Args:
        jets: the control region with the matched control weights; their scale does not matter.
        pt_ranges: the ranges; a jet outside all of them is passed over.

    Returns:
        The nine distances with their references; NaN where a range lacks MC or data.
    """
    distances: list[list[float]] = []
    effective: list[tuple[float, float]] = []
    for pt_range in pt_ranges:
        inside = (jets.scaled_pt >= pt_range.low) & (jets.scaled_pt < pt_range.high)
        mc, data = np.flatnonzero(inside & ~jets.is_data), np.flatnonzero(inside & jets.is_data)
        shares = _signed_shares(jets.weights[mc], jets.weights[data])
        scores = jets.scores[np.concatenate([mc, data])]
        distances.append([_distance(scores[:, output], shares) for output in Label])
        effective.append((effective_number(jets.weights[mc]), effective_number(jets.weights[data])))
    references = [expected_ks(mc, data) for mc, data in effective]
    outputs = tuple(
        OutputKs(label, tuple(KsComparison(row[label], ref) for row, ref in zip(distances, references, strict=True)))
        for label in Label
    )
    return ControlRegionKs(pt_ranges, outputs, tuple(mc for mc, _ in effective), tuple(data for _, data in effective))


def _signed_shares(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    # The running sum of these over rising values is the difference of the two cumulative distributions.
    first_sum, second_sum = first.sum(dtype=np.float64), second.sum(dtype=np.float64)
    if not (first_sum > 0 and second_sum > 0):
        return np.full(len(first) + len(second), math.nan)
    return np.concatenate([first / first_sum, -(second / second_sum)]).astype(np.float64)


def _distance(values: FloatArray, signed_shares: NDArray[np.float64]) -> float:
    if len(values) == 0 or math.isnan(signed_shares[0]):
        return math.nan
    order = np.argsort(values)
    ordered = values[order]
    # Equal values come in one step: the difference is read behind the last of them.
    last_of_equal = np.append(ordered[1:] != ordered[:-1], True)
    difference = np.cumsum(signed_shares[order])[last_of_equal]
    # Behind the largest value both distributions are 1; only rounding would be left of the difference.
    return float(np.abs(difference[:-1]).max(initial=0.0))


@dataclass(frozen=True)
class TrainTestKs:
    """The K-S distance of train and test scores of the jets of one label on one output."""

    label: Label
    output: Label
    comparison: KsComparison


@dataclass(frozen=True)
class Overtraining:
    """Comparison of training and test scores.

    Attributes:
        train: the three outputs of signal, QCD and BIB jets that were trained on.
        distances: one for each output and label, by output.
    """

    train: ScoreHistograms
    distances: tuple[TrainTestKs, ...]

    def distance(self, label: Label, output: Label) -> KsComparison:
        """The comparison of one label on one output."""
        return next(each.comparison for each in self.distances if (each.label, each.output) == (label, output))


def overtraining(train: ScoredJets, test: ScoredJets) -> Overtraining:
    """Train and test scores by label and output, weighted jet by jet; NaN where one of them has no jets.

    Args:
        train: jets that were trained on, all or a sample of them, scored as the test jets are.
        test: the test jets.
    """
    distances = []
    for output in Label:
        for label in Label:
            first, second = train.sample(label, output), test.sample(label, output)
            reference = expected_ks(first.effective_number, second.effective_number)
            distances.append(TrainTestKs(label, output, KsComparison(weighted_ks(first, second), reference)))
    return Overtraining(main_histograms(train), tuple(distances))

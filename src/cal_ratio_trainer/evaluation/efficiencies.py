"""Efficiencies and mistags: by the largest output, and above the cut that a stated share of QCD passes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.intervals import Share, clopper_pearson, effective_trials, share, weighted_share
from cal_ratio_trainer.evaluation.scored import (
    BARREL_ETA,
    ROUNDING,
    BoolArray,
    FloatArray,
    ScoredJets,
    WeightedSample,
)
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
    if not {"mH", "mS"} <= jets.columns.keys():
        return ()
    masses = np.stack([jets.columns["mH"], jets.columns["mS"]], axis=1)
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


MISTAG = 0.01
"""The share of QCD that passes unless another is asked for. [1]"""


@dataclass(frozen=True)
class WorkingPoint:
    """Cut and the shares that pass it; a jet passes when its signal output is above the cut.

    Attributes:
        mistag: the share of QCD that was to pass; the cut lets no more than it pass. [1]
        cut: on the signal output; NaN without QCD.
        signal: share of signal jets that pass, by count.
        qcd: share of QCD that passes, by weight.
        bib: share of BIB that passes, by weight.
    """

    mistag: float
    cut: float
    signal: Share
    qcd: Share
    bib: Share


def working_point(jets: ScoredJets, mistag: float) -> WorkingPoint:
    """The lowest cut on the signal output at which no more than a given share of QCD passes.

    Args:
        jets: main-sample jets.
        mistag: that share of QCD's weight, between 0 and 1.
    """
    cut = cut_at_mistag(jets.sample(Label.QCD, Label.SIGNAL), mistag)
    passes = passing(jets, cut)
    signal, qcd, bib = (jets.positions[label] for label in (Label.SIGNAL, Label.QCD, Label.BIB))
    return WorkingPoint(
        mistag,
        cut,
        signal=share(int(np.count_nonzero(passes[signal])), 0 if np.isnan(cut) else len(signal)),
        qcd=weighted_share(jets.weights[qcd], passes[qcd]),
        bib=weighted_share(jets.weights[bib] if not np.isnan(cut) else np.zeros(len(bib)), passes[bib]),
    )


def cut_at_mistag(qcd: WeightedSample, mistag: float) -> float:
    """The lowest of QCD's scores above which no more than the given share of its weight lies.

    Negative weights can let the share fall again below: the tightest such stretch of cuts counts.

    Returns:
        NaN where there is no QCD or its weights do not sum to more than 0.
    """
    total = float(qcd.weights.sum(dtype=np.float64))
    if not total > 0:
        return float("nan")
    order = np.argsort(qcd.values)[::-1]
    falling = qcd.values[order]
    last_of_equal = np.append(falling[1:] != falling[:-1], True)
    share_from_here = np.cumsum(qcd.weights[order], dtype=np.float64)[last_of_equal] / total
    too_many = share_from_here > mistag + ROUNDING
    cuts = falling[last_of_equal]
    return float(cuts[np.argmax(too_many)] if too_many.any() else cuts[-1])


def passing(jets: ScoredJets, cut: float) -> BoolArray:
    """Mask of jets with a signal output above the cut, [jets]; all false if the cut is NaN."""
    return np.asarray(jets.scores[:, Label.SIGNAL] > cut)


EDGES = {
    "Lxy": np.arange(1200.0, 4001.0, 200.0),
    "Lz": np.arange(3500.0, 6001.0, 250.0),
    "pt": np.array([40.0, 50, 60, 70, 85, 100, 125, 150, 200, 250, 300, 400, 500]),
    "eta": np.linspace(-2.5, 2.5, 21),
    "phi": np.linspace(-np.pi, np.pi, 17),
    "cluster_mass": np.array([0.0, 2, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 60, 100, 150]),
    "cluster_width": np.array([0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]),
}
"""Bin edges by quantity: Lxy and |Lz| in mm, jet pt and mass of the clusters in GeV, jet eta, jet phi in rad, width.

Their number is odd, so that two bins can be taken together.
"""

_FINE_FROM_PASSING = 60
"""With fewer QCD jets that pass the cut, two bins are taken together for the backgrounds."""

_FINE_FROM_JETS = 200
"""With fewer signal jets, two bins are taken together for signal."""


@dataclass(frozen=True, eq=False)
class Dependence:
    """Share of the jets of one label that passes a cut, in bins of one quantity.

    Attributes:
        quantity: a name of `EDGES`.
        label: of the jets.
        edges: [bins + 1]; the last bin holds its upper edge.
        passed: [bins] jets that pass: counts of signal, effective numbers of background.
        total: [bins] all of them likewise.
        jets: number of jets in all bins.
        outside: jets whose value is known and in no bin.
    """

    quantity: str
    label: Label
    edges: NDArray[np.float64]
    passed: NDArray[np.float64]
    total: NDArray[np.float64]
    jets: int
    outside: int

    @property
    def value(self) -> NDArray[np.float64]:
        """The share in each bin; NaN in one without jets."""
        result = np.full(len(self.total), np.nan)
        np.divide(self.passed, self.total, out=result, where=self.total > 0)
        return result

    @property
    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper end of each bin's 68 % Clopper-Pearson interval; NaN in one without jets."""
        return clopper_pearson(self.passed, self.total)


def dependences(jets: ScoredJets, cut: float) -> tuple[Dependence, ...]:
    """Efficiency of signal and mistag of QCD and BIB against all quantities that are known.

    Signal is counted; background is weighted, at its effective number in each bin. Lxy is shown for long-lived
    particles in the barrel, |Lz| for those in the endcaps.

    Args:
        jets: main-sample jets; without columns of kinematics there is nothing.
        cut: on the signal output.
    """
    if np.isnan(cut):
        return ()
    passes = passing(jets, cut)
    sparse_signal = jets.count(Label.SIGNAL) < _FINE_FROM_JETS
    sparse_background = np.count_nonzero(passes[jets.positions[Label.QCD]]) < _FINE_FROM_PASSING
    found = []
    for label, quantity, values in _values(jets.columns):
        rows = jets.positions[label]
        weights = None if label == Label.SIGNAL else jets.weights[rows]
        is_sparse = sparse_signal if label == Label.SIGNAL else sparse_background
        edges = EDGES[quantity][:: 2 if is_sparse else 1]
        made = dependence(quantity, edges, label, values[rows], weights, passes[rows])
        if made.total.any():
            found.append(made)
    return tuple(found)


def dependence(
    quantity: str,
    edges: NDArray[np.float64],
    label: Label,
    values: FloatArray,
    weights: FloatArray | None,
    passes: BoolArray,
) -> Dependence:
    """Share of jets that passes in each bin.

    Args:
        quantity: a name of `EDGES`.
        edges: of the bins.
        label: of the jets.
        values: [jets] of the quantity, NaN where it is not known.
        weights: [jets]; None counts jets.
        passes: [jets].
    """
    bins = np.searchsorted(edges, values, side="right") - 1
    bins[values == edges[-1]] -= 1
    inside = (bins >= 0) & (bins < len(edges) - 1)
    outside = int(np.count_nonzero(np.isfinite(values) & ~inside))
    counts = _counts(bins[inside], None if weights is None else weights[inside], passes[inside], len(edges) - 1)
    return Dependence(quantity, label, edges, *counts, int(np.count_nonzero(inside)), outside)


def _counts(
    bins: NDArray[np.intp], weights: FloatArray | None, passes: BoolArray, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numbers of passing and of all jets in each bin; effective numbers for weighted jets."""
    if weights is None:
        passed, total = (np.bincount(each, minlength=length) for each in (bins[passes], bins))
        return passed.astype(np.float64), total.astype(np.float64)
    every = np.asarray(weights, dtype=np.float64)
    passing = every * passes
    sums = (
        np.bincount(bins, weights=each, minlength=length)
        for each in (every, np.square(every), passing, np.square(passing))
    )
    total, squares, passed, passed_squares = sums
    known = total > 0
    total, squares = np.where(known, total, 1.0), np.where(known, squares, 1.0)
    effective = np.where(known, effective_trials(passed / total, passed_squares / squares, total**2 / squares), 0.0)
    return effective * passed / total, effective


def _values(known: Mapping[str, FloatArray]) -> Iterator[tuple[Label, str, FloatArray]]:
    if "llp_eta" in known:
        is_barrel = np.abs(known["llp_eta"]) < BARREL_ETA
        is_endcap = np.abs(known["llp_eta"]) >= BARREL_ETA
        if "llp_lxy" in known:
            yield Label.SIGNAL, "Lxy", np.where(is_barrel, known["llp_lxy"], np.nan)
        if "llp_lz" in known:
            yield Label.SIGNAL, "Lz", np.where(is_endcap, np.abs(known["llp_lz"]), np.nan)
    for quantity, labels in (
        ("pt", (Label.SIGNAL, Label.QCD, Label.BIB)),
        ("eta", (Label.SIGNAL, Label.QCD, Label.BIB)),
        ("phi", (Label.QCD, Label.BIB)),
        ("cluster_mass", (Label.SIGNAL, Label.QCD, Label.BIB)),
        ("cluster_width", (Label.SIGNAL, Label.QCD, Label.BIB)),
    ):
        if quantity in known:
            yield from ((label, quantity, known[quantity]) for label in labels)

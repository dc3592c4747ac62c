"""Efficiency and mistag at a fixed signal efficiency against quantities that tell a jet's mass: is a mass sculpted?

A background estimate extrapolates in such quantities. A network that takes QCD jets of some mass more often than others
makes a bump in the distribution. Two networks, e.g. before and after data and simulation were made to agree, are
compared with each other at the same signal efficiency.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.evaluation.efficiencies import Dependence, dependence, dependences, passing
from cal_ratio_trainer.evaluation.intervals import Share, weighted_share
from cal_ratio_trainer.evaluation.ks import KsComparison, expected_ks, weighted_ks
from cal_ratio_trainer.evaluation.scored import BoolArray, FloatArray, ScoredJets, WeightedSample
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import UNITS_IN_GEV

EFFICIENCIES = (0.9, 0.8)
"""Signal efficiencies of the working points. [1]"""

_CLUSTERS = "clusters"
_QUANTITIES = ("pt", "cluster_mass", "cluster_width")
"""In which passing and rejected QCD are compared."""


@dataclass(frozen=True, eq=False)
class Sculpting:
    """A network at the cut that a stated share of all signal jets passes.

    Attributes:
        efficiency: that share. [1]
        cut: on the signal output; NaN without signal.
        qcd: share of QCD that passes, by weight.
        bib: the same of BIB.
        dependences: efficiency of signal and mistag of QCD and BIB in bins of each known quantity, mH among them.
        shapes: by quantity, K-S distance of the QCD jets that pass and those that do not.
    """

    efficiency: float
    cut: float
    qcd: Share
    bib: Share
    dependences: tuple[Dependence, ...]
    shapes: dict[str, KsComparison]


def sculpting(jets: ScoredJets) -> tuple[Sculpting, ...]:
    """A network at each of `EFFICIENCIES`; none without signal.

    Args:
        jets: main-sample jets with a column of pt, and of mass and width of the clusters if these are known.
    """
    return tuple(_at(jets, efficiency) for efficiency in EFFICIENCIES) if jets.count(Label.SIGNAL) else ()


def cut_at_efficiency(signal: FloatArray, efficiency: float) -> float:
    """The highest cut above which at least the given share of signal scores [jets] lies; NaN without any."""
    if not len(signal):
        return math.nan
    wanted = max(1, math.ceil(efficiency * len(signal) - 1e-9))
    return float(np.nextafter(np.sort(signal)[len(signal) - wanted], signal.dtype.type(-np.inf)))


def cluster_mass_and_width(jets: Jets, scaling: Scaling) -> tuple[FloatArray, FloatArray] | None:
    """Invariant mass [GeV] and width of the clusters of each jet, both [jets]; None where their features lack.

    Each cluster counts as massless. The mass does not change where all are moved in eta (a boost) or phi, so it can be
    taken from angles relative to the leading cluster. The width is sum(pt dR) / sum(pt), with dR from the centre
    weighted by pt. Both are 0 of a jet with less than two clusters.

    Args:
        jets: built, with their clusters.
        scaling: of their pt.
    """
    kind = next((kind for kind in jets.schema.constituents if kind.name == _CLUSTERS), None)
    if kind is None or not {"pt", "eta", "phi"} <= {feature.name for feature in kind.features}:
        return None
    ragged = jets.constituents[_CLUSTERS]
    scaled, eta, phi = (ragged.values[:, kind.position(name)].astype(np.float64) for name in ("pt", "eta", "phi"))
    feature = kind.features[kind.position("pt")]
    shift, unit = scaling.shift_and_unit(feature)
    pt = np.maximum((scaled * unit + shift) / UNITS_IN_GEV[feature.unit], 0)
    owners, number = ragged.owners(), len(ragged)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(owners, values, minlength=number).astype(np.float64)

    energy, along = total(pt * np.cosh(eta)), total(pt * np.sinh(eta))
    first, second = total(pt * np.cos(phi)), total(pt * np.sin(phi))
    mass = np.sqrt(np.maximum(energy**2 - along**2 - first**2 - second**2, 0))
    sums = total(pt)
    sums = np.where(sums > 0, sums, 1.0)
    centre_eta, centre_phi = total(pt * eta) / sums, np.arctan2(second, first)
    away = np.remainder(phi - centre_phi[owners] + np.pi, 2 * np.pi) - np.pi
    width = total(pt * np.hypot(eta - centre_eta[owners], away)) / sums
    # Rounding leaves something of the mass of a single cluster.
    several = ragged.lengths > 1
    return np.where(several, mass, 0.0), np.where(several, width, 0.0)


def with_clusters(scored: ScoredJets, shapes: tuple[FloatArray, FloatArray] | None) -> ScoredJets:
    """The same jets with mass and width of their clusters, `cluster_mass_and_width`."""
    return scored if shapes is None else scored.with_columns(cluster_mass=shapes[0], cluster_width=shapes[1])


def _at(jets: ScoredJets, efficiency: float) -> Sculpting:
    cut = cut_at_efficiency(jets.scores[jets.positions[Label.SIGNAL], Label.SIGNAL], efficiency)
    passes = passing(jets, cut)
    qcd, bib = (
        weighted_share(jets.weights[rows], passes[rows])
        for rows in (jets.positions[Label.QCD], jets.positions[Label.BIB])
    )
    shapes = dict(_shapes(jets, passes))
    return Sculpting(efficiency, cut, qcd, bib, (*dependences(jets, cut), *_of_masses(jets, passes)), shapes)


def _shapes(jets: ScoredJets, passes: BoolArray) -> Iterator[tuple[str, KsComparison]]:
    rows = jets.positions[Label.QCD]
    for quantity in _QUANTITIES:
        if quantity not in jets.columns:
            continue
        values = jets.columns[quantity]
        known = rows[np.isfinite(values[rows])]
        taken, rest = (
            WeightedSample(values[some], jets.weights[some]) for some in (known[passes[known]], known[~passes[known]])
        )
        reference = expected_ks(taken.effective_number, rest.effective_number)
        yield quantity, KsComparison(weighted_ks(taken, rest), reference)


def _of_masses(jets: ScoredJets, passes: BoolArray) -> list[Dependence]:
    """Signal efficiency of each mediator mass, in bins whose edges are between the masses."""
    masses = np.array(jets.higgs_masses)
    if jets.higgs_mass is None or not len(masses) or not masses[0] > 0:
        return []
    between = np.sqrt(masses[1:] * masses[:-1])
    edges = np.array([masses[0] / 1.4, *between, masses[-1] * 1.4])
    rows = jets.positions[Label.SIGNAL]
    return [dependence("mH", edges, Label.SIGNAL, jets.higgs_mass[rows], None, passes[rows])]

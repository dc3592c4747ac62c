"""One cut on the signal output: what passes where a stated share of QCD does."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.evaluation.intervals import Share, share, weighted_share
from cal_ratio_trainer.evaluation.sample import Sample
from cal_ratio_trainer.evaluation.scored import BoolArray, ScoredJets
from cal_ratio_trainer.jets.labels import Label

MISTAG = 0.01
"""The share of QCD that passes unless another is asked for. [1]"""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class WorkingPoint:
    """A cut and what passes it; a jet passes when its signal output is above the cut.

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


def working_point(jets: ScoredJets, mistag: float = MISTAG) -> WorkingPoint:
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


def cut_at_mistag(qcd: Sample, mistag: float) -> float:
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
    too_many = share_from_here > mistag + _ROUNDING
    cuts = falling[last_of_equal]
    return float(cuts[np.argmax(too_many)] if too_many.any() else cuts[-1])


def passing(jets: ScoredJets, cut: float) -> BoolArray:
    """Which jets' signal output is above the cut, [jets]; none where the cut is NaN."""
    return np.asarray(jets.scores[:, Label.SIGNAL] > cut)

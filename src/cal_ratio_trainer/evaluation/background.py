"""Which background signal is held against: a mixture of QCD and BIB."""

from dataclasses import dataclass

from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.labels import Label


@dataclass(frozen=True)
class Background:
    """A mixture, and what it is called.

    Attributes:
        name: as it stands in tables and on axes.
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
        """How many jets of one background label take part."""
        return jets.count(label) if self.factor(label) else 0


QCD_AND_TENTH_OF_BIB = Background("QCD + 0.1 BIB", 1.0, 0.1)
QCD_AND_BIB = Background("QCD + BIB", 1.0, 1.0)
QCD_ONLY = Background("QCD only", 1.0, 0.0)
BIB_ONLY = Background("BIB only", 0.0, 1.0)


def mass_name(higgs_mass: float) -> str:
    """How results for one mH are called, in file names too.

    >>> mass_name(125)
    'mH125.0'
    """
    return f"mH{float(higgs_mass)}"

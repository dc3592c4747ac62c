"""Everything that is said about a network on the test sample, in one object."""

from dataclasses import dataclass

from cal_ratio_trainer.evaluation.background import BIB_ONLY, QCD_AND_TENTH_OF_BIB, QCD_ONLY
from cal_ratio_trainer.evaluation.classification import ConfusionMatrix, confusion_matrix
from cal_ratio_trainer.evaluation.efficiency import (
    FalsePositives,
    MassPointEfficiency,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
)
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, control_histograms, main_histograms
from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import RocCurve, roc_curve
from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets
from cal_ratio_trainer.evaluation.significance import SignificanceScan, all_scans


@dataclass(frozen=True, eq=False)
class TestFigures:
    """A network on the test sample.

    Attributes:
        rocs: against the compound, QCD only, BIB only; then each mH against the compound.
        scans: S/sqrt(B) of everything, QCD only, BIB only, then each mH.
        signal: share of all signal jets taken for signal.
        efficiencies: the same for each (mH, mS).
        false_positives: share of QCD and BIB jets taken for signal.
        confusion: label against largest output.
        histograms: the three outputs for signal, QCD, BIB.
        ks: control region, MC against data; None where no control jets were given.
        control_histograms: the three outputs for control data and MC; None likewise.
    """

    rocs: tuple[RocCurve, ...]
    scans: tuple[SignificanceScan, ...]
    signal: Share
    efficiencies: tuple[MassPointEfficiency, ...]
    false_positives: tuple[FalsePositives, ...]
    confusion: ConfusionMatrix
    histograms: ScoreHistograms
    ks: ControlRegionKs | None = None
    control_histograms: ScoreHistograms | None = None

    # The name begins with "Test", but there is nothing to collect here.
    __test__ = False

    @property
    def roc(self) -> RocCurve:
        """The ROC curve of all masses against the compound."""
        return self.rocs[0]

    def numbers(self) -> dict[str, float]:
        """The main figures under flat names, for a run's record and for comparisons of runs."""
        figures = {
            "auc": self.rocs[0].auc,
            "auc_qcd": self.rocs[1].auc,
            "auc_bib": self.rocs[2].auc,
            "accuracy": self.confusion.accuracy,
            "signal_efficiency": self.signal.value,
            "max_significance": self.scans[0].maximum,
            "max_efficiency_ratio": self.scans[0].maximum_efficiency_ratio,
        }
        figures |= {f"rejection_{100 * r.signal_efficiency:.0f}": r.value for r in self.roc.rejections}
        figures |= {f"auc_{roc.name}": roc.auc for roc in self.rocs if roc.name}
        return figures | (self.ks.to_dict() if self.ks is not None else {})


def evaluate_test_sample(jets: ScoredJets, control: ScoredControlJets | None = None) -> TestFigures:
    """All figures of merit of a network.

    Args:
        jets: the main test jets with their scores.
        control: control-region jets with theirs; None leaves the comparison of data and MC out.
    """
    backgrounds = (QCD_AND_TENTH_OF_BIB, QCD_ONLY, BIB_ONLY)
    return TestFigures(
        rocs=(
            *(roc_curve(jets, background) for background in backgrounds),
            *(roc_curve(jets, higgs_mass=mass) for mass in jets.higgs_masses),
        ),
        scans=all_scans(jets),
        signal=signal_efficiency(jets),
        efficiencies=signal_efficiencies(jets),
        false_positives=false_positives(jets),
        confusion=confusion_matrix(jets),
        histograms=main_histograms(jets),
        ks=ks_of_control_jets(control) if control is not None else None,
        control_histograms=control_histograms(control) if control is not None else None,
    )

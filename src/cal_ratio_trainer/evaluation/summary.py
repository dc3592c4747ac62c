"""All results of a network on the test sample in one object."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cal_ratio_trainer.evaluation.c2st import MAX_JETS, ControlRegionC2st, c2st_of_control_jets
from cal_ratio_trainer.evaluation.efficiencies import (
    MISTAG,
    ConfusionMatrix,
    Dependence,
    FalsePositives,
    MassPointEfficiency,
    WorkingPoint,
    confusion_matrix,
    dependences,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
    working_point,
)
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, control_histograms, main_histograms
from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import (
    PT_RANGES,
    ControlRegionKs,
    Overtraining,
    PtRange,
    ks_of_control_jets,
    overtraining,
)
from cal_ratio_trainer.evaluation.plain import from_plain, to_plain
from cal_ratio_trainer.evaluation.roc import BACKGROUNDS, QCD_ONLY, RocCurve, roc_curve
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.significance import SignificanceScan, all_scans

_FORMAT = 1


@dataclass(frozen=True)
class MemberFigure:
    """A figure of merit over the networks of an ensemble.

    Attributes:
        name: as in `TestFigures.numbers`.
        values: of networks 0 ... K-1, at least two.
        mean: of the values.
        std: their standard deviation, with K - 1 in the denominator.
        error: standard error of the mean, std / sqrt(K): the spread of seeds alone. All members share training and test
            jets, whose own fluctuation is not in it.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    std: float
    error: float


def member_figures(members: Sequence[Mapping[str, float]]) -> tuple[MemberFigure, ...]:
    """Mean and spread of every figure that all members have; NaN where one is not finite.

    Args:
        members: `TestFigures.numbers` of each.
    """
    found = []
    for name in members[0]:
        if all(name in each for each in members):
            values = tuple(float(each[name]) for each in members)
            is_known = all(map(math.isfinite, values))
            std = statistics.stdev(values) if is_known else math.nan
            mean = statistics.fmean(values) if is_known else math.nan
            found.append(MemberFigure(name, values, mean, std, std / math.sqrt(len(values))))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class RegionFigures:
    """Data and MC in one of several control regions, or in one that is judged only.

    Attributes:
        name: of the region.
        is_judged_only: True if nothing was trained on it.
        ks: MC against data.
        histograms: the three outputs for data and MC.
        c2st: data and MC told apart by a classifier; None where it was not asked for.
    """

    name: str
    is_judged_only: bool
    ks: ControlRegionKs
    histograms: ScoreHistograms
    c2st: ControlRegionC2st | None = None

    def numbers(self) -> dict[str, float]:
        """Figures under flat names: 'cr_NAME_ks_qcd_hist', ..., 'cr_NAME_c2st_auc', ..."""
        figures = self.ks.to_dict() | (self.c2st.to_dict() if self.c2st is not None else {})
        return {f"cr_{self.name}_{name}": value for name, value in figures.items()}


def figures_of_regions(
    control: ScoredJets | None,
    judged: ScoredJets | None = None,
    pt_ranges: tuple[PtRange, ...] = PT_RANGES,
    c2st_seed: int | None = None,
    max_jets: int = MAX_JETS,
) -> tuple[RegionFigures, ...]:
    """Figures of each control region that has a name.

    Args:
        control: regions to train on; None, or one region, has no such figures.
        judged: regions that are judged only; None without any.
        pt_ranges: in which data and MC are compared.
        c2st_seed: of the classifier two-sample tests; None leaves them out.
        max_jets: see `c2st_of_control_jets`.
    """
    return tuple(
        RegionFigures(
            name,
            is_judged_only,
            ks_of_control_jets(jets, pt_ranges),
            control_histograms(jets),
            None if c2st_seed is None else c2st_of_control_jets(jets, c2st_seed, pt_ranges, max_jets),
        )
        for is_judged_only, regions in ((False, control), (True, judged))
        if regions is not None
        for name, jets in regions.by_region().items()
    )


@dataclass(frozen=True, eq=False)
class TestFigures:
    """Figures of merit of a network on the test sample.

    Attributes:
        rocs: against the compound, QCD only, BIB only; then each mH against the compound.
        qcd_rocs: each mH against QCD only.
        scans: S/sqrt(B) of everything, QCD only, BIB only, then each mH.
        signal: share of all signal jets taken for signal.
        efficiencies: the same for each (mH, mS).
        false_positives: share of QCD and BIB jets taken for signal.
        confusion: label against largest output.
        histograms: the three outputs for signal, QCD, BIB.
        working_point: the cut at which a stated share of QCD passes.
        dependences: efficiency and mistag at that cut against kinematics, as far as known.
        overtraining: the same outputs for jets that were trained on; None where none were given.
        ks: control region, MC against data; None where no control jets were given.
        control_histograms: the three outputs for control data and MC; None likewise.
        c2st: data and MC in the control region told apart by a classifier; None where it was not asked for.
        members: of an ensemble, the figures of its networks; all others are those of their mean scores.
        regions: the same of each of several control regions, and of those that are judged only.
    """

    rocs: tuple[RocCurve, ...]
    qcd_rocs: tuple[RocCurve, ...]
    scans: tuple[SignificanceScan, ...]
    signal: Share
    efficiencies: tuple[MassPointEfficiency, ...]
    false_positives: tuple[FalsePositives, ...]
    confusion: ConfusionMatrix
    histograms: ScoreHistograms
    working_point: WorkingPoint
    dependences: tuple[Dependence, ...] = ()
    overtraining: Overtraining | None = None
    ks: ControlRegionKs | None = None
    control_histograms: ScoreHistograms | None = None
    c2st: ControlRegionC2st | None = None
    members: tuple[MemberFigure, ...] = ()
    regions: tuple[RegionFigures, ...] = ()

    # pytest collects classes named Test...; this one holds no tests.
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
            "mistag": self.working_point.mistag,
            "cut_at_mistag": self.working_point.cut,
            "signal_efficiency_at_mistag": self.working_point.signal.value,
            "bib_mistag": self.working_point.bib.value,
        }
        for kind, roc in zip(("", "_qcd", "_bib"), self.rocs, strict=False):
            figures |= {f"rejection{kind}_{100 * r.signal_efficiency:.0f}": r.value for r in roc.rejections}
        figures |= {f"auc_{roc.name}": roc.auc for roc in self.rocs if roc.name}
        for judged in (self.ks, self.c2st):
            figures |= judged.to_dict() if judged is not None else {}
        for region in self.regions:
            figures |= region.numbers()
        return figures

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: dicts, lists, strings and finite numbers; what is not finite is 'nan', 'inf' or '-inf'."""
        plain = {"format": _FORMAT, **to_plain(self)}
        if not self.members:
            del plain["members"]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, number for number.

        Raises:
            KeyError, TypeError, ValueError: not such figures, or of another format.
        """
        if plain["format"] != _FORMAT:
            raise ValueError(f"figures of format {plain['format']!r}; expected {_FORMAT}")
        return from_plain(cls, plain)


def evaluate_test_sample(
    jets: ScoredJets,
    control: ScoredJets | None = None,
    train: ScoredJets | None = None,
    pt_ranges: tuple[PtRange, ...] = PT_RANGES,
    c2st_seed: int | None = None,
    judged: ScoredJets | None = None,
) -> TestFigures:
    """All figures of merit of a network.

    Args:
        jets: the main test jets with their scores.
        control: control-region jets with theirs; None, or none of them, leaves the comparison of data and MC out.
        train: main jets that were trained on, or a sample of them; None leaves the comparison of train and test out.
        pt_ranges: in which data and MC are compared.
        c2st_seed: of the classifier two-sample test; None leaves it out.
        judged: control regions that are judged only; None without any.
    """
    point = working_point(jets, MISTAG)
    if control is not None and not len(control):
        control = None
    return TestFigures(
        rocs=(
            *(roc_curve(jets, background) for background in BACKGROUNDS),
            *(roc_curve(jets, higgs_mass=mass) for mass in jets.higgs_masses),
        ),
        qcd_rocs=tuple(roc_curve(jets, QCD_ONLY, mass) for mass in jets.higgs_masses),
        scans=all_scans(jets),
        signal=signal_efficiency(jets),
        efficiencies=signal_efficiencies(jets),
        false_positives=false_positives(jets),
        confusion=confusion_matrix(jets),
        histograms=main_histograms(jets),
        working_point=point,
        dependences=dependences(jets, point.cut),
        overtraining=overtraining(train, jets) if train is not None else None,
        ks=ks_of_control_jets(control, pt_ranges) if control is not None else None,
        control_histograms=control_histograms(control) if control is not None else None,
        c2st=None if control is None or c2st_seed is None else c2st_of_control_jets(control, c2st_seed, pt_ranges),
        regions=figures_of_regions(control, judged, pt_ranges, c2st_seed),
    )

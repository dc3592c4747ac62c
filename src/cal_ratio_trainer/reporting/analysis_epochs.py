"""The epochs that an analysis looks at closely: which ones, and what they do on the run's own test part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.bootstrap import Resampled, Resampling, resampled_aucs, resampled_ks
from cal_ratio_trainer.evaluation.efficiencies import (
    FalsePositives,
    MassPointEfficiency,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
)
from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import BIB_ONLY, QCD_AND_TENTH_OF_BIB, QCD_ONLY, RocCurve, roc_curve
from cal_ratio_trainer.evaluation.significance import significance_scan
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.reporting.analysis_runs import AnalyzedRun, RunGroup
from cal_ratio_trainer.runs.figure_data import EpochHistograms, histograms_of
from cal_ratio_trainer.runs.networks import find_networks
from cal_ratio_trainer.runs.overview import BestEpoch
from cal_ratio_trainer.runs.recommendation import ks_sums
from cal_ratio_trainer.runs.test_sample import RunSample

BACKGROUNDS = (QCD_AND_TENTH_OF_BIB, QCD_ONLY, BIB_ONLY)

CRITERIA = {
    "validation loss": "val_original_lossf",
    "adversary": "val_original_adv_lossf",
    "discriminator": "val_adv_loss",
    "K-S sum": None,
}
"""Criteria of the shortlist, the lowest value first, and its name in the history; None is the sum of three names."""


_OF_ITS_RUN = "recommended of its run"


@dataclass(frozen=True, eq=False)
class TestResult:
    """A network on the test part of its run, or on all jets of given files.

    Attributes:
        aucs: against each of `BACKGROUNDS`, with samples drawn anew.
        rocs: the curves, in that order.
        efficiency_ratio: the largest eps_S/sqrt(eps_B).
        signal: share of signal jets whose largest output is signal.
        efficiencies: the same for each (mH, mS).
        false_positives: the same for QCD and BIB.
        ks: data and MC in the control region.
        ks_sum: the sum over outputs and pt ranges, with samples drawn anew.
        histograms: of the outputs.
    """

    aucs: tuple[Resampled, ...]
    rocs: tuple[RocCurve, ...]
    efficiency_ratio: float
    signal: Share
    efficiencies: tuple[MassPointEfficiency, ...]
    false_positives: tuple[FalsePositives, ...]
    ks: ControlRegionKs
    ks_sum: Resampled
    histograms: EpochHistograms

    # The name begins with "Test", but there is nothing to collect here.
    __test__ = False

    @property
    def ks_expected(self) -> float:
        """The K-S sum that identical distributions would give at the test part's numbers of jets."""
        return math.fsum(output.expected for output in self.ks.outputs)


@dataclass(frozen=True, eq=False)
class Candidate:
    """An epoch on the shortlist.

    Attributes:
        run: its run.
        epoch: its number.
        reasons: reasons for the shortlist.
        classifies: see `RunGroup.classifying`.
        result: on the test part; None where it could not be scored.
        missing: why not; empty where it could.
        is_failure: its network is there and cannot be used.
    """

    run: AnalyzedRun
    epoch: int
    reasons: tuple[str, ...]
    classifies: bool
    result: TestResult | None = None
    missing: str = ""
    is_failure: bool = False

    @property
    def name(self) -> str:
        """'model/00003/12'; see `AnalyzedRun.name_of`."""
        return self.run.name_of(self.epoch)

    @property
    def number(self) -> str:
        """The last part of its name: '12', or 'last'."""
        return self.name.rpartition("/")[2]

    @property
    def row(self) -> Mapping[str, float]:
        """Row by which the epoch was chosen; see `AnalyzedRun.rows`."""
        return self.run.rows[self.epoch]

    @property
    def history_row(self) -> Mapping[str, float]:
        """Row of the training's history; empty without a history."""
        return self.run.history_row(self.epoch)

    @property
    def validation(self) -> BestEpoch:
        """AUC and K-S of the jets that epochs are chosen on."""
        return BestEpoch.of(self.epoch, self.row)


def shortlist(group: RunGroup, best_of_each: int) -> list[Candidate]:
    """The best epochs of each run by each criterion and the recommended ones, by rising validation loss.

    Args:
        group: runs that may be held against each other.
        best_of_each: number of epochs for each criterion.
    """
    candidates = []
    for position, run in enumerate(group.runs):
        reasons: dict[int, list[str]] = {}
        # A fold set offers one choice, which is the best by all of them.
        for criterion, key in CRITERIA.items() if run.best_of_folds is None else ():
            values = ks_sums(run.rows) if key is None else [row.get(key, math.nan) for row in run.rows]
            finite = sorted((value, epoch) for epoch, value in enumerate(values) if math.isfinite(value))
            for rank, (_, epoch) in enumerate(finite[:best_of_each]):
                reasons.setdefault(epoch, []).append(criterion if rank == 0 else f"{criterion} ({rank + 1}.)")
        own = group.recommended_of(position)
        if own is not None:
            reasons.setdefault(own, []).insert(0, _OF_ITS_RUN)
        if group.recommended is not None and group.recommended[0] == position:
            others = [each for each in reasons.get(group.recommended[1], []) if each != _OF_ITS_RUN]
            reasons[group.recommended[1]] = ["recommended", *others]
        candidates += [
            Candidate(run, epoch, tuple(words), (position, epoch) in group.classifying)
            for epoch, words in sorted(reasons.items())
        ]
    return sorted(candidates, key=lambda each: _last_if_unknown(each.row.get("val_original_lossf", math.nan)))


def with_results(candidates: Sequence[Candidate], settings: AnalyzeSettings) -> list[Candidate]:
    """The epochs with their results on the test part; each is scored once.

    Where weights were not kept, or the run has no test jets, the candidate says so.
    """
    resampling = Resampling(settings.replicas, settings.seed)
    done = []
    with progress("score test jets", len(candidates), "epochs") as line:
        for each in candidates:
            done.append(_scored(each, settings, resampling))
            line.advance(note=each.name)
    return done


def _last_if_unknown(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _scored(candidate: Candidate, settings: AnalyzeSettings, resampling: Resampling) -> Candidate:
    sample = candidate.run.sample
    if sample is None:
        return replace(candidate, missing="the run has no test jets")
    if not candidate.run.has_weights_of(candidate.epoch):
        return replace(candidate, missing="weights not kept")
    try:
        return replace(candidate, result=_result(candidate, sample, settings, resampling))
    except UserError as error:
        return replace(candidate, missing=str(error), is_failure=True)


def _result(candidate: Candidate, sample: RunSample, settings: AnalyzeSettings, resampling: Resampling) -> TestResult:
    runs = candidate.run.overview.run.numbered_folder.parents[1]
    network = find_networks(candidate.name, runs, settings.rule).load()
    main, control = sample.scored_by(network)
    ks = ks_of_control_jets(control, sample.pt_ranges)
    return TestResult(
        aucs=resampled_aucs(main, sample.main.events, resampling, BACKGROUNDS),
        rocs=tuple(roc_curve(main, background) for background in BACKGROUNDS),
        efficiency_ratio=significance_scan(main).maximum_efficiency_ratio,
        signal=signal_efficiency(main),
        efficiencies=signal_efficiencies(main),
        false_positives=false_positives(main),
        ks=ks,
        ks_sum=resampled_ks(control, sample.control.events, resampling, sample.pt_ranges),
        histograms=histograms_of(main, control, ks),
    )

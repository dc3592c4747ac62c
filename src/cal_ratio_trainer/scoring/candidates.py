"""Candidates of an analysis: its runs, the groups that can be compared, and shortlisted epochs with their results."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule
from cal_ratio_trainer.errors import NOTICE, ConfigError, UserError
from cal_ratio_trainer.evaluation.bootstrap import Resampled, Resampling, resampled_aucs, resampled_ks
from cal_ratio_trainer.evaluation.c2st import ControlRegionC2st, c2st_of_control_jets
from cal_ratio_trainer.evaluation.efficiencies import (
    FalsePositives,
    MassPointEfficiency,
    false_positives,
    signal_efficiencies,
    signal_efficiency,
)
from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import BACKGROUNDS, RocCurve, roc_curve
from cal_ratio_trainer.evaluation.sculpting import Sculpting, sculpting, with_clusters
from cal_ratio_trainer.evaluation.significance import significance_scan
from cal_ratio_trainer.evaluation.summary import (
    RegionFigures,
    TestFigures,
    evaluate_test_sample,
    figures_of_regions,
    member_figures,
)
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.network.engine import chosen_device
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.runs.figure_data import EpochHistograms, histograms_of
from cal_ratio_trainer.runs.finding import all_runs, find_networks, named_run
from cal_ratio_trainer.runs.recommendation import BestEpoch, classifying_epochs, criteria, recommended_epoch
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import FINISHED
from cal_ratio_trainer.runs.test_sample import RunSample
from cal_ratio_trainer.scoring.analyzed_run import AnalyzedRun, GivenFiles, read_run

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs whose figures can be compared.

    Attributes:
        runs: at least one.
        rule: by which an epoch is recommended.
    """

    runs: tuple[AnalyzedRun, ...]
    rule: Rule

    @property
    def simulations(self) -> tuple[DataTaking, ...]:
        """Origin of the main and the control jets that are shown."""
        run = self.runs[0]
        if run.sample is not None and run.is_judged_on_given_files:
            return run.sample.main.data_taking, run.sample.control.data_taking
        described = run.run.known_record.get("data") or {}
        return tuple(DataTaking.of_record(described.get(kind) or {}) for kind in run.run.kinds_of_jets)

    @property
    def places(self) -> list[tuple[int, int]]:
        """(run, epoch) of every epoch, in the order of `rows`."""
        return [(run, epoch) for run, each in enumerate(self.runs) for epoch in range(len(each.rows))]

    @property
    def rows(self) -> list[Mapping[str, float]]:
        """The histories of all runs, one after the other."""
        return [row for run in self.runs for row in run.rows]

    @cached_property
    def recommended(self) -> tuple[int, int] | None:
        """(run, epoch) recommended over all epochs of all its runs; None where no epoch has what the rule looks at."""
        chosen = recommended_epoch(self.rows, self.rule)
        return None if chosen is None else self.places[chosen]

    @cached_property
    def classifying(self) -> set[tuple[int, int]]:
        """(run, epoch) of epochs that classify, by comparison with all its runs; see `classifying_epochs`."""
        places = self.places
        return {places[position] for position in classifying_epochs(self.rows)}

    def recommended_of(self, run: int) -> int | None:
        """The epoch recommended of one run by itself."""
        return recommended_epoch(self.runs[run].rows, self.rule)


@dataclass(frozen=True, eq=False)
class ChosenRuns:
    """Runs with which an analysis starts.

    Attributes:
        groups: the runs that can be used.
        failures: (run, why) of those that were to be used and cannot.
        passed_over: runs that were not asked for because they are not finished, with their state.
        were_named: the user named the runs; otherwise all finished ones are meant.
    """

    groups: tuple[RunGroup, ...]
    failures: tuple[tuple[str, str], ...]
    passed_over: tuple[tuple[str, str], ...]
    were_named: bool

    @property
    def runs(self) -> list[AnalyzedRun]:
        """All of them, group by group."""
        return [run for group in self.groups for run in group.runs]


class NothingToAnalyze(UserError):
    """No run can be used; the message gives the reasons."""


def choose_runs(settings: AnalyzeSettings) -> ChosenRuns:
    """Finds and reads the runs.

    Raises:
        NothingToAnalyze: there is none that can be used.
        RunError: there is no folder of runs.
        ConfigError: a GPU is asked for and there is none, or two runs have one name.
    """
    device = chosen_device(settings.device)
    passed_over: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    if settings.runs_to_analyze:
        folders, failures = _each(settings.runs_to_analyze, str, lambda name: named_run(name, settings.output_path))
    else:
        found = all_runs(settings.output_path)
        folders = [run for run in found if run.status == FINISHED or run.trouble]
        passed_over = [(run.name, run.status) for run in found if run not in folders]
    # Named twice, 'model/-1' and 'model/3' say, it is one run all the same.
    folders = list({folder.path.resolve(): folder for folder in folders}.values())
    by_name: dict[str, Run] = {}
    for folder in folders:
        if (other := by_name.setdefault(folder.name, folder)) is not folder:
            raise ConfigError([f"{other.path} and {folder.path} are both called {folder.name}; analyze one at a time"])
    given = None
    if settings.main_training_file is not None and settings.cr_training_file is not None:
        given = GivenFiles(settings.main_training_file, settings.cr_training_file, device)
    runs, unusable = _each(
        folders, lambda folder: folder.name, lambda folder: read_run(folder, device, given, settings.rule), "read runs"
    )
    failures += unusable
    if not runs:
        raise NothingToAnalyze(_nothing(settings, failures, passed_over))
    if given is not None and not any(run.is_judged_on_given_files for run in runs):
        _log.log(NOTICE, "the given training files are not read: every run has test jets of its own")
    groups = _grouped(runs, settings.rule)
    return ChosenRuns(groups, tuple(failures), tuple(passed_over), bool(settings.runs_to_analyze))


def _each(
    items: Sequence[Item], name_of: Callable[[Item], str], use: Callable[[Item], Result], task: str = "find runs"
) -> tuple[list[Result], list[tuple[str, str]]]:
    """Result of each item, and (name, reason) of those that fail by a mistake of the user or a damaged file."""
    results, failures = [], []
    with progress(task, len(items), "runs") as line:
        for item in items:
            try:
                results.append(use(item))
            except UserError as error:
                failures.append((name_of(item), str(error)))
            line.advance()
    return results, failures


def _grouped(runs: Sequence[AnalyzedRun], rule: Rule) -> tuple[RunGroup, ...]:
    by_mix: dict[tuple[str, ...], list[AnalyzedRun]] = {}
    for run in runs:
        by_mix.setdefault(run.mix, []).append(run)
    return tuple(RunGroup(tuple(group), rule) for group in by_mix.values())


def _nothing(
    settings: AnalyzeSettings, failures: Sequence[tuple[str, str]], passed_over: Sequence[tuple[str, str]]
) -> str:
    reasons = [f"{name}: {reason}" for name, reason in failures]
    if passed_over:
        states = ", ".join(f"{name} ({status})" for name, status in passed_over)
        reasons.append(f"not finished are {states}; name them to look at them all the same")
    told = "".join(f"\n  - {reason}" for reason in reasons)
    if settings.runs_to_analyze:
        return f"none of the runs can be analyzed:{told}"
    return f"there is no finished run in {settings.output_path}{':' + told if told else ''}"


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
        c2st: data and MC in the control region told apart by a classifier.
        histograms: of the outputs.
        sculpting: at fixed signal efficiencies; none where that was not asked for.
        regions: data and MC in each of several control regions, and in those that are judged only.
        ensemble: of an ensemble, all figures of merit with those of its members; None for other networks.
    """

    aucs: tuple[Resampled, ...]
    rocs: tuple[RocCurve, ...]
    efficiency_ratio: float
    signal: Share
    efficiencies: tuple[MassPointEfficiency, ...]
    false_positives: tuple[FalsePositives, ...]
    ks: ControlRegionKs
    ks_sum: Resampled
    c2st: ControlRegionC2st
    histograms: EpochHistograms
    regions: tuple[RegionFigures, ...]
    sculpting: tuple[Sculpting, ...] = ()
    ensemble: TestFigures | None = None

    # pytest collects classes named Test...; this one holds no tests.
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
        group: runs whose figures can be compared.
        best_of_each: number of epochs for each criterion.
    """
    candidates = []
    for position, run in enumerate(group.runs):
        reasons: dict[int, list[str]] = {}
        # A set offers one choice, which is the best by all of them.
        for criterion, values in criteria(run.rows).items() if run.best_of_networks is None else ():
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

    def loss(each: Candidate) -> float:
        known = each.row.get("val_original_lossf", math.nan)
        return known if math.isfinite(known) else math.inf

    return sorted(candidates, key=loss)


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
    runs = candidate.run.run.numbered_folder.parents[1]
    network = find_networks(candidate.name, runs, settings.rule).load()
    main, control = sample.scored_by(network)
    judged, ensemble = sample.judged_by(network), None
    if isinstance(network.rule, EnsembleRule):
        scored = [(main, control, judged), *((*sample.scored_by(e), sample.judged_by(e)) for e in network.members)]
        figures, *members = (
            evaluate_test_sample(jets, region, pt_ranges=sample.pt_ranges, c2st_seed=settings.seed, judged=only_judged)
            for jets, region, only_judged in scored
        )
        ensemble = replace(figures, members=member_figures([each.numbers() for each in members]))
    ks = ks_of_control_jets(control, sample.pt_ranges)
    # C2ST trains classifiers, so it is computed once.
    if ensemble is not None and ensemble.c2st is not None:
        c2st, regions = ensemble.c2st, ensemble.regions
    else:
        c2st = c2st_of_control_jets(control, settings.seed, sample.pt_ranges)
        regions = figures_of_regions(control, judged, sample.pt_ranges, settings.seed)
    return TestResult(
        aucs=resampled_aucs(main, sample.main.events, resampling, BACKGROUNDS),
        rocs=tuple(roc_curve(main, background) for background in BACKGROUNDS),
        efficiency_ratio=significance_scan(main).maximum_efficiency_ratio,
        signal=signal_efficiency(main),
        efficiencies=signal_efficiencies(main),
        false_positives=false_positives(main),
        ks=ks,
        ks_sum=resampled_ks(control, sample.control.events, resampling, sample.pt_ranges),
        c2st=c2st,
        histograms=histograms_of(main, control, ks, "test"),
        regions=regions,
        ensemble=ensemble,
        sculpting=sculpting(with_clusters(main, sample.cluster_shapes)) if settings.sculpting else (),
    )

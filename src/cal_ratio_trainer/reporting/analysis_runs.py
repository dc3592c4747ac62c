"""The runs of an analysis: which are meant, which can be used, and which can be held against each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch

from cal_ratio_trainer.config.analyze import AnalyzeSettings
from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.training.recommendation import Rule, classifying_epochs, recommended_epoch
from cal_ratio_trainer.training.run_directory import RunDirectory, RunError, find_run
from cal_ratio_trainer.training.run_overview import RunOverview, all_runs
from cal_ratio_trainer.training.run_sample import RunSample

Item = TypeVar("Item")
Result = TypeVar("Result")

_FINISHED = "finished"
_DECIDE_FIGURES = ("weight_column", "bad_weights", "pt_ranges", "include_low_mass", "include_high_mass")
"""Settings of a training that decide which jets its validation part holds and how they are weighted."""


@dataclass(frozen=True, eq=False)
class AnalyzedRun:
    """A run that can be used.

    Attributes:
        overview: what its files say.
        sample: its test jets; None where they are not there or cannot be read.
        trouble: why not; empty where nothing is wrong (a run that did not end yet has none).
    """

    overview: RunOverview
    sample: RunSample | None
    trouble: str = ""

    @property
    def name(self) -> str:
        """'model/00003'."""
        return self.overview.run.name

    @property
    def mix(self) -> tuple[str, ...]:
        """What the figures are of: runs that differ in it are not held against each other.

        The checksums of both training files and the settings that choose and weigh jets; where the checksums are not
        known, that of the test part, or else the run stands for itself.
        """
        files = [self.overview.word("data", kind, "sha256") for kind in ("main", "control")]
        if not all(files):
            files = [self.sample.checksum if self.sample is not None else self.name]
        return (*map(str, files), *(str(self.overview.settings.get(name)) for name in _DECIDE_FIGURES))


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs whose figures may be held against each other.

    Attributes:
        runs: at least one.
        rule: by which an epoch is recommended.
    """

    runs: tuple[AnalyzedRun, ...]
    rule: Rule

    @property
    def simulation(self) -> str | None:
        """What simulated the jets; see `RunOverview.simulation`."""
        return self.runs[0].overview.simulation

    @property
    def places(self) -> list[tuple[int, int]]:
        """(run, epoch) of every epoch, in the order of `rows`."""
        return [(run, epoch) for run, each in enumerate(self.runs) for epoch in range(len(each.overview.history))]

    @property
    def rows(self) -> list[Mapping[str, float]]:
        """The histories of all runs, one after the other."""
        return [row for run in self.runs for row in run.overview.history]

    @cached_property
    def recommended(self) -> tuple[int, int] | None:
        """(run, epoch) recommended over all epochs of all its runs; None where no epoch has what the rule looks at."""
        chosen = recommended_epoch(self.rows, self.rule)
        return None if chosen is None else self.places[chosen]

    @cached_property
    def classifying(self) -> set[tuple[int, int]]:
        """(run, epoch) of those that classify, see `classifying_epochs`, held against all its runs."""
        places = self.places
        return {places[position] for position in classifying_epochs(self.rows)}

    def recommended_of(self, run: int) -> int | None:
        """The epoch recommended of one run by itself."""
        return recommended_epoch(self.runs[run].overview.history, self.rule)


@dataclass(frozen=True, eq=False)
class ChosenRuns:
    """What an analysis starts with.

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
    """No run can be used; says why."""


def choose_runs(settings: AnalyzeSettings) -> ChosenRuns:
    """Find and read the runs.

    Raises:
        NothingToAnalyze: there is none that can be used.
        RunError: there is no folder of runs.
        ConfigError: a GPU is asked for and there is none.
    """
    device = analysis_device(settings)
    passed_over: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    if settings.runs_to_analyze:
        folders, failures = _each(settings.runs_to_analyze, str, lambda name: _find(name, settings))
    else:
        overviews = [RunOverview.of(run) for run in all_runs(settings.output_path)]
        folders = [overview.run for overview in overviews if overview.status == _FINISHED]
        passed_over = [(each.run.name, each.status) for each in overviews if each.status != _FINISHED]
    # Named twice, 'model/-1' and 'model/3' say, it is one run all the same.
    folders = list(dict.fromkeys(folders))
    runs, unusable = _each(folders, lambda folder: folder.name, lambda folder: read_run(folder, device), "read runs")
    failures += unusable
    if not runs:
        raise NothingToAnalyze(_nothing(settings, failures, passed_over))
    groups = _grouped(runs, settings.rule)
    return ChosenRuns(groups, tuple(failures), tuple(passed_over), bool(settings.runs_to_analyze))


def read_run(run: RunDirectory, device: torch.device) -> AnalyzedRun:
    """Read a run.

    Raises:
        RunError: it has no history that can be read, or no finished epoch.
    """
    overview = RunOverview.of(run)
    if not overview.history:
        rows = run.read_history()
        raise RunError(f"run {run.name} has no finished epoch" if not rows else f"run {run.name} cannot be read")
    try:
        return AnalyzedRun(overview, RunSample.read(run, overview.settings, device))
    except UserError as error:
        # The test jets are written when a training ends.
        return AnalyzedRun(overview, None, str(error) if overview.status == _FINISHED else "")


def analysis_device(settings: AnalyzeSettings) -> torch.device:
    """Where to score. Raises ConfigError where a GPU is asked for and there is none."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device is cuda, but PyTorch sees no GPU; take auto or cpu"])
    wanted = settings.device if settings.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def _find(name: str, settings: AnalyzeSettings) -> RunDirectory:
    model, slash, number = name.strip("/").rpartition("/")
    if not slash or not number.removeprefix("-").isdecimal():
        raise RunError(f"{name} is no run: give NAME/RUN, e.g. default/0 or default/-1 for the newest")
    return find_run(settings.output_path, model, int(number))


def _each(
    items: Sequence[Item], name_of: Callable[[Item], str], use: Callable[[Item], Result], task: str = "find runs"
) -> tuple[list[Result], list[tuple[str, str]]]:
    """What comes of each item, and (name, why) of those that a mistake or a damaged file stands in the way of."""
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

"""Page of `cr_trainer tune`: the front, the recommended trial, importances of the settings, and all trials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.tuning import TuneSettings
from cal_ratio_trainer.plotting.pareto import TrialsPlot, trials_drawing
from cal_ratio_trainer.progress import duration
from cal_ratio_trainer.reporting.page import NOT_KNOWN, Markup, ReportTable, bold, number
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, ReportResult, report_on
from cal_ratio_trainer.reporting.training_details import training_details_text
from cal_ratio_trainer.results import code, escaped
from cal_ratio_trainer.tuning.objectives import CLEAR, MEASURES, OBJECTIVES
from cal_ratio_trainer.tuning.study import FINISHED, STOPPED, StudyFile, TrialRow, TrialTable
from cal_ratio_trainer.tuning.tune import best_file, trial_sentence, tune_study


@dataclass(frozen=True)
class StudyResults:
    """Results of a study for its page.

    Attributes:
        name: of the study.
        table: its trials.
        importances: share of each searched setting in each objective; empty with too few trials.
        best: file with the settings of the recommended trial.
    """

    name: str
    table: TrialTable
    importances: tuple[Mapping[str, float], ...]
    best: Path

    @classmethod
    def of(cls, opened: StudyFile) -> "StudyResults":
        """Reads the results of a study."""
        return cls(opened.folder.parent.name, opened.table(), tuple(opened.importances()), best_file(opened))

    @cached_property
    def simulation(self) -> str | None:
        """Program that simulated the jets, as in the record of the runs."""
        runs = [trial.run for trial in self.table.trials if trial.run is not None]
        return runs[0].simulation if runs else None


@dataclass(frozen=True, repr=False)
class TuneResult(ReportResult):
    """Result of `cr_trainer tune`: the report and the trials.

    Attributes:
        study: results of the study.
    """

    study: StudyResults

    @property
    def headline(self) -> str:
        """See `Result`."""
        table = self.study.table
        best = "none recommended" if table.best is None else trial_sentence(table, table.best)
        return f"study {self.study.name}: {len(table.trials)} trials, {len(table.front)} on the front; {best}"

    @property
    def best_config(self) -> Path | None:
        """YAML with the settings of the recommended trial, for `train --config`; None without one."""
        return None if self.study.table.best is None else self.study.best

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per trial."""
        table = self.study.table
        return [
            {
                "trial": trial.number,
                "state": trial.state,
                "run": None if trial.run is None else trial.run.name,
                "epoch": trial.point and trial.point.epoch,
                table.plan.objective: trial.point and trial.point.figure,
                f"{table.plan.objective}_error": trial.point and trial.point.error,
                f"{table.plan.measure}_excess": trial.point and trial.point.excess,
                "on_front": trial in table.front,
                "epochs": trial.epochs,
                "seconds": trial.seconds,
                **trial.params,
            }
            for trial in table.trials
        ]


def tune_with_report(settings: TuneSettings, layers: Layers, say: Callable[[str], None]) -> TuneResult:
    """Runs trials and writes the report, anew after each trial; arguments and errors as `tune_study`."""
    written: list[TuneResult] = []

    def write(opened: StudyFile) -> None:
        results = StudyResults.of(opened)
        report = report_on(results, settings, opened.folder / "report.md")
        report.write()
        written.append(TuneResult(report, results))

    opened = tune_study(settings, layers, say, training_details_text, write)
    write(opened)
    return written[-1]


def _fill(report: Report, results: StudyResults, settings: TuneSettings) -> None:
    table, plan = results.table, results.table.plan
    states = [trial.state for trial in table.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    report.text(
        f"{len(table.trials)} trials: {counts}. Objectives, on the validation part: {OBJECTIVES[plan.objective]}, and "
        f"{MEASURES[plan.measure]} over identical distributions in units of their spread. Each trial counts with its "
        "recommended epoch. All trials have the same seed and jets: small differences can be chance of this seed, and "
        "the best of many is a little lucky. Train the recommended settings with other seeds before you rely on them."
    )
    _write_best(report, results)
    report.heading("Front")
    plot = _plot_of(table)
    if plot is not None:
        report.figures([trials_drawing("front", plot)])
    report.table(_trial_table("Trials on the front", table, table.front))
    report.heading("Importance of the settings")
    if results.importances:
        report.table(_importance_table(results))
    else:
        report.text("There are too few finished trials to tell.")
    report.heading("All trials")
    report.table(_trial_table("Trials", table, table.trials))
    reasons = [f"* Trial {trial.number}: {escaped(trial.reason)}" for trial in table.trials if trial.reason]
    if reasons:
        report.text("\n".join(reasons))


REPORTS[StudyResults] = ReportKind(lambda results: f"Study {results.name}", lambda results: [results.simulation], _fill)


def _write_best(report: Report, results: StudyResults) -> None:
    table = results.table
    report.heading("Recommended settings")
    if table.best is None:
        report.text("No trial is finished.")
        return
    report.text(
        f"**{escaped(trial_sentence(table, table.best))}**. It has the highest figure in units of its error "
        "minus excess, of the trials on the front: the rule by which the epoch of a run is recommended."
    )
    report.text(f"{code(f'cr_trainer train --config {results.best}')} trains with these settings.")
    first = table.trials[0]
    if first.state == FINISHED and first.point is not None and table.best.point is not None and first != table.best:
        better = [trial.number for trial in table.finished if trial.point and trial.point.clearly_beats(first.point)]
        said = (
            f"Trials {', '.join(map(str, better))} are"
            if len(better) > 1
            else f"Trial {better[0]} is"
            if better
            else ""
        )
        report.text(
            f"Trial 0 has the settings of the profile or config. {said or 'No trial is'} clearly better than it in "
            f"both objectives, by more than {CLEAR:g} errors of each difference."
        )


def _plot_of(table: TrialTable) -> TrialsPlot | None:
    drawn = [trial for trial in table.trials if trial.state in (FINISHED, STOPPED) and trial.point is not None]
    points = [trial.point for trial in drawn if trial.point is not None]
    if not points:
        return None
    excess_title = f"{MEASURES[table.plan.measure]} [spreads of identical distributions]"
    return TrialsPlot(
        np.array([[point.figure, point.error] for point in points]),
        np.array([point.excess for point in points]),
        np.array([trial.state == STOPPED for trial in drawn]),
        tuple(drawn.index(trial) for trial in table.front),
        None if table.best is None else drawn.index(table.best),
        0 if drawn[0].number == 0 and table.plan.first_params() is not None else None,
        table.plan.objective == "auc",
        excess_title,
    )


def _trial_table(title: str, table: TrialTable, trials: Sequence[TrialRow]) -> ReportTable:
    plan, names = table.plan, list(table.plan.search)
    form = ".4f" if plan.objective == "auc" else ".1f"
    rows = []
    for trial in trials:
        point, seconds = trial.point, trial.seconds
        run = NOT_KNOWN if trial.run is None else trial.run.name + (f"/{point.epoch}" if point else "")
        name: str | Markup = bold(str(trial.number)) if trial == table.best else str(trial.number)
        figure = f"{point.figure:{form}} ± {point.error:{form}}" if point else NOT_KNOWN
        settings = (_cell(trial.params.get(name)) for name in names)
        rows.append(
            (
                name,
                trial.state,
                figure,
                number(point.excess if point else None, "+.1f"),
                *settings,
                run,
                NOT_KNOWN if trial.epochs is None else str(trial.epochs),
                NOT_KNOWN if seconds is None else duration(seconds),
            )
        )
    columns = (
        "trial",
        "state",
        OBJECTIVES[plan.objective],
        MEASURES[plan.measure],
        *names,
        "run/epoch",
        "epochs",
        "time",
    )
    return ReportTable(title, columns, tuple(rows), "In bold: the recommended one." if table.best in trials else "")


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "null" if value is None else str(value)


def _importance_table(results: StudyResults) -> ReportTable:
    plan = results.table.plan
    rows = tuple((name, *(f"{each.get(name, 0.0):.0%}" for each in results.importances)) for name in plan.search)
    return ReportTable(
        "Importance",
        ("setting", OBJECTIVES[plan.objective], MEASURES[plan.measure]),
        rows,
        "Share of a setting in telling the best quarter of the finished trials from all (PED-ANOVA). With fewer than "
        "some 20 trials these shares are mostly chance.",
    )

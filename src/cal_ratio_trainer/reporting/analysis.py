"""The page of `cr_trainer analyze`: which epoch to take, and why."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule
from cal_ratio_trainer.evaluation.importance import REJECTION_EFFICIENCY
from cal_ratio_trainer.evaluation.plain import to_plain
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.plotting import FigureLabels, figure_labels, write_all
from cal_ratio_trainer.plotting.roc import importance_drawings
from cal_ratio_trainer.plotting.sculpting import MAX_NETWORKS, sculpting_drawings
from cal_ratio_trainer.reporting.analysis_figures import (
    history_figures,
    pareto_figure,
    score_figures,
    shortlist_figure,
)
from cal_ratio_trainer.reporting.analysis_tables import (
    auc_table,
    difference_table,
    efficiency_table,
    epoch_table,
    history_table,
    importance_table,
    rejection_tables,
    setting_tables,
    version_table,
)
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, ReportResult, report_on
from cal_ratio_trainer.reporting.run_page import write_run_page
from cal_ratio_trainer.reporting.training_details import member_table, region_table, sculpting_table
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.runs.figure_data import write_importance
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.importance import ImportanceResult, permutation_importance
from cal_ratio_trainer.runs.recommendation import (
    DEFAULT_RULE,
    RULES,
    WITHOUT_KS,
    BestEpochs,
    ks_sums,
    lacks_control_region,
)
from cal_ratio_trainer.scoring.analyzed_run import GIVEN_FILES, AnalyzedRun
from cal_ratio_trainer.scoring.candidates import (
    Candidate,
    ChosenRuns,
    RunGroup,
    choose_runs,
    shortlist,
    with_results,
)

_NO_BETTER_THAN_CHANCE = 0.6

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class AnalysisResult(ReportResult):
    """Result of `cr_trainer analyze`.

    Attributes:
        recommended: recommended epochs, as 'model/00003/12', one for each group of runs that can be compared.
        runs: the runs that were used.
        failures: (run, why) of what could not be used, in whole or in part.
        importances: of the inputs of each recommended epoch that has test figures, where it was asked for.
    """

    recommended: tuple[str, ...]
    runs: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    importances: tuple[ImportanceResult, ...] = ()

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"recommended: {', '.join(self.recommended) or 'no epoch'}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per recommended epoch."""
        return [{"recommended": name} for name in self.recommended]


@dataclass(frozen=True, eq=False)
class _Section:
    """A group of runs with its shortlist."""

    group: RunGroup
    candidates: tuple[Candidate, ...]
    labels: FigureLabels
    number: int
    importance: ImportanceResult | None = None

    @property
    def is_judged_on_given_files(self) -> bool:
        """True if its runs left no test jets; see `AnalyzedRun.is_judged_on_given_files`."""
        return self.group.runs[0].is_judged_on_given_files

    @property
    def recommended(self) -> Candidate | None:
        """The epoch recommended over all its runs."""
        if self.group.recommended is None:
            return None
        run, epoch = self.group.recommended
        name = self.group.runs[run].name_of(epoch)
        return next(each for each in self.candidates if each.name == name)

    @property
    def recommended_of_runs(self) -> list[Candidate]:
        """The recommended epoch of each run, and the one recommended of all runs."""
        own = {(run.name, self.group.recommended_of(i)) for i, run in enumerate(self.group.runs)}
        return [each for each in self.candidates if each is self.recommended or (each.run.name, each.epoch) in own]


def analyze_runs(settings: AnalyzeSettings) -> AnalysisResult:
    """Finds the best epochs of runs, recommends one, and writes the page.

    Raises:
        NothingToAnalyze: no run can be used.
        RunError, ConfigError: the settings cannot be used.
        OSError: the page cannot be written.
    """
    chosen = choose_runs(settings)
    sections = [
        _Section(
            group,
            tuple(with_results(shortlist(group, settings.best_of_each), settings)),
            figure_labels(settings, *group.simulations),
            number,
        )
        for number, group in enumerate(chosen.groups)
    ]
    sections = [replace(section, importance=_importance(section, settings)) for section in sections]
    report = report_on(_Analysis(chosen, tuple(sections)), settings, settings.output_report)
    report.write()
    importances = tuple(section.importance for section in sections if section.importance is not None)
    if importances:
        found = [{"network": each.network, **to_plain(each.importances)} for each in importances]
        write_text(settings.output_report.with_suffix(".importance.json"), json.dumps(found, indent=1) + "\n")
    for section in sections:
        _show_importance(section)
    troubles = tuple((run.name, run.trouble) for run in chosen.runs if run.trouble)
    troubles += tuple(
        (each.name, each.missing) for section in sections for each in section.candidates if each.is_failure
    )
    recommended = tuple(section.recommended.name for section in sections if section.recommended is not None)
    names = tuple(run.name for run in chosen.runs)
    return AnalysisResult(report, recommended, names, (*chosen.failures, *troubles), importances)


def _show_importance(section: _Section) -> None:
    """Keeps the importance with the run, and shows it on the run's page, where that can be written."""
    found, best = section.importance, section.recommended
    if found is None or best is None or best.run.is_judged_on_given_files:
        return
    run = best.run.run
    try:
        write_importance(run.importance_file, found.network, found.importances)
        write_all(importance_drawings("importance", found.importances), run.path, run.figure_labels())
        write_run_page(run)
    except OSError as error:
        _log.warning("the page of run %s does not show the importance of its inputs: %s", run.name, error)


def _importance(section: _Section, settings: AnalyzeSettings) -> ImportanceResult | None:
    """Importance of the inputs of the recommended epoch, if it is asked for and there are test figures of it."""
    best = section.recommended
    if not settings.importance or best is None or best.result is None or best.run.sample is None:
        return None
    found = permutation_importance(
        best.run.sample,
        find_networks(best.name, best.run.run.numbered_folder.parents[1], settings.rule).load(),
        settings.importance,
        settings.importance_jets,
        settings.seed,
    )
    return ImportanceResult(best.name, found, section.labels)


@dataclass(frozen=True, eq=False)
class _Analysis:
    """Runs that were chosen, and the groups of them."""

    chosen: ChosenRuns
    sections: tuple[_Section, ...]


def _fill(report: Report, analysis: _Analysis, settings: AnalyzeSettings) -> None:
    chosen, sections = analysis.chosen, analysis.sections
    _write_opening(report, chosen, sections, settings)
    for section in sections:
        _write_section(report, section, settings, level=2 if len(sections) == 1 else 3)
    _write_runs(report, chosen.runs)


REPORTS[_Analysis] = ReportKind(
    lambda analysis: "Training analysis", lambda analysis: analysis.sections[0].group.simulations, _fill
)


def _write_opening(report: Report, chosen: ChosenRuns, sections: Sequence[_Section], settings: AnalyzeSettings) -> None:
    names = ", ".join(escaped(run.name) for run in chosen.runs)
    which = "" if chosen.were_named else f" (all finished runs in {escaped(str(settings.output_path))}, newest last)"
    report.text(f"Runs: {names}{which}.")
    if len(sections) > 1:
        report.text(
            "Not all of these runs were trained and judged on the same files with the same choice of jets. AUC and K-S "
            "depend on these, so runs are ranked within groups of the same data only, and each group has its own "
            "recommended epoch."
        )
    for section in sections:
        report.text(_recommendation(section))
    words = [f"The rule `{settings.rule}`: {escaped(RULES[settings.rule])}."]
    if settings.rule == DEFAULT_RULE and any(lacks_control_region(section.group.rows) for section in sections):
        words.append(f"{WITHOUT_KS}.")
    if not all(section.is_judged_on_given_files for section in sections):
        words.append(
            "Epochs are chosen on the validation part; figures marked as test are of each run's own test part, which "
            "no choice has seen, scored with the weights of the epoch."
        )
    report.text(" ".join(words))
    for section in sections:
        if section.is_judged_on_given_files:
            report.text(_given_files(section, settings))
    remarks = list(_remarks(chosen, sections))
    if remarks:
        report.heading("What to know")
        report.text("\n".join(f"* {remark}" for remark in remarks))


def _recommendation(section: _Section) -> str:
    runs, best = section.group.runs, section.recommended
    epochs = sum(run.epochs_to_choose_from for run in runs)
    of_what = f"{epochs} epoch{'' if epochs == 1 else 's'} of {len(runs)} run{'s' if len(runs) > 1 else ''}"
    if best is None:
        words = f"**No epoch** of {of_what} has the figures that the rule needs: none can be recommended."
        if all(math.isnan(total) for total in ks_sums(section.group.rows)):
            where = "control region" if section.is_judged_on_given_files else "control validation part"
            reason = f"in some pt range the {where} lacks data or MC"
            if "control" not in runs[0].run.kinds_of_jets:
                reason = "there is no control region"
            words += f" No epoch has a K-S sum: {reason}."
            if any(math.isfinite(row.get("val_original_lossf", math.nan)) for row in section.group.rows):
                words += " `--rule validation-loss` does without it."
        return words
    words = f"Of {of_what}, **{escaped(best.name)}** is recommended"
    if best.validation.auc < _NO_BETTER_THAN_CHANCE:
        return f"{words}, but it hardly classifies: its AUC is {best.validation.auc:.2f}, and 0.5 is chance."
    return f"{words}{f' ({escaped(best.missing)})' if best.missing else ''}."


def _given_files(section: _Section, settings: AnalyzeSettings) -> str:
    runs = section.group.runs
    names = ", ".join(escaped(run.name) for run in runs)
    files = [escaped(Path(name or "").name) for name in (settings.main_training_file, settings.cr_training_file)]
    return (
        f"{names} left no test jets and {'is' if len(runs) == 1 else 'are'} judged on **all jets of {files[0]} and "
        f"{files[1]}**, which is no test part: it may contain jets that a network was trained on, and its epoch "
        "is chosen by the figures that are quoted. Both make the figures too good. Only epochs whose weights were "
        "kept can be judged."
    )


def _remarks(chosen: ChosenRuns, sections: Sequence[_Section]) -> list[str]:
    remarks = [f"{escaped(name)} could not be used: {escaped(why)}." for name, why in chosen.failures]
    remarks += [
        f"{escaped(name)} is left out: its state is {escaped(state)}. Name it to look at it all the same."
        for name, state in chosen.passed_over
    ]
    for run in chosen.runs:
        if run.trouble:
            remarks.append(f"{escaped(run.name)} has no test figures: {escaped(run.trouble)}.")
        elif run.sample is None:
            state = escaped(run.run.status)
            remarks.append(
                f"{escaped(run.name)} has no test figures: its state is {state}, and a training writes its test jets "
                "when it ends. `--main_training_file` and `--cr_training_file` name files to judge it on."
            )
    for section in sections:
        remarks += _remarks_on(section)
    return remarks


def _remarks_on(section: _Section) -> list[str]:
    remarks = [_of_set(run, run.best_of_networks) for run in section.group.runs if run.best_of_networks is not None]
    samples = {run.sample.checksum for run in section.group.runs if run.sample is not None}
    if len(samples) > 1:
        remarks.append(
            f"{len(section.group.runs)} runs have {len(samples)} different test parts of the same files: their figures "
            "differ by chance too, by as much as the errors say."
        )
    lost = [each.name for each in section.candidates if each.missing == "weights not kept"]
    if lost:
        remarks.append(
            f"The weights of {', '.join(map(escaped, lost))} were not kept, so there are no test figures of these "
            "epochs; a training with `keep_weights: all` keeps them."
        )
    return remarks


def _of_set(run: AnalyzedRun, best: BestEpochs) -> str:
    epochs = ", ".join(map(str, best.epochs))
    is_ensemble = isinstance(run.run.set_rule, EnsembleRule)
    kind = "an ensemble" if is_ensemble else "a fold set"
    by = (
        "the score of a jet is the mean over all"
        if is_ensemble
        else ("every jet is scored once, by the network that has not seen its event")
    )
    return (
        f"{escaped(run.name)} is {kind}, {len(best.epochs)} networks that count as one run. What is recommended of "
        f"it is each network at the epoch that the rule recommends in its own history: {epochs}. Its validation "
        "figures are means over these, its history is the mean over the networks, epoch by epoch; on the test part "
        f"{by}."
    )


def _write_section(report: Report, section: _Section, settings: AnalyzeSettings, level: int) -> None:
    if level > 2:
        names = ", ".join(run.name for run in section.group.runs)
        data = GIVEN_FILES if section.is_judged_on_given_files else section.group.runs[0].run.data or "data not known"
        report.heading(f"Group {section.number + 1}: {names} ({data})")
    _write_comparison(report, section, level)
    _write_test_figures(report, section, level)
    _write_sculpting(report, section, level)
    _write_importance(report, section, level)
    _write_plots(report, section, settings, level)


def _write_sculpting(report: Report, section: _Section, level: int) -> None:
    order = [run.name for run in section.group.runs]
    recommended = sorted(section.recommended_of_runs, key=lambda each: order.index(each.run.name))
    results = {each.name: each.result for each in recommended}
    networks = {name: result.sculpting for name, result in results.items() if result and result.sculpting}
    if not networks:
        return
    report.heading("Is a mass sculpted?", level)
    report.table(sculpting_table(networks))
    if len(networks) > MAX_NETWORKS:
        report.text(f"The figures show the first {MAX_NETWORKS} networks.")
    suffix = f"group_{section.number + 1}_" if section.number else ""
    report.figures(sculpting_drawings(networks, suffix), section.labels)


def _write_comparison(report: Report, section: _Section, level: int) -> None:
    suffix = f"_{section.number + 1}" if section.number else ""
    best = section.recommended
    report.heading("Which epoch", level)
    report.table(epoch_table("The recommended epoch of each run", section.recommended_of_runs, best))
    run = section.group.runs[0]
    drawings = [
        *pareto_figure(section.group, f"auc_ks{suffix}"),
        *shortlist_figure(section.group, section.candidates, best, f"auc_ks_test{suffix}"),
    ]
    report.figures(drawings, section.labels)
    if drawings:
        report.text(
            f"All epochs: every epoch of every run on the {run.chosen_on}, pale at the beginning of the training and "
            "dark at its end, the recommended epoch of each run larger. On the Pareto front are the epochs that no "
            f"other beats in both figures. Shortlisted epochs: on the {run.tested_on} with 68 % intervals, numbered by "
            "epoch."
        )
    else:
        report.text("No epoch has both an AUC and a K-S sum: there is nothing to compare.")
    report.heading("Shortlisted epochs", level)
    report.table(epoch_table("The best epochs by each criterion", section.candidates, best, is_explained=False))


def _write_test_figures(report: Report, section: _Section, level: int) -> None:
    if not any(each.result is not None for each in section.candidates):
        return
    best = section.recommended
    report.heading(f"On the {section.group.runs[0].tested_on}", level)
    report.table(auc_table(section.candidates, best))
    for table in (difference_table(section.candidates, best), *rejection_tables(section.candidates, best)):
        if table is not None:
            report.table(table)
    for each in section.candidates:
        if each.result is not None and each.result.ensemble is not None:
            report.table(member_table(each.result.ensemble, each.name))
        if each.result is not None and each.result.regions:
            report.table(region_table(each.result.regions, f"MC and data in each control region, {each.name}"))
    report.heading("Signal efficiencies", level)
    efficiencies = efficiency_table(section.candidates)
    if efficiencies is not None:
        report.table(efficiencies)


def _write_importance(report: Report, section: _Section, level: int) -> None:
    if section.importance is None:
        return
    found, jets = section.importance.importances, section.group.runs[0].tested_on
    rejection = f"{found.rejection:.3g}" if math.isfinite(found.rejection) else "not known"
    report.heading("Importance of inputs", level)
    report.text(
        f"The values of an input are permuted among {found.jets:,} jets of the {jets}, {found.permutations} times: a "
        "number of the jet among jets, a feature among all constituents of its kind, a whole kind by exchanging lists "
        f"of constituents. Without permutation the AUC, signal against QCD + 0.1 BIB, is {found.auc:.4f} and the "
        f"rejection at {100 * REJECTION_EFFICIENCY:.0f} % signal efficiency {rejection}. Inputs that tell the same "
        "share their importance: permuting one of them costs little."
    )
    suffix = f"_{section.number + 1}" if section.number else ""
    report.figures(importance_drawings(f"importance{suffix}", found), section.labels)
    report.table(importance_table(section.importance.network, found))


def _write_plots(report: Report, section: _Section, settings: AnalyzeSettings, level: int) -> None:
    histories = history_figures(report, section.group.runs, section.labels)
    if histories is not None:
        report.heading("Histories", level)
        report.table(histories)
    shown = section.candidates
    if len(shown) > settings.plotted_epochs:
        shown = tuple(section.recommended_of_runs)
    table = score_figures(report, shown, section.labels)
    if table is not None:
        report.heading("Outputs", level)
        if len(shown) < len(section.candidates):
            report.text(
                f"Of the {len(section.candidates)} shortlisted epochs these are the recommended ones; `plotted_epochs` "
                "sets how many are shown."
            )
        report.table(table)
    values = history_table(section.candidates)
    if values is not None:
        report.heading("Loss and accuracy values", level)
        report.table(values)


def _write_runs(report: Report, runs: Sequence[AnalyzedRun]) -> None:
    report.heading("Training parameters")
    for table in setting_tables(runs):
        report.table(table)
    report.heading("Versions")
    report.table(version_table(runs))

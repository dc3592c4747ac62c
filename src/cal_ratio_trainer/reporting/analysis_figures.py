"""The figures of an analysis: AUC against K-S, histories beside each other, score plots of the epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.plotting import Drawing, FigureLabels
from cal_ratio_trainer.plotting.catalogue import epoch_drawings
from cal_ratio_trainer.plotting.pareto import (
    MeasuredEpoch,
    ParetoPlot,
    RunEpochs,
    ShortlistPlot,
    draw_pareto,
    draw_shortlist,
)
from cal_ratio_trainer.reporting.page import Markup, ReportTable
from cal_ratio_trainer.reporting.report import Report, file_stem
from cal_ratio_trainer.runs.figure_data import EpochHistograms
from cal_ratio_trainer.runs.figures import drawings_of_history, stored_references
from cal_ratio_trainer.runs.recommendation import BestEpoch, ks_beyond_identical, ks_sums, pareto_front
from cal_ratio_trainer.scoring.analyzed_run import AnalyzedRun
from cal_ratio_trainer.scoring.candidates import Candidate, RunGroup

_SAME_WITHIN = 0.1
"""Samples whose expected K-S sums differ by less than this share are drawn on one scale."""

_FARTHEST = 8.0
"""Of shortlisted epochs those are drawn whose 1 - AUC is at most so many times the lowest: others would dwarf them."""

_HISTORIES = {
    "main_nn_loss": "main loss",
    "test_adv_loss": "discriminator loss",
    "ks_bib": "K-S, BIB output",
    "val_auc": "AUC",
    "c2st": "C2ST",
}
_EPOCH_PLOTS = {
    "main_sig_predictions_linear": "signal output, main jets",
    "main_qcd_predictions_linear": "QCD output, main jets",
    "main_bib_predictions_linear": "BIB output, main jets",
    "val_adversary_sig_predictions": "signal output, control region",
    "val_adversary_qcd_predictions": "QCD output, control region",
    "val_adversary_bib_predictions": "BIB output, control region",
}


def pareto_figure(group: RunGroup, name: str) -> list[Drawing]:
    """Every epoch of every run of a group on the validation part; nothing if none has both AUC and K-S sum."""
    histories = [run.rows for run in group.runs]
    scale = _KsScale.of([BestEpoch.of(epoch, row) for rows in histories for epoch, row in enumerate(rows)])
    runs = tuple(
        RunEpochs(
            run.name,
            np.array([row.get("val_auc", np.nan) for row in rows]),
            np.array([scale.of_row(row) for row in rows]),
            group.recommended_of(position),
        )
        for position, (run, rows) in enumerate(zip(group.runs, histories, strict=True))
    )
    points = [(row.get("val_auc", np.nan), ks_beyond_identical(row)) for row in group.rows]
    front = tuple(group.places[position] for position in pareto_front(points))
    if not front:
        return []
    jets = group.runs[0].chosen_on.removesuffix(" part")
    chosen = "" if group.recommended is None else group.runs[group.recommended[0]].name_of(group.recommended[1])
    plot = ParetoPlot(runs, front, group.recommended, scale.identical, scale.title, jets, chosen)
    caption = f"AUC against K-S sum, all epochs, {group.runs[0].chosen_on}"
    return [Drawing(name, draw_pareto, (plot,), caption=caption)]


def shortlist_figure(
    group: RunGroup, candidates: Sequence[Candidate], recommended: Candidate | None, name: str
) -> list[Drawing]:
    """The scored epochs with errors on the test part; nothing if none has both AUC and K-S sum."""
    positions = {run.name: position for position, run in enumerate(group.runs)}
    measured = []
    for each in candidates:
        if each.result is not None:
            auc, ks = each.result.aucs[0].interval, each.result.ks_sum.interval
            if math.isfinite(auc.value) and math.isfinite(ks.value):
                measured.append(MeasuredEpoch(positions[each.run.name], each.number, auc, ks, each is recommended))
    if not measured:
        return []
    identical = {
        each.run.name: (
            each.result.ks_expected,
            sum(output.spread for output in each.result.ks.outputs),
        )
        for each in candidates
        if each.result is not None
    }
    runs = tuple(run.name for run in group.runs)
    best = max(each.auc.value for each in measured)
    near = tuple(each for each in measured if 1 - each.auc.value <= _FARTHEST * (1 - best))
    jets = group.runs[0].tested_on.removesuffix(" part")
    plot = ShortlistPlot(runs, near, tuple(identical.values()), outside=len(measured) - len(near), jets=jets)
    caption = f"AUC against K-S sum with errors, shortlisted epochs, {group.runs[0].tested_on}"
    return [Drawing(name, draw_shortlist, (plot,), caption=caption)]


def history_figures(report: Report, runs: Sequence[AnalyzedRun], labels: FigureLabels) -> ReportTable | None:
    """A row of history plots for each run that has one; they are drawn when the report is written."""
    rows = []
    for run in runs:
        if not run.run.known_history:
            continue
        references = stored_references(run.run.known_record)
        drawings = drawings_of_history(run.run.known_history, references, run.run.has_adversary)
        drawn = {each.name: each for each in drawings}
        cells = [_cell(report, drawn.get(name), run.name, labels, title) for name, title in _HISTORIES.items()]
        rows.append((run.name, *cells))
    if not rows:
        return None
    # A figure that no run has, C2ST in runs of earlier versions, needs no column.
    columns = ("run", *_HISTORIES.values())
    shown = [i for i in range(len(columns)) if any(row[i] != "-" for row in rows)]
    cells_shown = tuple(tuple(row[i] for i in shown) for row in rows)
    return ReportTable("Losses, K-S, AUC and C2ST by epoch", tuple(columns[i] for i in shown), cells_shown)


def score_figures(report: Report, candidates: Sequence[Candidate], labels: FigureLabels) -> ReportTable | None:
    """The outputs after each epoch, drawn from the counts that the run kept; None where it kept none."""
    drawn = {each.name: _drawings_of(each) for each in candidates}
    shown = [each for each in candidates if drawn[each.name]]
    if not shown:
        return None
    rows = []
    for name, title in _EPOCH_PLOTS.items():
        cells = [
            _cell(report, drawn[each.name].get(f"{each.epoch:03d}_{name}"), each.run.name, labels, title)
            for each in shown
        ]
        rows.append((title, *cells))
    return ReportTable("Outputs after each epoch", ("plot", *(each.name for each in shown)), tuple(rows))


class _KsScale:
    """Scale of K-S sums of samples of different size: the plain sums, or their excess over identical distributions."""

    def __init__(self, identical: tuple[tuple[float, float], ...], is_common: bool) -> None:
        self._is_common = is_common
        self.identical = identical if is_common else ()
        self.title = "K-S sum of MC and data" if is_common else "K-S of MC and data, √(sum² − expected²)"

    @classmethod
    def of(cls, epochs: Sequence[BestEpoch]) -> "_KsScale":
        """The scale for these epochs."""
        known = {(each.ks_expected, each.ks_spread) for each in epochs if np.isfinite(each.ks_expected)}
        expected = [mean for mean, _ in known]
        is_common = not known or max(expected) <= (1 + _SAME_WITHIN) * min(expected)
        return cls(tuple(sorted(known)), is_common)

    def of_row(self, row: Mapping[str, float]) -> float:
        """Position of an epoch."""
        if self._is_common:
            return ks_sums([row])[0]
        beyond = ks_beyond_identical(row)
        return float(np.sqrt(max(beyond, 0.0))) if np.isfinite(beyond) else beyond


def _drawings_of(each: Candidate) -> dict[str, Drawing]:
    if each.run.is_judged_on_given_files or each.run.best_of_networks is not None:
        stored = None if each.result is None else each.result.histograms
        jets = (each.run.tested_on, each.run.tested_on)
        drawings = [] if stored is None else epoch_drawings(each.epoch, stored.histograms, stored.ks, *jets)
        return {drawing.name: drawing for drawing in drawings}
    try:
        stored = EpochHistograms.read(each.run.run.histograms_file(each.epoch))
    except InputFileError:
        return {}
    if each.run.sample is not None:
        stored = stored.with_ks_of(each.row, each.run.sample.pt_ranges)
    drawings = epoch_drawings(each.epoch, stored.histograms, stored.ks, f"{stored.main_part} part")
    return {drawing.name: drawing for drawing in drawings}


def _cell(report: Report, drawing: Drawing | None, run: str, labels: FigureLabels, title: str) -> Markup | str:
    if drawing is None:
        return "-"
    return report.figure(replace(drawing, name=f"{file_stem(run)}_{drawing.name}", caption=f"{run}, {title}"), labels)

"""Page of `cr_trainer compare`: figures of merit of two sets of scores with paired errors, and how far they agree."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.evaluation.c2st import ControlRegionC2st
from cal_ratio_trainer.evaluation.intervals import Interval
from cal_ratio_trainer.evaluation.ks import ControlRegionKs
from cal_ratio_trainer.evaluation.paired import TOLERANCES, Agreement, PairedFigure, largest_differences
from cal_ratio_trainer.jets.labels import CLASS_NAMES, CLASS_OF_LABEL, Label
from cal_ratio_trainer.plotting.score_comparison import Names, agreement_drawings, ks_drawing, roc_drawings
from cal_ratio_trainer.plotting.sculpting import sculpting_drawings
from cal_ratio_trainer.plotting.variables import plain_text
from cal_ratio_trainer.reporting.page import NOT_KNOWN, ReportTable, bold, number, unbroken, with_errors
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, ReportResult, report_on
from cal_ratio_trainer.reporting.score_report import pt_range_words
from cal_ratio_trainer.reporting.training_details import sculpting_table
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.scoring.compare import ComparedSample, CompareSummary, compare
from cal_ratio_trainer.scoring.compared import ComparedJets
from cal_ratio_trainer.scoring.explanation import Explanation
from cal_ratio_trainer.scoring.streams import Region

_CLEAR = 2.0

_TITLES: dict[Region, str] = {"main": "Main jets", "control": "Control region"}


@dataclass(frozen=True, repr=False)
class CompareResult(ReportResult):
    """Result of `cr_trainer compare`: the report, and what was compared."""

    summary: CompareSummary

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{self.summary.first} compared with {self.summary.second}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per region."""
        return [
            {
                "jets of": region,
                "jets": len(sample.jets),
                "same decision": sample.agreement.same_decision,
                "largest difference": sample.agreement.largest,
                "median difference": sample.agreement.median,
            }
            for region, sample in self.summary.samples.items()
        ]


def compare_with_report(settings: CompareSettings) -> CompareResult:
    """Compares and writes the report; errors as `compare`."""
    summary = compare(settings)
    report = report_on(summary, settings, settings.output_report)
    report.write()
    return CompareResult(report, summary)


def _fill(report: Report, summary: CompareSummary, settings: CompareSettings) -> None:
    _write_opening(report, summary)
    names = Names(plain_text(summary.first), plain_text(summary.second))
    for region, sample in summary.samples.items():
        _write_sample(report, region, sample, names, settings.disagreements)


REPORTS[CompareSummary] = ReportKind(
    lambda summary: f"{summary.first} and {summary.second}", lambda summary: summary.sources, _fill
)


def _write_opening(report: Report, summary: CompareSummary) -> None:
    counts = " and ".join(f"{len(sample.jets):,} {region} jets" for region, sample in summary.samples.items())
    report.text(
        f"First: **{escaped(summary.first)}**. Second: **{escaped(summary.second)}**. Scores of both on the same "
        f"{counts} of {escaped(', '.join(Path(file).name for file in summary.files))}."
    )
    notes = [escaped(note) for note in summary.notes]
    if summary.explanation is not None:
        report.heading("Do they agree?")
        report.text(" ".join(escaped(sentence) for sentence in summary.explanation.sentences()))
        if summary.explanation.best:
            report.table(attempt_table(summary.explanation))
    if notes:
        report.heading("What to know")
        report.text("\n".join(f"* {note}" for note in notes))


def _write_sample(report: Report, region: Region, sample: ComparedSample, names: Names, most: int) -> None:
    report.heading(_TITLES[region])
    if sample.figures is not None:
        report.heading("Figures of merit", 3)
        report.text(_which_jets(sample))
        report.table(figure_table(sample.figures.figures))
        report.figures(roc_drawings(sample.figures.rocs, names))
    if sample.sculpting is not None and any(sample.sculpting):
        report.heading("Is a mass sculpted?", 3)
        report.text(_which_jets(sample))
        networks = dict(zip((names.first, names.second), sample.sculpting, strict=True))
        report.table(sculpting_table(networks))
        report.figures(sculpting_drawings(networks))
    if sample.ks is not None and sample.ks_sum is not None:
        report.heading("Data and MC", 3)
        report.text(_which_jets(sample))
        report.table(figure_table([sample.ks_sum]))
        report.table(ks_table(*sample.ks))
        if sample.c2st is not None:
            report.table(c2st_table(*sample.c2st))
        report.figures([ks_drawing(*sample.ks, names)])
    report.heading(f"Agreement, {_TITLES[region].lower()}", 3)
    report.table(agreement_table(sample.agreement, sample.by_class))
    report.table(decision_table(sample.agreement))
    report.figures(agreement_drawings(sample.agreement, names, f"{region}_"))
    disagreements = disagreement_table(sample.jets, most)
    if disagreements is not None:
        report.table(disagreements)


def _which_jets(sample: ComparedSample) -> str:
    said = f"On {int(sample.jets.fair.sum()):,} jets that neither training has used"
    said += f", **as far as known: for {sample.jets.not_known:,} of them it is not.**" if sample.jets.not_known else "."
    if sample.jets.blinded:
        said += " Data, including beam-induced background, are blinded and left out."
    return said


def figure_table(figures: Sequence[PairedFigure]) -> ReportTable:
    """Figures of both; the better one in bold where the difference is clear."""
    return ReportTable(
        "Figures of both",
        ("figure", "first", "second", "second - first", "difference / error"),
        tuple(_figure_row(figure) for figure in figures),
        f"Errors: 68 %, from bootstrap samples of events, the same ones for both, so differences are better known. In "
        f"bold: better by more than {_CLEAR:g} errors.",
    )


def _figure_row(figure: PairedFigure) -> tuple[str, ...]:
    significance = figure.significance
    clear = math.isfinite(significance) and abs(significance) > _CLEAR
    second_is_better = (figure.difference.value > 0) == figure.more_is_better
    factor = 100.0 if figure.is_share else 1.0
    first, second = _interval(figure.first, factor), _interval(figure.second, factor)
    return (
        f"{figure.name} [%]" if figure.is_share else figure.name,
        bold(first) if clear and not second_is_better else first,
        bold(second) if clear and second_is_better else second,
        _interval(figure.difference, factor, signed=True),
        f"{significance:+.1f}" if math.isfinite(significance) else "-",
    )


def _interval(interval: Interval, factor: float, signed: bool = False) -> str:
    """A value times a factor with its errors, with as many digits as they have meaning."""
    value, down, up = (factor * each for each in (interval.value, interval.error_down, interval.error_up))
    sign = "+" if signed else ""
    if not math.isfinite(value):
        return "-"
    largest = max(down, up)
    if not (math.isfinite(largest) and largest > 0):
        return f"{value:{sign}.4g}" if value else "0"
    digits = max(0, 1 - math.floor(math.log10(largest)))
    return with_errors(value, down, up, f"{sign}.{digits}f", alike=0.2)


def ks_table(first: ControlRegionKs, second: ControlRegionKs) -> ReportTable:
    """Distances of both in each pt range."""
    rows = []
    for one, other in zip(first.outputs, second.outputs, strict=True):
        for which, ks in (("first", one), ("second", other)):
            cells = [number(each.distance, ".3f") for each in ks.ranges]
            rows.append((one.output.title, which, *cells, number(ks.total, ".3f"), number(ks.excess, "+.1f")))
        expected = [*((each.reference.mean, each.reference.spread) for each in one.ranges), (one.expected, one.spread)]
        cells = [with_errors(mean, spread, spread, ".3f") for mean, spread in expected]
        rows.append((one.output.title, "identical distributions", *cells, "-"))
    names = [pt_range_words(each) for each in first.pt_ranges]
    return ReportTable(
        "K-S distance of data and multijet MC",
        ("output", "scores", *names, "sum", "excess [spreads]"),
        tuple(rows),
        "Excess: how far the sum is above what identical distributions give at these numbers of jets. A dash: data or "
        "simulation have no jets there.",
    )


def c2st_table(first: ControlRegionC2st, second: ControlRegionC2st) -> ReportTable:
    """AUC of the classifier two-sample test with the scores of both, overall and in each pt range."""
    rows = []
    for which, c2st in (("first", first), ("second", second)):
        figures = (c2st.overall, *c2st.ranges)
        cells = [with_errors(each.auc, each.error, each.error, ".3f") for each in figures]
        rows.append((which, *cells, number(c2st.overall.excess, "+.1f")))
    expected = [with_errors(each.expected, each.spread, each.spread, ".3f") for each in (first.overall, *first.ranges)]
    return ReportTable(
        "C2ST: AUC of a classifier that tells data from MC by scores and pt",
        ("scores", "all", *(pt_range_words(each) for each in first.pt_ranges), "excess [spreads]"),
        (*rows, ("identical distributions", *expected, NOT_KNOWN)),
        f"5 folds by event, {first.jets:,} jets. A dash: too few jets of data or MC.",
    )


def agreement_table(agreement: Agreement, by_class: Mapping[str, Agreement]) -> ReportTable:
    """Correlations and differences by output, of all jets and of each class."""
    rows = [_agreement_row("all", output.output, agreement) for output in agreement.outputs]
    if len(by_class) > 1:
        rows += [
            _agreement_row(CLASS_NAMES[name], output.output, each)
            for name, each in by_class.items()
            for output in each.outputs
        ]
    return ReportTable(
        "How far the scores agree",
        (
            *("jets of", "output", "jets", "correlation", "of ranks", "median difference", "largest"),
            *(f"beyond {tolerance:.0e}".replace("e-0", "e-") for tolerance in TOLERANCES),
        ),
        tuple(rows),
    )


def _agreement_row(name: str, label: Label, agreement: Agreement) -> tuple[str, ...]:
    output = agreement[label]
    return (
        name,
        label.title,
        f"{agreement.jets:,}",
        number(output.pearson, ".4f"),
        number(output.spearman, ".4f"),
        f"{output.median:.2g}",
        f"{output.largest:.2g}",
        *(f"{count:,}" for count in output.beyond),
    )


def decision_table(agreement: Agreement) -> ReportTable:
    """Jets by the largest output of both."""
    rows = tuple(
        (Label(i).title, *(f"{count:,}" for count in row), f"{row.sum():,}")
        for i, row in enumerate(agreement.decisions)
    )
    return ReportTable(
        "Largest output, first (rows) against second (columns)",
        ("first", *(label.title for label in Label), "jets"),
        rows,
        f"The same for {100 * agreement.same_decision:.2f} % of the jets.",
    )


def disagreement_table(jets: ComparedJets, most: int) -> ReportTable | None:
    """The jets that differ most; None where none does or none is asked for."""
    positions = largest_differences(jets.first, jets.second, most)
    if not len(positions):
        return None
    names = ("runNumber", "eventNumber", "jet_index", "source_entry", "label", "jet_pt", "jet_eta", "jet_phi")
    columns = {name: jets.table.column(name).take(positions.tolist()).to_pylist() for name in names}
    rows = []
    for i, position in enumerate(positions):
        label_here = columns["label"][i]
        columns["label"][i] = "" if label_here is None else CLASS_NAMES[CLASS_OF_LABEL[jets.region][Label(label_here)]]
        values = (columns[name][i] for name in names)
        cells = [
            "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value) for value in values
        ]
        scores = [
            unbroken(f"{jets.first[position, label]:.4f} / {jets.second[position, label]:.4f}") for label in Label
        ]
        difference = float(np.abs(jets.first[position] - jets.second[position]).max())
        rows.append((*cells, *scores, f"{difference:.4f}"))
    titles = ("run", "event", "jet", "entry", "label", "pt [GeV]", "eta", "phi")
    return ReportTable(
        "Jets that differ most",
        (*titles, *(f"{label.title}, first / second" for label in Label), "difference"),
        tuple(rows),
        "Empty: not known. The difference is that of the output that differs most.",
    )


def attempt_table(explanation: Explanation) -> ReportTable:
    """The changes of the inputs that bring the scores closest."""
    pairs = [attempt for attempt in explanation.pairs if attempt.agrees]
    rows = [
        (attempt.name, f"{attempt.mean:.2g}", f"{attempt.median:.2g}", f"{attempt.largest:.2g}")
        for attempt in (explanation.unchanged, *explanation.best, *pairs)
    ]
    skipped = f"; {explanation.skipped} could not be tried on these jets" if explanation.skipped else ""
    return ReportTable(
        "Single changes of the inputs that bring the scores closest",
        ("change", "mean difference", "median", "largest"),
        tuple(rows),
        f"{explanation.tried} changes were tried on {explanation.jets} jets{skipped}. Median and largest: of each "
        "jet's output that differs most.",
    )

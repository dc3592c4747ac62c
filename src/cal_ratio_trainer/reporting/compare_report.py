"""`cr_trainer compare`: compares scores and writes a page about them."""

from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.markdown import escaped
from cal_ratio_trainer.plotting import figure_labels
from cal_ratio_trainer.plotting.score_comparison import Names, agreement_drawings, ks_drawing, roc_drawings
from cal_ratio_trainer.plotting.variables import plain_text
from cal_ratio_trainer.reporting.compare_tables import (
    agreement_table,
    attempt_table,
    decision_table,
    disagreement_table,
    figure_table,
    ks_table,
)
from cal_ratio_trainer.reporting.report import Report
from cal_ratio_trainer.reporting.score_report import OUTPUT_TITLES
from cal_ratio_trainer.scoring.compare import ComparedSample, CompareSummary, compare
from cal_ratio_trainer.scoring.streams import Region

_TITLES: dict[Region, str] = {"main": "Main jets", "control": "Control region"}


@dataclass(frozen=True)
class CompareResult:
    """What `cr_trainer compare` did: what was compared, and where the report is (Markdown, HTML page)."""

    summary: CompareSummary
    report: Path
    page: Path


def compare_with_report(settings: CompareSettings) -> CompareResult:
    """Compare and write the report; errors as `compare`."""
    summary = compare(settings)
    labels = figure_labels(settings, *summary.simulations)
    report = Report(f"{summary.first} and {summary.second}", settings.output_report, labels)
    _write_opening(report, summary)
    names = Names(plain_text(summary.first), plain_text(summary.second))
    for region, sample in summary.samples.items():
        _write_sample(report, region, sample, names, settings.disagreements)
    report.write()
    return CompareResult(summary, report.file, report.page)


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
        rocs = sample.figures.rocs
        captions = [f"ROC curves against {pair.background.name}" for pair in rocs]
        report.figures(roc_drawings(rocs, names), captions=captions)
    if sample.ks is not None and sample.ks_sum is not None:
        report.heading("Data and MC", 3)
        report.text(_which_jets(sample))
        report.table(figure_table([sample.ks_sum]))
        report.table(ks_table(*sample.ks))
        report.figures([ks_drawing(*sample.ks, names)], captions=["K-S distance of data and multijet MC"])
    report.heading(f"Agreement, {_TITLES[region].lower()}", 3)
    report.table(agreement_table(sample.agreement, sample.by_class))
    report.table(decision_table(sample.agreement))
    captions = [f"{OUTPUT_TITLES[each.output.output]} of both" for each in sample.agreement.outputs]
    captions.append("Absolute differences of the outputs")
    report.figures(agreement_drawings(sample.agreement, names, f"{region}_"), captions=captions)
    disagreements = disagreement_table(sample.jets, most)
    if disagreements is not None:
        report.table(disagreements)


def _which_jets(sample: ComparedSample) -> str:
    said = f"On {int(sample.jets.fair.sum()):,} jets that had no say in a training of the two"
    said += f", **as far as that is known: of {sample.jets.not_known:,} it is not.**" if sample.jets.not_known else "."
    if sample.jets.blinded:
        said += " Data, beam-induced background among them, take no part: they are blinded."
    return said

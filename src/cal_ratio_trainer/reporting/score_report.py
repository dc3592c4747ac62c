"""`cr_trainer score`: scores files and writes a page about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, added
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, PtRange, ks_of_control_jets
from cal_ratio_trainer.evaluation.shares import ShareTally
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.markdown import escaped
from cal_ratio_trainer.plotting import figure_labels
from cal_ratio_trainer.plotting.score_report import score_report_drawings
from cal_ratio_trainer.reporting.report import Report
from cal_ratio_trainer.reporting.score_tables import (
    CLASS_TITLES,
    class_table,
    file_table,
    mass_table,
    part_table,
    pt_range_words,
    weighted_table,
)
from cal_ratio_trainer.reporting.table import ReportTable
from cal_ratio_trainer.reporting.training_details import training_details
from cal_ratio_trainer.scoring.parts import JetPart
from cal_ratio_trainer.scoring.score import ScoreSummary, score_files
from cal_ratio_trainer.scoring.streams import Region
from cal_ratio_trainer.scoring.tally import ScoreTally

_KINDS: dict[tuple[Region, bool, bool], str] = {
    ("main", True, False): "Jets with labels",
    ("main", True, True): "Jets with labels, blinded",
    ("control", True, False): "Control region",
    ("control", True, True): "Data outside a control region, blinded",
    ("main", False, False): "Jets without labels",
    ("main", False, True): "Jets without labels, blinded",
    ("control", False, False): "Control-region jets without labels",
}
"""Titles by region, whether there are labels, and whether data among them are blinded."""

OUTPUT_TITLES = {"qcd": "QCD output", "sig": "Signal output", "bib": "BIB output"}


@dataclass(frozen=True)
class ScoreResult:
    """What `cr_trainer score` did.

    Attributes:
        summary: the files.
        report: the Markdown page; None where nothing could be scored.
        page: the HTML page.
    """

    summary: ScoreSummary
    report: Path | None
    page: Path | None


def score_with_report(settings: ScoreSettings) -> ScoreResult:
    """Score files and write the report; errors as `score_files`."""
    summary = score_files(settings)
    if all(file.tally is None for file in summary.files):
        return ScoreResult(summary, None, None)
    labels = figure_labels(settings, *(file.simulation for file in summary.files if file.tally is not None))
    report = Report(f"Scores of {summary.network}", settings.output_report, labels)
    _write_opening(report, summary)
    for kind, title in _KINDS.items():
        tallies = [tally for tally in summary.tallies(*kind) if tally.jets]
        if tallies:
            _write_section(report, title, tallies, summary.pt_ranges)
    report.write()
    return ScoreResult(summary, report.file, report.page)


def _write_opening(report: Report, summary: ScoreSummary) -> None:
    scored = [file for file in summary.files if file.tally is not None]
    files = "1 file" if len(scored) == 1 else f"{len(scored)} files"
    report.text(f"{summary.jets:,} jets of {files}, scored with the network {escaped(summary.network)}.")
    report.table(file_table(summary.files))
    notes = [escaped(note) for note in (*summary.notes, *summary.notes_of_files())]
    if notes:
        report.heading("What to know")
        report.text("\n".join(f"* {note}" for note in notes))


def _write_section(report: Report, title: str, tallies: Sequence[ScoreTally], pt_ranges: tuple[PtRange, ...]) -> None:
    shares = _merged(tallies)
    report.heading(title)
    blinding = tallies[0].blinding
    if blinding is not None:
        report.text(
            f"Of data, jets with a signal output above {blinding.above:g} are left out of everything here, of totals "
            "too: shares are those of the other jets."
        )
    blinded = frozenset[str]().union(*(tally.blinded_classes() for tally in tallies))
    above = dict.fromkeys(blinded, blinding.above) if blinding is not None else {}
    for make in (class_table, weighted_table, part_table, mass_table):
        table = make(shares, above)
        if table is not None:
            report.table(table)
    histograms = _summed([tally.histograms for tally in tallies])
    prefix = f"{tallies[0].region}_{'' if tallies[0].labelled else 'unlabelled_'}{'blinded_' if blinding else ''}"
    report.heading("Scores", 3)
    report.text("Each class sums to 1; jets count with their weights (mcEventWeight, where it is known).")
    captions = [f"{OUTPUT_TITLES[each.output]}, linear bins" for each in histograms.linear]
    captions += [f"{OUTPUT_TITLES[each.output]}, logarithmic bins" for each in histograms.log]
    report.figures(score_report_drawings(histograms, prefix), captions=captions)
    _write_figures_of_merit(report, tallies, pt_ranges)


def _write_figures_of_merit(report: Report, tallies: Sequence[ScoreTally], pt_ranges: tuple[PtRange, ...]) -> None:
    for tally in tallies:
        tables = list(_figures_of(tally, pt_ranges))
        if not tables:
            continue
        report.heading("Figures of merit, on jets that the training did not see", 3)
        report.text(_which_jets(tally))
        for table in tables:
            report.table(table)


def _which_jets(tally: ScoreTally) -> str:
    said = "Test and unseen jets only: jets that were trained on, or by which the epoch was chosen, take no part."
    unknown = tally.jets_by_part().get(JetPart.UNKNOWN.word, 0)
    if unknown:
        said += (
            f" **{unknown:,} jets take part of which it is not known whether the network was trained on them: if it "
            "was, the figures are too good.**"
        )
    if tally.blinding is not None:
        said += " Data, beam-induced background among them, take no part: they are blinded."
    if tally.fair.rows < tally.fair.met:
        said += f" Computed on a random {tally.fair.rows:,} of {tally.fair.met:,} jets."
    return said


def _figures_of(tally: ScoreTally, pt_ranges: tuple[PtRange, ...]) -> Iterator[ReportTable]:
    main, control = tally.fair_main_jets(), tally.fair_control_jets()
    if main is not None:
        # AUC and rejections; the shares of this page say the rest.
        yield from training_details(evaluate_test_sample(main))[:2]
    if control is not None:
        yield _ks_table(ks_of_control_jets(control, pt_ranges))


def _ks_table(ks: ControlRegionKs) -> ReportTable:
    rows = []
    for output in ks.outputs:
        cells = [
            f"{each.distance:.3f} ({each.reference.mean:.3f} ± {each.reference.spread:.3f})" for each in output.ranges
        ]
        total = f"{output.total:.3f} ({output.expected:.3f} ± {output.spread:.3f})"
        rows.append((CLASS_TITLES[output.output.output], *cells, total, f"{output.excess:+.1f}"))
    return ReportTable(
        "K-S distance of data and multijet MC",
        ("output", *(pt_range_words(each) for each in ks.pt_ranges), "sum", "excess [spreads]"),
        tuple(rows),
        "In brackets: what identical distributions would give at these numbers of jets.",
    )


def _merged(tallies: Sequence[ScoreTally]) -> ShareTally:
    merged = ShareTally(tallies[0].shares.selections)
    for tally in tallies:
        merged.merge(tally.shares)
    return merged


def _summed(histograms: Sequence[ScoreHistograms | None]) -> ScoreHistograms:
    known = [each for each in histograms if each is not None]
    total = known[0]
    for each in known[1:]:
        total = added(total, each)
    return total

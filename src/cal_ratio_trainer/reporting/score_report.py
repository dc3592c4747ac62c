"""Page of `cr_trainer score`: shares above cuts by class, part and mass, output distributions, figures of merit."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.intervals import Counts, Group, Share, ShareTally
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, PtRange, ks_of_control_jets
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.jets.labels import CLASS_NAMES
from cal_ratio_trainer.plotting.scores import score_report_drawings
from cal_ratio_trainer.reporting.page import ReportTable, unbroken, with_errors
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, ReportResult, report_on
from cal_ratio_trainer.reporting.training_details import training_details
from cal_ratio_trainer.results import escaped
from cal_ratio_trainer.scoring.compared import joined
from cal_ratio_trainer.scoring.parts import JetPart
from cal_ratio_trainer.scoring.score import ScoredFile, ScoreSummary, score_files
from cal_ratio_trainer.scoring.streams import Region
from cal_ratio_trainer.scoring.tally import ScoreTally

_ERRORS = "Errors: 68 %, Clopper-Pearson."
_SAME = 0.15
_MAX_DIGITS = 3

ShareOf = Callable[[Counts, int], Share]

Above = Mapping[str, float]
"""For each class of which something is hidden: the signal output above which it is."""

_HIDDEN = "blinded"

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


@dataclass(frozen=True, repr=False)
class ScoreResult(ReportResult):
    """Result of `cr_trainer score`.

    Attributes:
        summary: the files.
    """

    summary: ScoreSummary

    @property
    def has_scores(self) -> bool:
        """False where no file could be scored; there is no report then."""
        return any(file.tally is not None for file in self.summary.files)

    def scores(self) -> pa.Table:
        """The scores of all files, one row per jet, as the files of scores hold them.

        Raises:
            UserError: no file could be scored, or a column holds numbers in one file and text in another.
        """
        outputs = [file.output for file in self.summary.files if file.output is not None]
        if not outputs:
            raise UserError("there are no scores, for no file could be scored")
        return joined([pq.read_table(output) for output in outputs])

    @property
    def headline(self) -> str:
        """See `Result`."""
        summary, files = self.summary, len(self.summary.files)
        failed = f", {len(summary.failed)} failed" if summary.failed else ""
        return f"{summary.jets:,} jets of {files} file{'' if files == 1 else 's'} scored with {summary.network}{failed}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per file."""
        names = ("file", "jets", "seconds", "output", "reason")
        return [{name: getattr(file, name) for name in names} for file in self.summary.files]


def score_with_report(settings: ScoreSettings) -> ScoreResult:
    """Scores files and writes the report; errors as `score_files`."""
    summary = score_files(settings)
    result = ScoreResult(report_on(summary, settings, settings.output_report), summary)
    if result.has_scores:
        result.written.write()
    return result


def _fill(report: Report, summary: ScoreSummary, settings: ScoreSettings) -> None:
    _write_opening(report, summary)
    for kind, title in _KINDS.items():
        tallies = [tally for tally in summary.tallies(*kind) if tally.jets]
        if tallies:
            _write_section(report, title, tallies, summary.pt_ranges)


REPORTS[ScoreSummary] = ReportKind(
    lambda summary: f"Scores of {summary.network}",
    lambda summary: (file.data_taking for file in summary.files if file.tally is not None),
    _fill,
)


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
            f"Data jets with a signal output above {blinding.above:g} are left out of all numbers here, including "
            "totals: shares are those of the other jets."
        )
    blinded = frozenset[str]().union(*(tally.blinded_classes() for tally in tallies))
    above = dict.fromkeys(blinded, blinding.above) if blinding is not None else {}
    for make in (class_table, weighted_table, part_table, mass_table):
        table = make(shares, above)
        if table is not None:
            report.table(table)
    first, *others = [tally.histograms for tally in tallies if tally.histograms is not None]
    histograms = sum(others, start=first)
    prefix = f"{tallies[0].region}_{'' if tallies[0].labelled else 'unlabelled_'}{'blinded_' if blinding else ''}"
    report.heading("Scores", 3)
    report.text("Each class sums to 1; jets count with their weights (mcEventWeight, where it is known).")
    report.figures(score_report_drawings(histograms, prefix))
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
    said = "Test and unseen jets only: jets used for training or for the choice of the epoch are left out."
    unknown = tally.jets_by_part().get(JetPart.UNKNOWN.word, 0)
    if unknown:
        said += (
            f" **For {unknown:,} of these jets it is not known whether the network was trained on them: if it was, the "
            "figures are too good.**"
        )
    if tally.blinding is not None:
        said += " Data, including beam-induced background, are blinded and left out."
    if tally.fair.rows < tally.fair.rows_seen:
        said += f" Computed on a random {tally.fair.rows:,} of {tally.fair.rows_seen:,} jets."
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
        rows.append((output.output.title, *cells, total, f"{output.excess:+.1f}"))
    return ReportTable(
        "K-S distance of data and multijet MC",
        ("output", *(pt_range_words(each) for each in ks.pt_ranges), "sum", "excess [spreads]"),
        tuple(rows),
        "In brackets: the value of identical distributions at these numbers of jets.",
    )


def _merged(tallies: Sequence[ScoreTally]) -> ShareTally:
    merged = ShareTally(tallies[0].shares.selections)
    for tally in tallies:
        merged.merge(tally.shares)
    return merged


def file_table(files: Sequence[ScoredFile]) -> ReportTable:
    """One row per file: its jets by part, the time, and the file of scores."""
    parts = [part.word for part in JetPart]
    return ReportTable(
        "Files",
        ("file", "jets", *parts, "seconds", "jets/s", "scores"),
        tuple(_file_row(file, parts) for file in files),
        "Parts of the training: jets it was trained, validated and tested with, and jets it has not used.",
    )


def _file_row(file: ScoredFile, parts: Sequence[str]) -> tuple[str, ...]:
    name = PurePosixPath(file.file).name
    if file.tally is None or file.output is None:
        return (name, "failed", *("-" for _ in parts), "-", "-", file.reason)
    counts = file.tally.jets_by_part()
    rate = f"{file.jets / file.seconds:,.0f}" if file.seconds > 0 else "-"
    return (
        name,
        f"{file.jets:,}",
        *(f"{counts.get(part, 0):,}" for part in parts),
        f"{file.seconds:.1f}",
        rate,
        file.output.name,
    )


def class_table(tally: ShareTally, above: Above) -> ReportTable:
    """Shares by class."""
    counts = tally.by(lambda group: group.name)
    rows = tuple((CLASS_NAMES[name], *_cells(tally, each, above.get(name))) for name, each in _in_order(counts))
    return ReportTable("Jets by class [%]", ("class", *_columns(tally)), rows, _ERRORS)


def weighted_table(tally: ShareTally, above: Above) -> ReportTable | None:
    """The same by weight; None where all jets of each class have the same."""
    counts = tally.by(lambda group: group.name)
    if not any(each.is_weighted for each in counts.values()):
        return None
    rows = tuple(
        (CLASS_NAMES[name], *_cells(tally, each, above.get(name), Counts.weighted_share))
        for name, each in _in_order(counts)
    )
    note = "Each jet counts with its mcEventWeight. Errors: 68 %, Clopper-Pearson at the effective number of jets."
    return ReportTable("Weighted shares [%]", ("class", *_columns(tally)), rows, note)


def part_table(tally: ShareTally, above: Above) -> ReportTable | None:
    """Shares by class and part of the training; None where all jets have one part."""
    counts = tally.by(lambda group: (group.name, group.part))
    if len({part for _, part in counts}) < 2:
        return None
    order = [part.word for part in JetPart]
    known = sorted(counts.items(), key=lambda item: (list(CLASS_NAMES).index(item[0][0]), order.index(item[0][1])))
    rows = tuple((CLASS_NAMES[name], part, *_cells(tally, each, above.get(name))) for (name, part), each in known)
    note = f"A network looks better on jets it was trained on than it is. {_ERRORS}"
    return ReportTable("By part of the training [%]", ("class", "part", *_columns(tally)), rows, note)


def mass_table(tally: ShareTally, above: Above) -> ReportTable | None:
    """Shares of signal by (mH, mS); None where no masses are known."""
    counts = tally.by(_masses)
    points = sorted(point for point in counts if point is not None)
    if not points:
        return None
    rows = tuple((f"{mh:g}", f"{ms:g}", *_cells(tally, counts[mh, ms], None)) for mh, ms in points)
    return ReportTable("Signal by mass [%]", ("mH [GeV]", "mS [GeV]", *_columns(tally)), rows, _ERRORS)


def _masses(group: Group) -> tuple[float, float] | None:
    if group.higgs_mass is None or group.scalar_mass is None:
        return None
    return group.higgs_mass, group.scalar_mass


def _in_order(counts: dict[str, Counts]) -> list[tuple[str, Counts]]:
    return sorted(counts.items(), key=lambda item: list(CLASS_NAMES).index(item[0]))


def _columns(tally: ShareTally) -> tuple[str, ...]:
    selections = ((each.output.title, each.cut) for each in tally.selections)
    return ("jets", *(f"largest is {name}" if cut is None else f"{name} > {cut:g}" for name, cut in selections))


def _cells(tally: ShareTally, counts: Counts, above: float | None, share_of: ShareOf = Counts.share) -> list[str]:
    shares = [
        _HIDDEN
        if above is not None and selection.cut is not None and selection.cut >= above
        else per_cent(share_of(counts, i))
        for i, selection in enumerate(tally.selections)
    ]
    return [f"{counts.jets:,}", *shares]


def pt_range_words(pt_range: PtRange) -> str:
    """A range of jet pt for a table: in GeV where that is known."""
    if pt_range.gev is None:
        return f"{pt_range.name} pt"
    low, high = pt_range.gev
    if math.isinf(high):
        return f"pt from {low:g} GeV"
    return f"pt {low:g} to {high:g} GeV" if low > 0 else f"pt to {high:g} GeV"


def per_cent(share: Share) -> str:
    """A share in per cent with its errors, e.g. '97.1 ± 0.4' or '99.95 +0.04 -0.12'; lines do not break in it.

    >>> per_cent(Share(5, 10, 0.5, 0.45, 0.55)).split(), per_cent(Share(0, 10, 0.0, 0.0, 0.168)).split()
    (['50.0', '±', '5.0'], ['0', '+17'])
    """
    if math.isnan(share.value):
        return "-"
    value, down, up = 100 * share.value, 100 * share.error_down, 100 * share.error_up
    if not 0 <= share.value <= 1:
        # With weights below 0 it can lie outside its interval, which then says nothing about it.
        return f"{value:.1f}"
    if share.value == 0:
        return unbroken(f"0 +{up:.2g}")
    if share.value == 1:
        return unbroken(f"100 -{down:.2g}")
    digits = min(max(0, 1 - math.floor(math.log10(min(down, up)))), _MAX_DIGITS)
    return with_errors(value, down, up, f".{digits}f", alike=_SAME)

"""Tables of what was scored: files, shares above cuts, by class, part and mass."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from cal_ratio_trainer.evaluation.intervals import Share
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.evaluation.shares import Counts, Group, Selection, ShareTally
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.reporting.table import ReportTable
from cal_ratio_trainer.scoring.parts import JetPart
from cal_ratio_trainer.scoring.score import ScoredFile

CLASS_TITLES = {
    "qcd": "QCD",
    "sig": "signal",
    "bib": "BIB",
    "mc": "multijet MC",
    "data": "data",
    "jets": "all jets",
}
_OUTPUT_TITLES = {Label.QCD: "QCD", Label.SIGNAL: "signal", Label.BIB: "BIB"}
_ERRORS = "Errors: 68 %, Clopper-Pearson."
_SAME = 0.15
_MOST_DIGITS = 3
_NO_BREAK = "\u00a0"

ShareOf = Callable[[Counts, int], Share]

Above = Mapping[str, float]
"""For each class of which something is hidden: the signal output above which it is."""

_NOTHING: Above = {}
_HIDDEN = "blinded"


def file_table(files: Sequence[ScoredFile]) -> ReportTable:
    """One row a file: its jets by part, the time, and where the scores are."""
    parts = [part.word for part in JetPart]
    return ReportTable(
        "Files",
        ("file", "jets", *parts, "seconds", "jets/s", "scores"),
        tuple(_file_row(file, parts) for file in files),
        "Parts are those of the training: what it was trained on, chosen by, tested on, and jets it never met.",
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


def class_table(tally: ShareTally, above: Above = _NOTHING) -> ReportTable:
    """Shares by class."""
    counts = tally.by(lambda group: group.name)
    rows = tuple((CLASS_TITLES[name], *_cells(tally, each, above.get(name))) for name, each in _in_order(counts))
    return ReportTable("Jets by class [%]", ("class", *_columns(tally)), rows, _ERRORS)


def weighted_table(tally: ShareTally, above: Above = _NOTHING) -> ReportTable | None:
    """The same by weight; None where all jets of each class have the same."""
    counts = tally.by(lambda group: group.name)
    if not any(each.is_weighted for each in counts.values()):
        return None
    rows = tuple(
        (CLASS_TITLES[name], *_cells(tally, each, above.get(name), Counts.weighted_share))
        for name, each in _in_order(counts)
    )
    note = "Each jet counts with its mcEventWeight. Errors: 68 %, Clopper-Pearson at the effective number of jets."
    return ReportTable("Weighted shares [%]", ("class", *_columns(tally)), rows, note)


def part_table(tally: ShareTally, above: Above = _NOTHING) -> ReportTable | None:
    """Shares by class and part of the training; None where all jets have one part."""
    counts = tally.by(lambda group: (group.name, group.part))
    if len({part for _, part in counts}) < 2:
        return None
    order = [part.word for part in JetPart]
    known = sorted(counts.items(), key=lambda item: (list(CLASS_TITLES).index(item[0][0]), order.index(item[0][1])))
    rows = tuple((CLASS_TITLES[name], part, *_cells(tally, each, above.get(name))) for (name, part), each in known)
    note = f"A network looks better on jets it was trained on than it is. {_ERRORS}"
    return ReportTable("By part of the training [%]", ("class", "part", *_columns(tally)), rows, note)


def mass_table(tally: ShareTally, above: Above = _NOTHING) -> ReportTable | None:
    """Shares of signal by (mH, mS); None where no masses are known."""
    counts = tally.by(lambda group: _masses(group))
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
    return sorted(counts.items(), key=lambda item: list(CLASS_TITLES).index(item[0]))


def _columns(tally: ShareTally) -> tuple[str, ...]:
    return ("jets", *(_title(selection) for selection in tally.selections))


def _title(selection: Selection) -> str:
    name = _OUTPUT_TITLES[selection.output]
    return f"largest is {name}" if selection.cut is None else f"{name} > {selection.cut:g}"


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
        # Weights below 0 brought it out of its interval, which says nothing about it then.
        return f"{value:.1f}"
    if share.value == 0:
        return f"0{_NO_BREAK}+{_two(up)}"
    if share.value == 1:
        return f"100{_NO_BREAK}-{_two(down)}"
    digits = min(max(0, 1 - math.floor(math.log10(min(down, up)))), _MOST_DIGITS)
    errors = f"+{up:.{digits}f} -{down:.{digits}f}"
    if abs(up - down) <= _SAME * max(up, down):
        errors = f"± {max(down, up):.{digits}f}"
    return f"{value:.{digits}f} {errors}".replace(" ", _NO_BREAK)


def _two(number: float) -> str:
    return f"{number:.2g}"

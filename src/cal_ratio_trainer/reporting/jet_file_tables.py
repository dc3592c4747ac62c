"""Tables of `cr_trainer plot`: files, labels, masses, constituents, columns and odd values."""

import math
from collections.abc import Mapping, Sequence

from cal_ratio_trainer.evaluation.survey import ClassTally, ColumnTally
from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.reporting.jet_files import ComparedFile, Comparison, Quantity
from cal_ratio_trainer.reporting.page import Markup, ReportTable

LabelNames = Mapping[int, str]

_MAX_WITH_ALL_DIGITS = 1e12


def basics_table(files: Sequence[ComparedFile]) -> ReportTable:
    """Table of the files and their origin."""
    columns = ("name", "file", "jets", "layout", "state", "made by", "scaling of pt", "simulation")
    rows = tuple(
        (
            file.name,
            file.source,
            f"{file.rows:,}",
            file.report.layout,
            _state(file),
            f"{file.metadata.command} (version {file.metadata.package_version})"
            if file.metadata.command
            else "not known",
            _scaling(file),
            file.metadata.simulation or "",
        )
        for file in files
    )
    note = "Frames of the earlier program have no metadata: their state is inferred from their values."
    silent = any(file.metadata.stage == "unknown" for file in files)
    return ReportTable("Files", columns, rows, note if silent else "")


def label_table(files: Sequence[ComparedFile], names: Sequence[LabelNames]) -> ReportTable:
    """Jets and weights by label; `names` are the label names of each file."""
    rows = []
    for file, of_labels in zip(files, names, strict=True):
        for label in sorted({each.label for each in file.survey.classes}):
            tally = sum(
                (tally for each, tally in file.survey.classes.items() if each.label == label), start=ClassTally()
            )
            rows.append((file.name, label_name(label, of_labels), str(label), *_tally_cells(tally, file.rows)))
    columns = ("name", "label", "number", "jets", "share", "sum of weights", "effective number", "negative weights")
    return ReportTable(
        "Jets by label",
        columns,
        tuple(rows),
        "The effective number, (sum of weights)² / sum of squared weights, is how many jets of equal weight would "
        "fluctuate as much.",
    )


def mass_table(files: Sequence[ComparedFile]) -> ReportTable:
    """Signal jets by (mH, mS), each file apart."""
    masses = sorted({pair for file in files for pair in file.masses})
    columns = ["mH [GeV]", "mS [GeV]"]
    for file in files:
        columns += [f"{file.name}: jets", f"{file.name}: share of file"]
    rows = [
        (f"{heavy:g}", f"{light:g}", *(cell for file in files for cell in _mass_cells(file, (heavy, light))))
        for heavy, light in masses
    ]
    return ReportTable("Signal jets by mass", tuple(columns), tuple(rows))


def multiplicity_table(comparison: Comparison, names: Sequence[LabelNames]) -> ReportTable:
    """Mean numbers of constituents by file and label, with their errors."""
    rows = []
    for file, of_labels in zip(comparison.files, names, strict=True):
        for label in sorted({each.label for each in file.survey.classes}):
            cells = [_mean_number(comparison, file, quantity, label) for quantity in comparison.multiplicities]
            rows.append((file.name, label_name(label, of_labels), *cells))
    columns = ("name", "label", *(kind.name.replace("_", " ") for kind in CONSTITUENTS))
    return ReportTable("Constituents of a jet, weighted mean", columns, tuple(rows))


def odd_values_table(files: Sequence[ComparedFile]) -> ReportTable:
    """Columns in which something is not known, not finite, not measured or beyond pi."""
    rows = [
        (
            file.name,
            name,
            f"{tally.entries + tally.null:,}",
            *(_count_of(number, tally) for number in (tally.null, tally.not_finite)),
            *(_count_of(number, tally) for number in (tally.not_measured, tally.beyond_pi)),
        )
        for file in files
        for name, tally in file.survey.columns.items()
        if tally.is_odd and name not in file.report.absent
    ]
    columns = ("name", "column", "entries", "not known", "NaN or infinite", "not measured (99999)", "beyond π")
    note = "" if rows else "No column of any file has such values."
    return ReportTable("Values that are no measurements", columns, tuple(rows), note)


def column_table(comparison: Comparison, figures: Mapping[str, Sequence[Markup]]) -> ReportTable:
    """Every column with its unit and range in each file; empty where a file lacks it."""
    files = comparison.files
    names = sorted({name for file in files for name in all_columns(file)}, key=str.lower)
    rows = []
    for name in names:
        units = dict.fromkeys(file.units.get(name, "") for file in files if name in all_columns(file))
        cells = [_range_in(file, name) for file in files]
        row = [name, " / ".join(unit for unit in units if unit), *cells]
        if figures:
            row.append(Markup("".join(figures.get(name, ()))))
        rows.append(tuple(row))
    columns = ("column", "unit", *(file.name for file in files), *(["plot"] if figures else []))
    return ReportTable(
        "Columns, with the smallest and largest value in each file",
        columns,
        tuple(rows),
        "An empty cell: the file lacks the column. Columns of constituents hold a value for each; the 800 slot columns "
        "of flat files belong to these.",
    )


def all_columns(file: ComparedFile) -> list[str]:
    """The columns of a file; those that a frame lacks and that are null therefore are not."""
    lists = [column for kind in file.metadata.feature_schema.constituents for column in kind.columns]
    return [*(name for name in file.scalars if name not in file.report.absent), *lists]


def label_name(label: int, names: LabelNames) -> str:
    """The name of a label in a file, or its number."""
    return names.get(label, f"label {label}")


def _state(file: ComparedFile) -> str:
    kind = "control-region file" if file.is_control else "main file"
    if file.metadata.stage == "unknown":
        return f"{'scaled' if file.built else 'not scaled'}, taken for a {kind}"
    if file.metadata.stage == "built":
        return f"built, {kind}"
    return f"converted, type {file.metadata.data_type or 'unknown'}"


def _scaling(file: ComparedFile) -> str:
    scaling = file.metadata.scaling
    if scaling is not None:
        return f"{scaling.min_jet_pt:g} to {scaling.max_jet_pt:g} GeV become 0 to 1"
    return "range not known" if file.built else "none"


def _tally_cells(tally: ClassTally, rows: int) -> tuple[str, ...]:
    return (
        f"{tally.jets:,}",
        f"{100 * tally.jets / rows:.1f} %",
        f"{tally.sum_of_weights:,.6g}",
        f"{tally.effective_number:,.1f}",
        f"{tally.negative:,}",
    )


def _mass_cells(file: ComparedFile, masses: tuple[float, float]) -> tuple[str, str]:
    jets = sum(tally.jets for each, tally in file.survey.classes.items() if each.masses == masses)
    return (f"{jets:,}", f"{100 * jets / file.rows:.1f} %") if jets else ("", "")


def _mean_number(comparison: Comparison, file: ComparedFile, quantity: Quantity, label: int) -> str:
    histogram = file.total(quantity, label)
    if histogram is None:
        return ""
    mean, error = histogram.mean()
    return f"{mean:.2f} ± {error:.2f}"


def _count_of(number: int, tally: ColumnTally) -> str:
    entries = tally.entries + tally.null
    if not number:
        return ""
    return f"{number:,} (100 %)" if number == entries else f"{number:,} ({100 * number / entries:.2g} %)"


def _range_in(file: ComparedFile, name: str) -> str:
    if name not in all_columns(file):
        return ""
    tally = file.survey.columns.get(name, ColumnTally())
    if tally.text:
        return "text"
    if math.isnan(tally.low):
        return "no values"
    return f"{_shown(tally.low)} to {_shown(tally.high)}"


def _shown(value: float) -> str:
    """Runs and event numbers with all digits, measured values with four."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < _MAX_WITH_ALL_DIGITS else f"{value:.4g}"

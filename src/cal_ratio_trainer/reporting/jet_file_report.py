"""Page of `cr_trainer plot`: contents of files of jets, side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.plotting import Drawing, FigureLabels, figure_labels
from cal_ratio_trainer.plotting.variables import MAX_SERIES, Series, VariableFigure, axis_title, variable_drawing
from cal_ratio_trainer.progress import duration, with_prefix
from cal_ratio_trainer.reporting import jet_file_tables as tables
from cal_ratio_trainer.reporting.jet_file_tables import LabelNames
from cal_ratio_trainer.reporting.jet_files import ComparedFile, Comparison, Quantity, compared
from cal_ratio_trainer.reporting.page import Markup
from cal_ratio_trainer.reporting.report import REPORTS, DrawAll, Report, ReportKind, ReportResult, file_stem, report_on
from cal_ratio_trainer.results import escaped

Masses = tuple[float, float]

_Group = tuple[str, ComparedFile, int | None, Masses | None]
"""Jets to overlay: what they are called, their file, and their label and masses where they are a part of it."""

_READING = (
    "Every distribution is weighted and normalised to 1, with what lies outside the axis counted in; the legend says "
    "how much that is. A jet that lacks a value (a second cluster, say) is left out of its figure, and so are values "
    "that are not finite or stand for 'not measured'. Errors are statistical, from sums of squared weights; the lower "
    "panel divides by the first entry, whose own error is the band. The weights themselves are drawn without weights."
)


@dataclass(frozen=True, repr=False)
class JetFileComparison(ReportResult):
    """Result of `cr_trainer plot` on files.

    Attributes:
        files: number of files.
        jets: number of jets in total.
        seconds: duration of reading the files.
    """

    files: int
    jets: int
    seconds: float

    @property
    def headline(self) -> str:
        """See `Result`."""
        files = f"{self.files} file{'' if self.files == 1 else 's'}"
        rate = with_prefix(self.jets / self.seconds if self.seconds > 0 else 0.0)
        return (
            f"{self.jets:,} jets of {files} looked through in {duration(self.seconds)} ({rate} jets/s), "
            f"{len(self.figures())} figures"
        )


def compare_files(settings: PlotSettings, draw_all: DrawAll) -> JetFileComparison:
    """Reads the files, draws, and writes the report.

    Args:
        settings: files and variables.
        draw_all: draws the figures.

    Raises:
        UserError: a file or a setting cannot be used.
        OSError: the report cannot be written.
    """
    comparison = compared(settings)
    report = report_on(comparison, settings, settings.output_report)
    report.write(draw_all)
    return JetFileComparison(report, len(comparison.files), comparison.jets, comparison.seconds)


@dataclass(frozen=True)
class _Overlay:
    """Groups of jets in one figure: how the names of its files begin, what they have in common, the groups."""

    name: str
    context: str
    groups: tuple[_Group, ...]

    @property
    def files(self) -> list[ComparedFile]:
        return list(dict.fromkeys(file for _, file, _, _ in self.groups))


class _Page:
    """Fills the report, section by section."""

    def __init__(self, report: Report, comparison: Comparison, settings: PlotSettings) -> None:
        self.report, self.comparison, self.settings = report, comparison, settings

    def fill(self) -> None:
        """All sections in order."""
        self._basics()
        self._common()
        main = [file for file in self.comparison.files if not file.is_control]
        control = [file for file in self.comparison.files if file.is_control]
        self._by_label_and_mass("Main files compared", "main", main)
        self._by_label_and_mass("Control-region files compared", "control", control)
        self._constituents()
        for number, file in enumerate(self.comparison.files):
            self._one_file(number, file)
        self._columns()

    def _basics(self) -> None:
        files, names = self.comparison.files, [self._label_names(file) for file in self.comparison.files]
        self.report.heading("What the files are")
        self.report.table(tables.basics_table(files))
        self.report.table(tables.label_table(files, names))
        for file in files:
            for sentence in self._notes(file):
                self.report.text(f"* {escaped(file.name)}: {escaped(sentence)}")
        scalings = {file.metadata.scaling for file in files if file.metadata.scaling is not None}
        if len(scalings) > 1:
            self.report.text("* The files are scaled with different ranges of pt: their scaled pt do not compare.")

    def _notes(self, file: ComparedFile) -> Iterator[str]:
        yield from file.metadata.notes or file.report.sentences()
        survey = file.survey
        if survey.unknown_weights:
            yield f"the weight ({survey.weight_column}) of {survey.unknown_weights:,} jets is not known; they count 1"
        if survey.bad_weights:
            yield f"the weight ({survey.weight_column}) of {survey.bad_weights:,} jets is NaN or infinite; they count 0"

    def _common(self) -> None:
        if not self.comparison.common:
            return
        self.report.heading("Common variables by file")
        self.report.text(_READING)
        self._overlay(_by_file("all", "all jets", self.comparison.files))

    def _by_label_and_mass(self, title: str, name: str, files: list[ComparedFile]) -> None:
        if len(files) < 2:
            return
        self.report.heading(title)
        label_names = self._label_names(files[0])
        shared = [label for label in label_names if sum(file.jets_of(label) > 0 for file in files) > 1]
        if not shared:
            self.report.text("No two of these files hold jets of the same label.")
        for label in shared:
            having = [file for file in files if file.jets_of(label)]
            self.report.heading(label_names[label], level=3)
            missing = [escaped(file.name) for file in files if file not in having]
            if missing:
                self.report.text(f"Without such jets: {', '.join(missing)}.")
            self._overlay(_by_file(f"{name}_label{int(label)}", label_names[label], having, label))
        common = [masses for masses in files[0].masses if all(masses in file.masses for file in files)]
        for masses in common:
            said = f"mH {masses[0]:g} GeV, mS {masses[1]:g} GeV"
            self.report.heading(said, level=3)
            stem = f"{name}_mH{masses[0]:g}_mS{masses[1]:g}"
            self._overlay(_by_file(stem, said, files, int(Label.SIGNAL), masses))

    def _constituents(self) -> None:
        comparison = self.comparison
        self.report.heading("Numbers of constituents")
        names = [self._label_names(file) for file in comparison.files]
        self.report.table(tables.multiplicity_table(comparison, names))
        # Those that are drawn among the common variables already are not drawn again.
        others = [each for each in comparison.multiplicities if each not in comparison.common]
        self._overlay(_by_file("all", "all jets", comparison.files), others)

    def _one_file(self, number: int, file: ComparedFile) -> None:
        kind = "control-region file" if file.is_control else "main file"
        self.report.heading(f"{file.name} ({kind})")
        if not file.rows:
            self.report.text("It holds no jets.")
            return
        quantities = list(dict.fromkeys([*self.comparison.common, *self.comparison.multiplicities]))
        names = self._label_names(file)
        labels = [label for label in names if file.jets_of(label)]
        if labels:
            self.report.heading(f"{file.name} by label", level=3)
            groups: tuple[_Group, ...] = tuple((names[label], file, label, None) for label in labels)
            self._overlay(_Overlay(f"file{number + 1}_labels", file.name, groups), quantities)
        if not file.masses:
            return
        self.report.heading(f"{file.name} by mass", level=3)
        self.report.table(tables.mass_table([file]))
        signal: _Group = ("All signal", file, int(Label.SIGNAL), None)
        several = [
            (f"mH {heavy:g}, mS {light:g}", file, int(Label.SIGNAL), (heavy, light)) for heavy, light in file.masses
        ]
        if len(several) < 2:
            return
        step = MAX_SERIES - 1
        for part, start in enumerate(range(0, len(several), step)):
            groups = (signal, *several[start : start + step])
            self._overlay(
                _Overlay(f"file{number + 1}_masses{part + 1}", f"{file.name}, masses in GeV", groups), quantities
            )

    def _columns(self) -> None:
        self.report.heading("Columns")
        files = self.comparison.files
        everything = list(dict.fromkeys(name for file in files for name in tables.all_columns(file)))
        partly = [name for name in everything if any(name not in tables.all_columns(file) for file in files)]
        if len(files) > 1:
            said = (
                f"Not in all files: {', '.join(map(escaped, partly))}."
                if partly
                else "All files have the same columns."
            )
            self.report.text(said)
        self.report.heading("Values that are no measurements", level=3)
        self.report.table(tables.odd_values_table(files))
        self.report.heading("All columns", level=3)
        figures = {
            name: self._column_figures(number, quantities)
            for number, (name, quantities) in enumerate(self.comparison.columns.items())
        }
        self.report.table(tables.column_table(self.comparison, figures))

    def _column_figures(self, number: int, quantities: list[Quantity]) -> list[Markup]:
        overlay = _by_file(f"column{number + 1}", "all jets", self.comparison.files)
        return [
            self.report.figure(drawing, self._labels(overlay.files))
            for part in _parts(overlay)
            for drawing in self._drawings(part, quantities)
        ]

    def _overlay(self, overlay: _Overlay, quantities: Sequence[Quantity] | None = None) -> None:
        labels = self._labels(overlay.files)
        for part in _parts(overlay):
            self.report.figures(
                self._drawings(part, self.comparison.common if quantities is None else quantities), labels
            )

    def _drawings(self, overlay: _Overlay, quantities: Iterable[Quantity]) -> Iterator[Drawing]:
        used: set[str] = set()
        for quantity in quantities:
            figure = self._figure(overlay, quantity)
            if figure is None:
                continue
            stem = file_stem(f"{overlay.name}_{quantity.name}")
            name = next(
                name for number in range(1, 1000) if (name := f"{stem}_{number}" if number > 1 else stem) not in used
            )
            used.add(name)
            yield replace(variable_drawing(name, figure), caption=f"{quantity.name}: {overlay.context}")

    def _figure(self, overlay: _Overlay, quantity: Quantity) -> VariableFigure | None:
        series, shown = [], []
        for title, file, label, masses in overlay.groups:
            histogram = file.total(quantity, label, masses)
            if histogram is not None:
                rows = file.rows if label is None else file.jets_of(label)
                series.append(Series(title, histogram, is_data=rows == file.jets_of(Label.BIB) and label in (None, 2)))
                shown.append(file)
        if not series:
            return None
        variable = shown[0].variables[quantity]
        scalings = {file.metadata.scaling for file in shown}
        edges, unit = self.comparison.edges[quantity], quantity.unit
        if unit == "MeV":
            edges, unit = edges / 1000, "GeV"
        title = axis_title(variable, unit, scalings.pop() if len(scalings) == 1 else None)
        counted = variable.kind.name.replace("_", " ") if variable.shape == "all" and variable.kind else "jets"
        return VariableFigure(title, edges, tuple(series), overlay.context, counted)

    def _label_names(self, file: ComparedFile) -> LabelNames:
        return self.settings.data_labels_adversary if file.is_control else self.settings.data_labels_main

    def _labels(self, files: Iterable[ComparedFile]) -> FigureLabels:
        return figure_labels(self.settings, *(file.data_taking for file in files))


REPORTS[Comparison] = ReportKind(
    lambda comparison: "Training files",
    lambda comparison: (file.data_taking for file in comparison.files),
    lambda report, comparison, settings: _Page(report, comparison, settings).fill(),
)


def _by_file(
    name: str, context: str, files: Sequence[ComparedFile], label: int | None = None, masses: Masses | None = None
) -> _Overlay:
    return _Overlay(name, context, tuple((file.name, file, label, masses) for file in files))


def _parts(overlay: _Overlay) -> Iterator[_Overlay]:
    """Groups in parts that one figure can show; the first, the reference of the ratios, is in each part."""
    first, others = overlay.groups[:1], overlay.groups[1:]
    step = MAX_SERIES - 1
    if len(others) <= step:
        yield overlay
        return
    for part, start in enumerate(range(0, len(others), step)):
        yield _Overlay(f"{overlay.name}_{part + 1}", overlay.context, first + others[start : start + step])

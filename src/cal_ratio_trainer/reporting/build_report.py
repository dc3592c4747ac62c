"""The report of a build: what was taken, how it was weighed, the cutflow of each sample, distributions."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cal_ratio_trainer.building.build import report_file
from cal_ratio_trainer.building.flattening import BeforeAfter
from cal_ratio_trainer.building.normalisation import SampleWeight
from cal_ratio_trainer.building.samples import ALL_PERIODS
from cal_ratio_trainer.building.summary import BuildSummary, JetGroup, SampleStep
from cal_ratio_trainer.building.weighing import Weighing
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.evaluation.histograms import Spectra
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.plotting.weighted_spectra import (
    draw_against_data,
    draw_shapes,
    draw_stack,
)
from cal_ratio_trainer.reporting.page import ReportTable, number
from cal_ratio_trainer.reporting.report import REPORTS, Report, ReportKind, file_stem, report_on
from cal_ratio_trainer.results import escaped

_STEPS = {
    "samples": "Slices weighed by cross section",
    "reweight_mc": "Simulation weighed to data",
    "flatten": "Weighed flat",
}


def write_build_report(settings: BuildSettings, summary: BuildSummary) -> Path:
    """Writes the report beside the training file, NAME_report.md and .html.

    Returns:
        The HTML page.

    Raises:
        OSError: a file cannot be written.
    """
    report = report_on(summary, settings, report_file(settings.output_file))
    report.write()
    return report.page


def _fill(report: Report, summary: BuildSummary, settings: BuildSettings) -> None:
    _add_jets(report, summary)
    weighing = summary.weighing or Weighing()
    _add_weights(report, weighing)
    for step in weighing.steps:
        report.heading(_STEPS[step.step], level=3)
        for pair in zip(step.before, step.after, strict=True):
            # One row per variable, so that before and after stand side by side.
            both = zip(("before", "after"), pair, strict=True)
            report.figures(_step_drawing(step, when, each, weighing) for when, each in both)
    is_shown = bool(weighing.steps) and weighing.steps[-1].step == "flatten" and settings.max_weight_share is None
    if weighing.result and not is_shown:
        report.heading("The classes as they are in the file", level=3)
        report.figures(_compared(each, "final", "in the file", summary.kind == "control") for each in weighing.result)
    report.heading("Cutflow of each sample")
    for name, steps in summary.cutflows.items():
        report.table(_cutflow_table(name, steps))
    _add_inputs(report, summary)


def _origin(summary: BuildSummary) -> DataTaking:
    types = [DataType(each.data_type) if each.data_type else None for each in summary.inputs]
    known = None if None in types or not types else all(each is not None and each.is_simulation for each in types)
    return DataTaking(summary.simulation, known)


REPORTS[BuildSummary] = ReportKind(
    lambda summary: f"{summary.output_file.name}: a {summary.kind} training file",
    lambda summary: (_origin(summary),),
    _fill,
)


def _add_jets(report: Report, summary: BuildSummary) -> None:
    report.heading("Jets")
    columns = ("jets", "sum of weights", "effective number", "largest weight / sum of the class")
    classes = tuple((group.name, *_group_cells(group)) for group in summary.classes)
    report.table(ReportTable("Classes", ("class", *columns), classes))
    named = [group for group in summary.slices if group.mcChannelNumber is not None]
    slices = tuple((f"{group.name} {group.mcChannelNumber}", *_group_cells(group)) for group in named)
    if len(slices) > 1:
        note = (
            "Effective number: (sum of weights)^2 / sum of squares, the number of equal weights as uncertain as these."
        )
        report.table(ReportTable("Simulated samples", ("sample", *columns), slices, note))
    _list(report, [note for note in summary.notes if note not in (summary.weighing or Weighing()).notes])


def _group_cells(group: JetGroup) -> tuple[str, ...]:
    return (
        f"{group.jets}",
        number(group.sum_of_weights, ".6g"),
        number(group.effective_number, ".1f"),
        number(group.largest_share, ".3g"),
    )


def _add_weights(report: Report, weighing: Weighing) -> None:
    report.heading("Weights")
    if not weighing.notes:
        report.text("Weights are those of the files.")
    _list(report, weighing.notes)
    if weighing.samples:
        columns = ("sample", "period", "files (empty, failed)", "xs · eff · k [pb]", "luminosity [1/pb]")
        report.table(
            ReportTable(
                "Samples",
                (*columns, "initial sum of weights", "factor"),
                tuple(_sample_row(sample) for sample in weighing.samples),
                "A weight is mcEventWeight x factor; factor = cross section x filter efficiency x k x luminosity / "
                "initial sum of weights of all files.",
            )
        )


def _sample_row(sample: SampleWeight) -> tuple[str, ...]:
    return (
        f"{sample.channel}",
        "-" if sample.period == ALL_PERIODS else sample.period,
        f"{sample.files} ({sample.empty_files}, {len(sample.failed_files)})",
        f"{sample.effective_pb:.6g}",
        f"{sample.luminosity_pb:.6g}",
        f"{sample.initial_sum_of_weights:.6g}",
        f"{sample.factor:.6g}",
    )


def _step_drawing(step: BeforeAfter, when: str, spectra: Spectra, weighing: Weighing) -> Drawing:
    what, heading = f"{step.step}_{when}", f"{when} weighing"
    if step.step != "samples":
        return _compared(spectra, what, heading, step.step == "reweight_mc")
    luminosity = any(sample.luminosity_pb != 1 for sample in weighing.samples)
    unit = ("jets" if luminosity else "pb") if when == "after" else ""
    return Drawing(f"{what}_{file_stem(spectra.variable)}", draw_stack, (spectra, heading, unit))


def _compared(spectra: Spectra, what: str, heading: str, against_data: bool) -> Drawing:
    """The shapes of all groups, or of simulation against data where there are both."""
    name, content = f"{what}_{file_stem(spectra.variable)}", (spectra, heading)
    if against_data and len(spectra.groups) == 2:
        return Drawing(name, draw_against_data, content, with_ratio=True)
    return Drawing(name, draw_shapes, content)


def _cutflow_table(name: str, steps: Sequence[SampleStep]) -> ReportTable:
    columns, cells = ["step", "events", "jets"], [[step.step for step in steps]]
    cells += [[number(step.events, "d") for step in steps], [number(step.jets, "d") for step in steps]]
    for title, values in (
        ("sum of event weights", [step.sum_of_weights for step in steps]),
        ("with cross section and luminosity", [step.expected for step in steps]),
    ):
        if any(value is not None for value in values):
            columns.append(title)
            cells.append([number(value, ".6g") for value in values])
    return ReportTable(name, tuple(columns), tuple(zip(*cells, strict=True)))


def _add_inputs(report: Report, summary: BuildSummary) -> None:
    report.heading("Input files")
    rows = tuple(
        (each.path, each.data_type or "-", f"{each.jets}", f"{each.passed_filter}", f"{each.taken}")
        for each in summary.inputs
    )
    report.table(ReportTable("Files", ("file", "type", "jets", "passed event_filter", "taken"), rows))


def _list(report: Report, sentences: Iterable[str]) -> None:
    items = [f"- {escaped(sentence)}" for sentence in sentences]
    if items:
        report.text("\n".join(items))

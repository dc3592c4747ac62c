"""Files of jets that `cr_trainer plot` compares: opened, then read twice, batch by batch, and counted.

The first pass takes classes, contents of columns, and a sample by which bins are chosen; the second fills histograms
with the same bins for all files. One batch of one file is in memory at a time; a pickled frame is held whole while
it is read.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.plot import PlotInput, PlotSettings
from cal_ratio_trainer.config.training import DEMO
from cal_ratio_trainer.errors import ConfigError, InputFileError, did_you_mean
from cal_ratio_trainer.evaluation.histograms import WeightedHistogram
from cal_ratio_trainer.evaluation.survey import JetClass, Survey, classes_of, weights_of
from cal_ratio_trainer.evaluation.variables import (
    COUNTS,
    Variable,
    VariableCounter,
    bin_edges,
    find_variable,
    is_number,
    known_names,
)
from cal_ratio_trainer.files.cache import local_copy
from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY, is_built
from cal_ratio_trainer.jets.jet_file import LoadReport
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import DataTaking, JetMetadata, built_units, converted_units
from cal_ratio_trainer.progress import ProgressLine, progress
from cal_ratio_trainer.runs.demo import make_demo


@dataclass(frozen=True)
class Quantity:
    """Content of one figure: an entry of the list of variables, in one unit.

    Files in different units (GeV and scaled to 0-1) cannot be overlaid.
    """

    name: str
    unit: str


@dataclass(eq=False)
class ComparedFile:
    """One file.

    Attributes:
        name: in figures and tables.
        source: as the user gave it.
        path: on this machine.
        metadata: its metadata.
        report: observations on opening.
        scalars: its scalar columns.
        rows: number of jets.
        built: its values are scaled.
        data_taking: origin of its jets, for the heading of figures.
        survey: of the first pass.
        histograms: of the second pass: for each quantity, one per class.
    """

    name: str
    source: str
    path: Path
    metadata: JetMetadata
    report: LoadReport
    scalars: list[str]
    rows: int
    built: bool
    data_taking: DataTaking
    variables: dict[Quantity, Variable] = field(default_factory=dict)
    survey: Survey = field(default_factory=lambda: Survey((), 0, ""))
    histograms: dict[Quantity, dict[JetClass, WeightedHistogram]] = field(default_factory=dict)

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit of every column whose unit is known."""
        return self.metadata.units or (built_units() if self.built else converted_units())

    @property
    def is_control(self) -> bool:
        """True for a control-region file; a frame without metadata is one if it lacks masses."""
        if self.metadata.stage == "unknown":
            return self.report.looks_like_control_region
        return self.metadata.kind == "control" or self.metadata.data_type == DataType.DATA

    def jets_of(self, label: int) -> int:
        """Number of jets with a label."""
        return sum(tally.jets for each, tally in self.survey.classes.items() if each.label == label)

    @property
    def masses(self) -> list[tuple[float, float]]:
        """The (mH, mS) of its signal, rising."""
        return sorted(each.masses for each in self.survey.classes if each.masses is not None)

    def total(
        self, quantity: Quantity, label: int | None = None, masses: tuple[float, float] | None = None
    ) -> WeightedHistogram | None:
        """The histogram of all jets, of a label, or of a pair of masses; None where the file has no such jets."""
        parts = [
            part
            for each, part in self.histograms.get(quantity, {}).items()
            if part.jets and (label is None or each.label == label) and (masses is None or each.masses == masses)
        ]
        return sum(parts[1:], start=parts[0]) if parts else None


def opened_files(settings: PlotSettings) -> list[ComparedFile]:
    """All files, opened but not read yet.

    Raises:
        InputFileError, MissingColumn, ForbiddenPickle: a file cannot be used.
        ConfigError: 'demo' is given more often than there are demo files.
    """
    inputs = _without_demo(settings)
    names = _names(inputs)
    # All are opened before the first is read: a mistake in the last one is reported at once.
    return [
        _open(name, given.input_file, local_copy(path, settings.cache_path))
        for name, (given, path) in zip(names, inputs, strict=True)
    ]


def _without_demo(settings: PlotSettings) -> list[tuple[PlotInput, str]]:
    inputs = settings.compared
    wanted = [given for given in inputs if given.input_file == DEMO]
    if not wanted:
        return [(given, given.input_file) for given in inputs]
    if len(wanted) > 2:
        raise ConfigError(["'demo' stands for one main and one control-region file; it was given more often"])
    for given in inputs:
        if given.input_file != DEMO:
            # A mistyped or damaged file is reported before the demo is made for the other one.
            open_jets(local_copy(given.input_file, settings.cache_path))
    made = make_demo(settings.cache_path)
    demo = iter((str(made.main), str(made.control)))
    return [(given, next(demo) if given.input_file == DEMO else given.input_file) for given in inputs]


def _names(inputs: Sequence[tuple[PlotInput, str]]) -> list[str]:
    """The given names; else the shortest end of the path that no other path has."""
    paths = {f"/{Path(path).with_suffix('')}" for given, path in inputs if given.legend_name is None}
    names = [given.legend_name for given, _ in inputs if given.legend_name is not None]
    made: list[str] = []
    for place, (given, path) in enumerate(inputs):
        name = given.legend_name or _name_of(path, paths, [*names, *made], place + 1)
        made.append(name)
    return made


def _name_of(path: str, paths: Collection[str], taken: Collection[str], number: int) -> str:
    parts = Path(path).with_suffix("").parts
    stems = ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]
    own = [stem for stem in stems if sum(other.endswith(f"/{stem}") for other in paths) == 1 and stem not in taken]
    return own[0] if own else f"{stems[0]} ({number})"


def _open(name: str, source: str, path: Path) -> ComparedFile:
    file = open_jets(path)
    first = file.first(JETS_TO_JUDGE_BY) if file.metadata.stage == "unknown" else Jets.empty()
    built = is_built(file.metadata, first)
    scalars, origin = file.scalar_names(), file.data_taking()
    return ComparedFile(name, source, path, file.metadata, file.report, scalars, file.rows, built, origin)


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that a report is made from.

    Attributes:
        files: those compared.
        common: quantities of `common_plots`, in order.
        columns: by column name what is drawn of it; empty unless every column is.
        edges: bins of each quantity.
        seconds: duration of reading the files.
    """

    files: list[ComparedFile]
    common: list[Quantity]
    columns: dict[str, list[Quantity]]
    edges: dict[Quantity, NDArray[np.float64]]
    seconds: float

    @property
    def multiplicities(self) -> list[Quantity]:
        """The numbers of constituents."""
        return [Quantity(variable.name, "") for variable in COUNTS]

    @property
    def jets(self) -> int:
        """Number of jets in all files."""
        return sum(file.rows for file in self.files)


def compared(settings: PlotSettings) -> Comparison:
    """Opens and counts all files.

    Raises:
        InputFileError, MissingColumn, ForbiddenPickle: a file cannot be used.
        ConfigError: a variable is in none of the files, or a name in the settings is wrong.
    """
    files = opened_files(settings)
    common, columns = _assign_variables(files, settings)
    begin = time.perf_counter()
    with progress("look through files", 2 * sum(file.rows for file in files), "jets") as line:
        for file in files:
            _survey(file, settings.weight_column, line)
        edges = _edges(files, settings)
        for file in files:
            _count(file, edges, settings.weight_column, line)
    return Comparison(files, common, columns, edges, time.perf_counter() - begin)


def _assign_variables(
    files: list[ComparedFile], settings: PlotSettings
) -> tuple[list[Quantity], dict[str, list[Quantity]]]:
    mistakes: list[str] = []
    if not any(settings.weight_column in file.scalars for file in files):
        known = {name for file in files for name in file.scalars}
        mistakes.append(f"weight_column: no file has {settings.weight_column}{_nearest(settings.weight_column, known)}")
    common: list[Quantity] = []
    for names in settings.variables:
        found = _assign(files, names)
        if not found:
            known = {name for file in files for name in known_names(file.scalars, file.metadata.feature_schema)}
            mistakes.append(f"common_plots: no file has {' or '.join(names)}{_nearest(names[0], known)}")
        common += [quantity for quantity in found if quantity not in common]
    if mistakes:
        raise ConfigError(mistakes)
    for variable in COUNTS:
        _assign(files, (variable.name,))
    return common, _assign_columns(files) if settings.plot_every_column else {}


def _nearest(name: str, known: set[str]) -> str:
    return did_you_mean(name, sorted(known))


def _assign(files: list[ComparedFile], names: Sequence[str]) -> list[Quantity]:
    """Assigns each file its variable; returns the resulting quantities, one for each unit."""
    quantities: list[Quantity] = []
    title = None
    for file in files:
        variable = find_variable(names, file.scalars, file.metadata.feature_schema)
        if variable is None:
            continue
        title = title or variable.name
        unit = "" if variable.shape == "count" else file.units.get(variable.column, "")
        # A column of unknown unit is drawn over one without unit.
        quantity = Quantity(title, "" if unit == "1" else unit)
        file.variables[quantity] = variable
        if quantity not in quantities:
            quantities.append(quantity)
    return quantities


def _assign_columns(files: list[ComparedFile]) -> dict[str, list[Quantity]]:
    names = dict.fromkeys([name for file in files for name in file.scalars])
    kinds = [kind for file in files for kind in file.metadata.feature_schema.constituents]
    names |= dict.fromkeys([name for kind in kinds for name in kind.columns])
    return {name: _assign(files, (name,)) for name in names}


def _batches(file: ComparedFile, line: ProgressLine) -> Iterator[Jets]:
    for jets in open_jets(file.path).batches():
        yield jets
        line.advance(len(jets), file.name)


def _survey(file: ComparedFile, weight_column: str, line: ProgressLine) -> None:
    file.survey = Survey(tuple(dict.fromkeys(file.variables.values())), file.rows, weight_column)
    for jets in _batches(file, line):
        if weight_column in jets and not is_number(jets.scalars.column(weight_column)):
            raise InputFileError(file.path, f"weight_column: {weight_column} holds no numbers")
        file.survey.add(jets)


def _edges(files: list[ComparedFile], settings: PlotSettings) -> dict[Quantity, NDArray[np.float64]]:
    quantities = dict.fromkeys(quantity for file in files for quantity in file.variables)
    # A bin for every possible number: means are computed from the histograms.
    edges: dict[Quantity, NDArray[np.float64]] = {}
    for number, kind in enumerate(CONSTITUENTS):
        limit = max(file.metadata.feature_schema.constituents[number].limit for file in files)
        edges[Quantity(f"n_{kind.name}", "")] = np.arange(limit + 2, dtype=np.float64) - 0.5
    for quantity in quantities:
        if quantity in edges:
            continue
        samples = [
            sample
            for file in files
            if quantity in file.variables
            for sample in file.survey.samples_of(file.variables[quantity])
        ]
        edges[quantity] = bin_edges(samples, settings.bins, settings.central_share)
    for file in files:
        file.survey = replace(file.survey, samples={})
    return edges


def _count(
    file: ComparedFile, edges: dict[Quantity, NDArray[np.float64]], weight_column: str, line: ProgressLine
) -> None:
    classes = {jet_class: place for place, jet_class in enumerate(file.survey.classes)}
    counters = {
        quantity: VariableCounter(variable, edges[quantity], len(classes))
        for quantity, variable in file.variables.items()
    }
    for jets in _batches(file, line):
        its_classes, positions = classes_of(jets)
        groups = np.array([classes[each] for each in its_classes], dtype=np.int64)[positions]
        weights, ones = weights_of(jets, weight_column), np.ones(len(jets))
        for quantity, counter in counters.items():
            # A distribution of weights that is weighted by themselves says nothing.
            is_weight = file.variables[quantity].column == weight_column
            counter.add(jets, groups, ones if is_weight else weights)
    file.histograms = {
        quantity: dict(zip(classes, counter.histograms(), strict=True)) for quantity, counter in counters.items()
    }

"""Files of jets that are compared: looked through twice, batch by batch, and counted.

The first pass takes classes, what columns hold, and a sample by which bins are chosen; the second fills histograms
with the same bins for all files. One batch of one file is in memory at a time; a pickled frame is held whole while
it is read.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, did_you_mean
from cal_ratio_trainer.evaluation.binning import BinChoice, bin_edges
from cal_ratio_trainer.evaluation.survey import Survey, classes_of, weights_of
from cal_ratio_trainer.evaluation.variable_histograms import VariableCounter
from cal_ratio_trainer.evaluation.variables import COUNTS, Variable, find_variable, is_number, known_names
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.progress import ProgressLine, progress
from cal_ratio_trainer.reporting.compared_files import ComparedFile, Quantity, opened_files


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that a report is made from.

    Attributes:
        files: those compared.
        common: quantities of `common_plots`, in order.
        columns: by column name what is drawn of it; empty unless every column is.
        edges: bins of each quantity.
        seconds: what looking through the files took.
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
        """Of all files."""
        return sum(file.rows for file in self.files)


def compared(settings: PlotSettings) -> Comparison:
    """Open and count all files.

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
        edges = _edges(files, BinChoice(settings.bins, settings.central_share))
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
            known = {name for file in files for name in known_names(file.scalars)}
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
    """Give each file its variable; the quantities that come of it, one for each unit."""
    quantities: list[Quantity] = []
    title = None
    for file in files:
        variable = find_variable(names, file.scalars)
        if variable is None:
            continue
        title = title or variable.name
        unit = _unit(file, variable)
        quantity = Quantity(title, unit)
        file.variables[quantity] = variable
        if quantity not in quantities:
            quantities.append(quantity)
    return quantities


def _unit(file: ComparedFile, variable: Variable) -> str:
    said = "" if variable.shape == "count" else file.units.get(variable.column, "")
    # A column of which nothing is known overlays with one that has no unit.
    return "" if said == "1" else said


def _assign_columns(files: list[ComparedFile]) -> dict[str, list[Quantity]]:
    names = dict.fromkeys([name for file in files for name in file.scalars])
    names |= dict.fromkeys([name for kind in CONSTITUENTS for name in kind.columns])
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


def _edges(files: list[ComparedFile], choice: BinChoice) -> dict[Quantity, NDArray[np.float64]]:
    quantities = dict.fromkeys(quantity for file in files for quantity in file.variables)
    # All that there can be: their means are read off the histograms.
    edges: dict[Quantity, NDArray[np.float64]] = {}
    edges |= {
        Quantity(f"n_{kind.name}", ""): np.arange(kind.limit + 2, dtype=np.float64) - 0.5 for kind in CONSTITUENTS
    }
    for quantity in quantities:
        if quantity in edges:
            continue
        samples = [
            sample
            for file in files
            if quantity in file.variables
            for sample in file.survey.samples_of(file.variables[quantity])
        ]
        edges[quantity] = bin_edges(samples, choice)
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
    file.counts = {
        quantity: dict(zip(classes, counter.counts(), strict=True)) for quantity, counter in counters.items()
    }

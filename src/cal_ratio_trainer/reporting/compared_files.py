"""Files of jets that are to be compared: what each is called, what it is, and what was found in it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cal_ratio_trainer.config.plot import PlotInput, PlotSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.evaluation.survey import JetClass, Survey
from cal_ratio_trainer.evaluation.variable_histograms import Counts
from cal_ratio_trainer.evaluation.variables import Variable
from cal_ratio_trainer.files.cache import local_copy
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.jet_file import LoadReport
from cal_ratio_trainer.jets.loading import is_built, open_jets
from cal_ratio_trainer.jets.metadata import JetMetadata, built_units, converted_units

DEMO = "demo"


@dataclass(frozen=True)
class Quantity:
    """What one figure shows: an entry of the list of variables, in one unit.

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
        metadata: what it says of itself.
        report: what was met when it was opened.
        scalars: its scalar columns.
        rows: how many jets it holds.
        built: its values are scaled.
        survey: of the first pass.
        counts: of the second pass: for each quantity, one histogram a class.
    """

    name: str
    source: str
    path: Path
    metadata: JetMetadata
    report: LoadReport
    scalars: list[str]
    rows: int
    built: bool
    variables: dict[Quantity, Variable] = field(default_factory=dict)
    survey: Survey = field(default_factory=lambda: Survey((), 0, ""))
    counts: dict[Quantity, dict[JetClass, Counts]] = field(default_factory=dict)

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit of every column whose unit is known."""
        return self.metadata.units or (built_units() if self.built else converted_units())

    @property
    def is_control(self) -> bool:
        """True for a control-region file; a frame that says nothing is one where it knows no masses."""
        if self.metadata.stage == "unknown":
            return self.report.looks_like_control_region
        return self.metadata.kind == "control" or self.metadata.data_type == DataType.DATA

    def jets_of(self, label: int) -> int:
        """How many jets have a label."""
        return sum(tally.jets for each, tally in self.survey.classes.items() if each.label == label)

    @property
    def masses(self) -> list[tuple[float, float]]:
        """The (mH, mS) of its signal, rising."""
        return sorted(each.masses for each in self.survey.classes if each.masses is not None)

    def total(
        self, quantity: Quantity, label: int | None = None, masses: tuple[float, float] | None = None
    ) -> Counts | None:
        """The histogram of all jets, of a label, or of a pair of masses; None where the file has no such jets."""
        parts = [
            counts
            for each, counts in self.counts.get(quantity, {}).items()
            if (label is None or each.label == label) and (masses is None or each.masses == masses)
        ]
        parts = [part for part in parts if part.jets]
        return sum(parts[1:], start=parts[0]) if parts else None


def opened_files(settings: PlotSettings) -> list[ComparedFile]:
    """All files, opened but not yet looked through.

    Raises:
        InputFileError, MissingColumn, ForbiddenPickle: a file cannot be used.
        ConfigError: 'demo' is given more often than there are demo files.
    """
    inputs = _without_demo(settings)
    names = _names(inputs)
    # All are opened before the first is read: a mistake in the last one is told at once.
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
            # A mistyped or damaged file is told before the demo is made for the other one.
            open_jets(local_copy(given.input_file, settings.cache_path))
    # Simulation and conversion bring uproot and awkward along, which files alone do not need.
    from cal_ratio_trainer.simulation.demo_data import demo_training_files

    made = demo_training_files(settings.cache_path)
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
    first = next(iter(file.batches(1000)), Jets.empty()) if file.metadata.stage == "unknown" else Jets.empty()
    built = is_built(file.metadata, first)
    return ComparedFile(name, source, path, file.metadata, file.report, file.scalar_names(), file.rows, built)

"""Common style of all figures: colours, classes of jets, the legend's box, the heading. Needs no matplotlib."""

from dataclasses import dataclass
from typing import Any, Literal

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.jets.labels import CLASS_NAMES
from cal_ratio_trainer.jets.metadata import DataTaking

# Distinguishable without colour too, by fill, line and marker. From the colour-blind safe set of Okabe and Ito.
RED, BLUE, ORANGE, GREY = "#d62728", "#0072b2", "#e08a00", "#6e6e6e"


@dataclass(frozen=True)
class ClassStyle:
    """Name and appearance of a class of jets, or of the network's output for it.

    Attributes:
        title: for legends and axes.
        colour: of lines, areas and points.
        line: style as a line.
        marker: style as points, of an efficiency or of a test part.
        is_open: its marker is not filled.
        is_area: its score histogram is a filled area.
        is_data: its score histogram is points with errors, which is how data are drawn and nothing else.
    """

    title: str
    colour: str
    line: str = "-"
    marker: str = "o"
    is_open: bool = False
    is_area: bool = False
    is_data: bool = False

    @property
    def points(self) -> dict[str, Any]:
        """Colour and marker as matplotlib's arguments."""
        return {
            "color": self.colour,
            "marker": self.marker,
            **({"markerfacecolor": "white"} if self.is_open else {}),
        }


def _style(name: str, colour: str, **appearance: Any) -> ClassStyle:
    title = CLASS_NAMES[name]
    return ClassStyle(title[0].upper() + title[1:], colour, **appearance)


CLASS_STYLES = {
    "sig": _style("sig", RED, line="-", marker="^", is_area=True),
    "qcd": _style("qcd", BLUE, line="--", marker="s", is_open=True),
    "bib": _style("bib", "black", line=":", is_data=True),
    "mc": _style("mc", BLUE, is_area=True),
    "data": _style("data", "black", is_data=True),
    "jets": _style("jets", BLUE, is_area=True),
}
"""The classes of jets, by their keys in files; the first three are the network's outputs too. BIB jets are data."""


def output_title(output: str) -> str:
    """Name of one of the network's outputs for axes and captions, e.g. 'Signal output'."""
    return f"{CLASS_STYLES[output].title} output"


@dataclass(frozen=True)
class FigureLabels:
    """Labels of a figure about its data.

    Attributes:
        experiment: 'ATLAS', or 'demo' for the built-in simulation.
        status: e.g. 'Internal'; may be empty.
        energy_tev: centre-of-mass energy in TeV; None leaves it out.
        luminosity_fb: integrated luminosity in 1/fb; None leaves it out.
        simulation: all jets are simulated, and the heading says so.
        plot_format: 'png', 'pdf' or 'both'; a PDF has a PNG beside it in each case, which pages show.
        years: of data taking, e.g. '2015-2018'; empty leaves them out.

    Raises:
        ValueError: a demo is given a luminosity or not called a simulation.
    """

    experiment: str
    status: str
    energy_tev: float | None
    luminosity_fb: float | None
    simulation: bool
    plot_format: Literal["png", "pdf", "both"] = "png"
    years: str = ""

    def __post_init__(self) -> None:
        if self.experiment.casefold() == "demo" and (self.luminosity_fb is not None or not self.simulation):
            raise ValueError("the demo is a simulation and has no luminosity")

    @property
    def qualifiers(self) -> str:
        """Text after the experiment's name."""
        word = "simulation" if self.experiment.islower() else "Simulation"
        return " ".join(part for part in (word if self.simulation else "", self.status) if part)

    @property
    def conditions(self) -> str:
        """Years, energy and luminosity, in matplotlib's mathematical text; empty where none is known."""
        energy = f"√$s$ = {self.energy_tev:g} TeV" if self.energy_tev is not None else ""
        luminosity = f"{self.luminosity_fb:g} fb$^{{-1}}$" if self.luminosity_fb is not None else ""
        return ", ".join(part for part in (self.years, energy, luminosity) if part)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that a figure becomes."""
        return (".png",) if self.plot_format == "png" else (".png", ".pdf")


ATLAS_INTERNAL = FigureLabels("ATLAS", "Internal", energy_tev=None, luminosity_fb=None, simulation=False)
_DEMO_TEV = 13.0
DEMO = FigureLabels("demo", "", energy_tev=_DEMO_TEV, luminosity_fb=None, simulation=True)


def figure_labels(settings: FigureSettings, *sources: DataTaking | str | None) -> FigureLabels:
    """The heading for jets of some files.

    Years and energy come from the run numbers of the jets, unless a setting gives the energy; nothing tells which share
    of the luminosity of a year the files hold, so that only a setting gives it.

    Args:
        settings: of the command.
        sources: what the jets of each file are; or only their simulation, as in the file's metadata: 'demo' for the
            built-in one, which is never called the experiment's. None is the experiment's own, whose jets are never
            called the demo's: a figure of both says both.
    """
    known = [each if isinstance(each, DataTaking) else DataTaking(each) for each in sources]
    named = sorted({each.simulation for each in known if each.simulation is not None})
    real = [each for each in known if each.simulation is None]
    energies = {energy for each in real for energy in each.energies_tev} | ({_DEMO_TEV} if named else set())
    is_told = len(energies) == 1 and all(each.energies_tev for each in real)
    energy = settings.energy_tev or (energies.pop() if is_told else None)
    if named and not real:
        return FigureLabels(" and ".join(named), "", energy, None, True, settings.plot_format)
    return FigureLabels(
        f"{' and '.join([settings.experiment, *named])} simulation" if named else settings.experiment,
        settings.status,
        energy,
        None if named else settings.luminosity_fb,
        simulation=bool(real) and not named and all(each.is_simulation for each in real),
        plot_format=settings.plot_format,
        years=_years({year for each in real for year in each.years}),
    )


def _years(years: set[int]) -> str:
    """'2015–2018' where none is missing in between, '2016, 2018' otherwise."""
    if len(years) < 2:
        return "".join(map(str, years))
    first, last = min(years), max(years)
    if len(years) == last - first + 1:
        return f"{first}–{last}"
    return ", ".join(map(str, sorted(years)))

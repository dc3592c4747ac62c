"""How every figure looks and is written: ATLAS style, a heading above the frame, one PNG, complete or not at all.

Figures are made with matplotlib's objects on the Agg canvas; pyplot's state and the user's backend are not touched.
matplotlib and mplhep are imported with the first figure only.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart without colour too: by fill, line and marker. From the colour-blind safe set of Okabe and Ito.
RED, BLUE, ORANGE, GREY = "#d62728", "#0072b2", "#e08a00", "#6e6e6e"

# Where there is nowhere else to go, a legend stays readable on top of data and lets them be seen.
LEGEND_BOX: dict[str, Any] = {"frameon": True, "framealpha": 0.7, "edgecolor": "none", "fancybox": False}

# matplotlib's settings are global; the style holds for one figure at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class FigureLabels:
    """What the heading of a figure says about its data.

    Attributes:
        experiment: 'ATLAS', or 'demo' for the built-in simulation.
        status: e.g. 'Internal'; may be empty.
        energy_tev: centre-of-mass energy in TeV; None leaves it out.
        luminosity_fb: integrated luminosity in 1/fb; None leaves it out.
        simulation: all jets are simulated, and the heading says so.

    Raises:
        ValueError: a demo is given a luminosity or not called a simulation.
    """

    experiment: str
    status: str
    energy_tev: float | None
    luminosity_fb: float | None
    simulation: bool

    def __post_init__(self) -> None:
        if self.experiment.casefold() == "demo" and (self.luminosity_fb is not None or not self.simulation):
            raise ValueError("the demo is a simulation and has no luminosity")

    @property
    def qualifiers(self) -> str:
        """What stands behind the experiment's name."""
        word = "simulation" if self.experiment.islower() else "Simulation"
        return " ".join(part for part in (word if self.simulation else "", self.status) if part)

    @property
    def conditions(self) -> str:
        """Energy and luminosity, in matplotlib's mathematical text; empty where neither is known."""
        energy = f"√$s$ = {self.energy_tev:g} TeV" if self.energy_tev is not None else ""
        luminosity = f"{self.luminosity_fb:g} fb$^{{-1}}$" if self.luminosity_fb is not None else ""
        return ", ".join(part for part in (energy, luminosity) if part)


ATLAS_INTERNAL = FigureLabels("ATLAS", "Internal", energy_tev=13, luminosity_fb=139, simulation=False)
DEMO = FigureLabels("demo", "", energy_tev=13, luminosity_fb=None, simulation=True)


@contextmanager
def drawing(path: Path, labels: FigureLabels) -> Iterator["Axes"]:
    """Empty axes in ATLAS style; the figure is written to `path` when the block ends well.

    Args:
        path: the PNG file; replaced in one step.
        labels: for the heading above the frame, where it covers no data.

    Raises:
        OSError: the file cannot be written; it is then as it was.
    """
    import matplotlib

    with _ONE_AT_A_TIME, matplotlib.rc_context(_style()):
        canvas = _canvas()
        (axes,) = canvas.figure.axes
        try:
            _empty(axes)
            yield axes
            _add_heading(axes, labels)
            with replacing(path) as temporary:
                # No program version inside: the same figure gives the same bytes.
                canvas.print_png(temporary, metadata={"Software": None})
        except BaseException:
            _canvas.cache_clear()
            raise


@cache
def _style() -> Any:
    import mplhep

    return {
        **mplhep.style.ATLAS,
        # Plain tick labels: mathematical text on every tick takes half of the drawing time.
        "axes.formatter.use_mathtext": False,
        # A common factor or offset would stand where the heading is.
        "axes.formatter.limits": (-4, 5),
        "axes.formatter.useoffset": False,
        "axes.autolimit_mode": "data",
        # Room for tick labels of seven characters: an AUC needs them.
        "axes.labelsize": 18,
        "xtick.labelsize": 14,
        "ytick.labelsize": 14,
    }


@cache
def _canvas() -> Any:
    """The one canvas that all figures are drawn on: making its ticks anew takes as long as all the rest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100)
    axes = figure.add_axes((0.145, 0.125, 0.825, 0.8))
    # Where a factor cannot be helped, left of the heading.
    axes.yaxis.get_offset_text().set_x(-0.12)
    return FigureCanvasAgg(figure)


def _empty(axes: "Axes") -> None:
    legend = axes.get_legend()
    for artist in [*axes.lines, *axes.patches, *axes.collections, *axes.texts, *([legend] if legend else [])]:
        artist.remove()
    axes.containers.clear()
    # Setting a scale brings its locators and formatters back to their defaults, minor ticks included.
    axes.set_xscale("linear")
    axes.set_yscale("linear")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="", ylabel="")


def _add_heading(axes: "Axes", labels: FigureLabels) -> None:
    name = axes.text(
        0.0, 1.02, labels.experiment, transform=axes.transAxes, fontsize=18, fontweight="bold", fontstyle="italic"
    )
    axes.annotate(
        labels.qualifiers,
        xy=(1.0, 0.0),
        xycoords=name,
        xytext=(7, 0),
        textcoords="offset points",
        fontsize=18,
        va="bottom",
    )
    axes.text(1.0, 1.02, labels.conditions, transform=axes.transAxes, fontsize=15, ha="right")

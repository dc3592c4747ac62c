"""How every figure looks and is written: ATLAS style, a heading above the frame, PNG or PDF, complete or not at all.

Figures are made with matplotlib's objects on the Agg canvas; pyplot's state and the user's backend are not touched.
matplotlib and mplhep are imported with the first figure only.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cal_ratio_trainer.config.figures import FigureSettings
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
        plot_format: 'png', 'pdf' or 'both'; which files a figure becomes.

    Raises:
        ValueError: a demo is given a luminosity or not called a simulation.
    """

    experiment: str
    status: str
    energy_tev: float | None
    luminosity_fb: float | None
    simulation: bool
    plot_format: Literal["png", "pdf", "both"] = "png"

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

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that a figure becomes."""
        return (".png", ".pdf") if self.plot_format == "both" else (f".{self.plot_format}",)


ATLAS_INTERNAL = FigureLabels("ATLAS", "Internal", energy_tev=13, luminosity_fb=139, simulation=False)
DEMO = FigureLabels("demo", "", energy_tev=13, luminosity_fb=None, simulation=True)


def figure_labels(settings: FigureSettings, simulation: str | None) -> FigureLabels:
    """The heading for jets of a file.

    Args:
        settings: of the command.
        simulation: as in the file's metadata; 'demo' for the built-in one, which is never called the experiment's.
    """
    if simulation is not None:
        return FigureLabels(simulation, "", settings.energy_tev, None, True, settings.plot_format)
    return FigureLabels(
        settings.experiment,
        settings.status,
        settings.energy_tev,
        settings.luminosity_fb,
        simulation=False,
        plot_format=settings.plot_format,
    )


@contextmanager
def drawing(path: Path, labels: FigureLabels) -> Iterator["Axes"]:
    """Empty axes in ATLAS style; the figure is written when the block ends well.

    Args:
        path: the file without its ending, which `labels` decides; each is replaced in one step.
        labels: for the heading above the frame, where it covers no data.

    Raises:
        OSError: the file cannot be written; it is then as it was.
    """
    with _drawing(path, labels, "one panel") as panels:
        yield panels[0]


@contextmanager
def drawing_with_ratio(path: Path, labels: FigureLabels) -> Iterator[tuple["Axes", "Axes"]]:
    """The same with a lower panel for ratios that shares the x axis: (main axes, ratio axes)."""
    with _drawing(path, labels, "with ratio") as panels:
        yield panels[0], panels[1]


@contextmanager
def _drawing(path: Path, labels: FigureLabels, layout: str) -> Iterator[tuple["Axes", ...]]:
    import matplotlib

    with _ONE_AT_A_TIME, matplotlib.rc_context(_style()):
        canvas = _canvas(layout)
        panels = tuple(canvas.figure.axes)
        try:
            for axes in panels:
                _empty(axes)
            yield panels
            _add_heading(panels[0], labels)
            for suffix in labels.suffixes:
                with replacing(path.with_name(path.name + suffix)) as temporary:
                    _print(canvas, temporary, suffix)
        except BaseException:
            _canvas.cache_clear()
            raise


def _print(canvas: Any, path: Path, suffix: str) -> None:
    # No program version and no date inside: the same figure gives the same bytes.
    if suffix == ".pdf":
        canvas.print_figure(path, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    else:
        canvas.print_png(path, metadata={"Software": None})


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
def _canvas(layout: str) -> Any:
    """The one canvas that all figures of a layout are drawn on: making its ticks anew takes as long as all the rest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100)
    if layout == "with ratio":
        main = figure.add_axes((0.145, 0.345, 0.825, 0.58))
        figure.add_axes((0.145, 0.125, 0.825, 0.2), sharex=main)
        main.tick_params(labelbottom=False)
    else:
        main = figure.add_axes((0.145, 0.125, 0.825, 0.8))
    # Where a factor cannot be helped, left of the heading.
    main.yaxis.get_offset_text().set_x(-0.12)
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

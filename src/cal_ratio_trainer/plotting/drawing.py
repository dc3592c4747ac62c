"""Figures: what is to be drawn, and the axes in ATLAS style that it is drawn on.

A `Drawing` holds a name, a function and small arrays, so it can be sent to another process, drawn now or later, or left
out. Figures are made with matplotlib's objects on the Agg canvas; pyplot and the user's backend are not touched.
matplotlib and mplhep are imported with the first figure only.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.plotting.style import FigureLabels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEGEND_LINE, _LEGEND_GAP = 0.036, 0.012
"""Height of a line of a legend, and space between legend and heading, as shares of the figure."""
_LEGEND_WIDTH, _HANDLE, _LETTER = 504.0, 45.0, 5.5
"""Width of frame, margin right of it and gap between columns; of line or marker with gap; of a letter. [points]"""
_POINTS_AN_INCH, _LETTER_BY_SIZE = 72, 0.53
_MAIN_PANEL = "main panel"
_WIDTH, _TOP, _HEADING = 0.825, 0.925, 0.941
"""Width and upper end of the main panel, and the base line of the heading, as shares of the figure."""

_NOTHING = {"CreationDate": None, "Creator": None, "Producer": None}
"""Metadata of a PDF without program version and date: the same figure gives the same bytes."""

# matplotlib's settings are global; the style holds for one figure at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: name of the file, without folder and ending.
        draw: function of a module's top level, called with the axes (main and ratio axes of a figure with two panels)
            and `content`. The axes are used again: what it does beyond drawing on them and setting scales, limits,
            titles, ticks and their labels would stay for the next figure.
        content: dataclasses of numbers and small arrays, as processes can send them.
        with_ratio: there is a second panel below for ratios, which shares the x axis.
        caption: description in plain words for a page, where it is also the alternative text; empty for the name.
    """

    name: str
    draw: Callable[..., None]
    content: tuple[Any, ...]
    with_ratio: bool = False
    caption: str = ""

    def write(self, folder: Path, labels: FigureLabels) -> list[Path]:
        """Draws it.

        Returns:
            The files written: a PNG, and a PDF if `labels` asks for one; each is replaced in one step.

        Raises:
            OSError: a file cannot be written; it is then as it was.
        """
        files = [folder / f"{self.name}{suffix}" for suffix in labels.suffixes]
        with _ONE_AT_A_TIME, _settings():
            canvas = _canvas(self.with_ratio)
            try:
                self._draw_on(canvas.figure, labels)
                for file in files:
                    # A figure can be drawn again: it need not outlive a power cut, and waiting for the disk would
                    # take longer than drawing.
                    with replacing(file, durable=False) as temporary:
                        if file.suffix == ".pdf":
                            canvas.print_figure(temporary, format="pdf", metadata=_NOTHING)
                        else:
                            temporary.write_bytes(_png(canvas))
            except BaseException:
                _canvas.cache_clear()
                raise
        return files

    def figure(self, labels: FigureLabels) -> "Figure":
        """A matplotlib figure of it in the same style, for a notebook or to change further; nothing is written."""
        with _ONE_AT_A_TIME, _settings():
            figure: Figure = _new_canvas(self.with_ratio).figure
            figure.__class__ = _notebook_figure()
            self._draw_on(figure, labels)
        return figure

    def _draw_on(self, figure: "Figure", labels: FigureLabels) -> None:
        panels = figure.axes
        for axes in panels:
            _empty(axes)
        self.draw(*panels, *self.content)
        _fit_titles(panels)
        _add_heading(panels[0], labels)


@cache
def _notebook_figure() -> Any:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows without pyplot and its backends."""

        def _repr_png_(self) -> bytes:
            content = BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    return NotebookFigure


def write_all(drawings: Iterable[Drawing], folder: Path, labels: FigureLabels) -> list[Path]:
    """Draws several drawings in turn; returns the written files."""
    return [file for each in drawings for file in each.write(folder, labels)]


def _png(canvas: Any) -> bytes:
    """The figure as PNG with a palette: half as large, which counts for a page that holds many figures.

    No colour moves by more than some 5 of 255. Nothing but the image is inside: the same figure gives the same bytes.
    """
    from PIL import Image

    canvas.draw()
    # With the opacity, quantisation would spend colours on it.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    content = BytesIO()
    image.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(content, "png", dpi=(100, 100))
    return content.getvalue()


def legend_above(axes: "Axes", text: str = "", columns: int = 3, handles: Any = None, names: Any = None) -> None:
    """Places the legend between heading and frame, which gets lower: no data are covered, no axis is stretched.

    Args:
        axes: the main axes of a figure.
        text: lines above the entries.
        columns: entries beside each other, if these are not too long.
        handles, names: entries, in place of those of the artists with a label.
    """
    if handles is None:
        handles, names = axes.get_legend_handles_labels()
    names = [str(name) for name in names]
    columns = _columns_of_legend([len(name) for name in names], columns)
    lines = -(-len(names) // columns) + (len(text.splitlines()) if text else 0)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, width, height - _LEGEND_LINE * lines - _LEGEND_GAP))
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderpad=0,
        borderaxespad=0.3,
        ncols=columns,
        fontsize=12,
        title=text or None,
        title_fontsize=12,
        alignment="left",
        frameon=False,
        handlelength=1.8,
        columnspacing=1.2,
        labelspacing=0.25,
    )


def _columns_of_legend(lengths: list[int], most: int) -> int:
    """Number of columns, at most `most`, in which entries of so many letters fit beside each other."""
    for columns in range(min(most, len(lengths)), 1, -1):
        # matplotlib fills the columns in the same way.
        widths = [_HANDLE + _LETTER * max(part) for part in np.array_split(lengths, columns)]
        if sum(widths) <= _LEGEND_WIDTH:
            return columns
    return 1


@contextmanager
def _settings() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_style()):
        yield


@cache
def _style() -> Any:
    import mplhep

    return {
        **mplhep.style.ATLAS,
        # Plain tick labels: mathematical text on every tick takes half of the drawing time.
        "axes.formatter.use_mathtext": False,
        # A common factor or offset would be written over the heading.
        "axes.formatter.limits": (-4, 5),
        "axes.formatter.useoffset": False,
        "axes.autolimit_mode": "data",
        # As in all other text; mplhep writes hyphens.
        "axes.unicode_minus": True,
        # Room for tick labels of seven characters: an AUC needs them.
        "axes.labelsize": 18,
        "xtick.labelsize": 14,
        "ytick.labelsize": 14,
    }


@cache
def _canvas(with_ratio: bool) -> Any:
    """The one canvas that all figures of a layout are drawn on: making its ticks anew takes as long as all the rest."""
    return _new_canvas(with_ratio)


def _new_canvas(with_ratio: bool) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100)
    if with_ratio:
        main = figure.add_axes((0.145, 0.345, 0.825, 0.58), label=_MAIN_PANEL)
        figure.add_axes((0.145, 0.125, 0.825, 0.2), sharex=main)
        main.tick_params(labelbottom=False)
    else:
        main = figure.add_axes((0.145, 0.125, 0.825, 0.8), label=_MAIN_PANEL)
    # An unavoidable factor goes left of the heading.
    main.yaxis.get_offset_text().set_x(-0.12)
    return FigureCanvasAgg(figure)


def _empty(axes: "Axes") -> None:
    legend = axes.get_legend()
    drawn = (*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.artists, *axes.texts)
    for artist in (*drawn, *([legend] if legend else [])):
        artist.remove()
    for inset in list(axes.child_axes):
        inset.remove()
    axes.containers.clear()
    if axes.get_label() == _MAIN_PANEL:
        left, bottom, _, _ = axes.get_position(original=True).bounds
        axes.set_position((left, bottom, _WIDTH, _TOP - bottom))
    # Setting a scale brings its locators and formatters back to their defaults, minor ticks included.
    axes.set_xscale("linear")
    axes.set_yscale("linear")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="", ylabel="")
    axes.set_axisbelow(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(_style()["axes.labelsize"])
    # Lines without a colour of their own begin with the first one.
    axes.set_prop_cycle(None)


def _fit_titles(panels: Iterable["Axes"]) -> None:
    """Makes the title of a y axis so small that it is not longer than its panel is high."""
    for axes in panels:
        title = axes.yaxis.label
        longest = max((len(re.sub(r"[$_{}\\]", "", line)) for line in title.get_text().splitlines()), default=0)
        if longest:
            room = axes.bbox.height / axes.figure.dpi * _POINTS_AN_INCH
            title.set_fontsize(max(min(float(title.get_fontsize()), room / (_LETTER_BY_SIZE * longest)), 9.0))


def _add_heading(axes: "Axes", labels: FigureLabels) -> None:
    from matplotlib.transforms import blended_transform_factory

    # At the same height whether there is a legend above the frame or not.
    place = blended_transform_factory(axes.transAxes, axes.figure.transFigure)
    name = axes.text(
        0.0, _HEADING, labels.experiment, transform=place, fontsize=18, fontweight="bold", fontstyle="italic"
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
    axes.text(1.0, _HEADING, labels.conditions, transform=place, fontsize=15, ha="right")

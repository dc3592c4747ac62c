"""Figures: what is to be drawn, and the axes in ATLAS style that it is drawn on.

A `Drawing` holds a name, a function and small arrays, so it can be sent to another process, drawn now or later, or left
out. Figures are made with matplotlib's objects on the Agg canvas; pyplot and the user's backend are not touched.
matplotlib and mplhep are imported with the first figure only.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.plotting.png import png_bytes
from cal_ratio_trainer.plotting.style import FigureLabels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib's settings are global; the style holds for one figure at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without folder and ending.
        draw: a function of a module's top level; called with the axes (the main and the ratio axes where there are
            two) and `content`.
        content: its content: dataclasses of numbers and small arrays, as processes can send them.
        with_ratio: it has a second panel below for ratios.
        default_ticks: nothing is done to axes, titles or frame but setting scales, limits, titles, major ticks with
            labels of their own, and a legend above the frame; other ticks are those that matplotlib chooses for
            scales and limits. Such figures share what is around their data, and take half the time.
    """

    name: str
    draw: Callable[..., None]
    content: tuple[Any, ...]
    with_ratio: bool = False
    default_ticks: bool = False

    def write(self, folder: Path, labels: FigureLabels) -> list[Path]:
        """Draws it.

        Returns:
            The files written: a PNG, a PDF or both, as `labels` says.

        Raises:
            OSError: a file cannot be written; it is then as it was.
        """
        path = folder / self.name
        if self.with_ratio:
            with drawing_with_ratio(path, labels, self.default_ticks) as panels:
                self.draw(*panels, *self.content)
        else:
            with drawing(path, labels, self.default_ticks) as axes:
                self.draw(axes, *self.content)
        return [path.with_name(path.name + suffix) for suffix in labels.suffixes]

    def figure(self, labels: FigureLabels) -> "Figure":
        """A matplotlib figure of it in the same style, for a notebook or to change further; nothing is written."""
        with _ONE_AT_A_TIME, _settings():
            figure: Figure = _new_canvas("with ratio" if self.with_ratio else "one panel").figure
            figure.__class__ = _notebook_figure()
            panels = figure.axes
            for axes in panels:
                _empty(axes)
            self.draw(*panels, *self.content)
            _fit_titles(panels)
            _add_heading(panels[0], labels)
        return figure


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


@contextmanager
def drawing(path: Path, labels: FigureLabels, default_ticks: bool = False) -> Iterator["Axes"]:
    """Empty axes in ATLAS style; the figure is written when the block ends well.

    The axes are used again: what is done to them beyond drawing on them and setting scales, limits, titles, ticks and
    their labels would stay for the next figure.

    Args:
        path: the file without its ending, which `labels` decides; each is replaced in one step.
        labels: for the heading above the frame, where it covers no data.
        default_ticks: see `Drawing`.

    Raises:
        OSError: the file cannot be written; it is then as it was.
    """
    with _drawing(path, labels, "one panel", default_ticks) as panels:
        yield panels[0]


@contextmanager
def drawing_with_ratio(
    path: Path, labels: FigureLabels, default_ticks: bool = False
) -> Iterator[tuple["Axes", "Axes"]]:
    """The same with a lower panel for ratios that shares the x axis: (main axes, ratio axes)."""
    with _drawing(path, labels, "with ratio", default_ticks) as panels:
        yield panels[0], panels[1]


def legend_above(axes: "Axes", text: str = "", columns: int = 3, handles: Any = None, names: Any = None) -> None:
    """Places the legend between heading and frame, which gets lower: no data are covered, no axis is stretched.

    Args:
        axes: the main axes of a figure.
        text: lines above the entries.
        columns: entries beside each other, where these are not too long.
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


_LEGEND_LINE, _LEGEND_GAP = 0.036, 0.012
"""Height of a line of a legend, and space between legend and heading, as shares of the figure."""
_LEGEND_WIDTH, _HANDLE, _LETTER = 504.0, 45.0, 5.5
"""Width of frame, margin right of it and gap between columns; of line or marker with gap; of a letter. [points]"""


@contextmanager
def _drawing(path: Path, labels: FigureLabels, layout: str, default_ticks: bool) -> Iterator[tuple["Axes", ...]]:
    with _ONE_AT_A_TIME, _settings():
        canvas = _canvas(layout)
        panels = tuple(canvas.figure.axes)
        try:
            for axes in panels:
                _empty(axes)
            yield panels
            _fit_titles(panels)
            heading = _add_heading(panels[0], labels)
            for suffix in labels.suffixes:
                # A figure can be drawn again: it need not outlive a power cut, and waiting for the disk would take
                # longer than drawing.
                with replacing(path.with_name(path.name + suffix), durable=False) as temporary:
                    if suffix == ".pdf":
                        # No program version and no date inside: the same figure gives the same bytes.
                        nothing = {"CreationDate": None, "Creator": None, "Producer": None}
                        canvas.print_figure(temporary, format="pdf", metadata=nothing)
                    else:
                        temporary.write_bytes(_png(canvas, heading, (layout, labels) if default_ticks else None))
        except BaseException:
            _canvas.cache_clear()
            raise


def _png(canvas: Any, heading: list["Artist"], shared_by: tuple[str, FigureLabels] | None) -> bytes:
    if shared_by is None:
        canvas.draw()
        return png_bytes(canvas.buffer_rgba())
    return png_bytes(shared_frame(canvas, heading, shared_by).drawn_over(canvas, heading))


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
        # A common factor or offset would stand where the heading is.
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
def _canvas(layout: str) -> Any:
    """The one canvas that all figures of a layout are drawn on: making its ticks anew takes as long as all the rest."""
    return _new_canvas(layout)


def _new_canvas(layout: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100)
    if layout == "with ratio":
        main = figure.add_axes((0.145, 0.345, 0.825, 0.58), label=_MAIN_PANEL)
        figure.add_axes((0.145, 0.125, 0.825, 0.2), sharex=main)
        main.tick_params(labelbottom=False)
    else:
        main = figure.add_axes((0.145, 0.125, 0.825, 0.8), label=_MAIN_PANEL)
    # Where a factor cannot be helped, left of the heading.
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


_POINTS_AN_INCH, _LETTER_BY_SIZE = 72, 0.53
_MAIN_PANEL = "main panel"
_WIDTH, _TOP, _HEADING = 0.825, 0.925, 0.941
"""Width and upper end of the main panel, and the base line of the heading, as shares of the figure."""


def _add_heading(axes: "Axes", labels: FigureLabels) -> list["Artist"]:
    from matplotlib.transforms import blended_transform_factory

    # At the same height whether a legend stands above the frame or not.
    place = blended_transform_factory(axes.transAxes, axes.figure.transFigure)
    name = axes.text(
        0.0, _HEADING, labels.experiment, transform=place, fontsize=18, fontweight="bold", fontstyle="italic"
    )
    behind = axes.annotate(
        labels.qualifiers,
        xy=(1.0, 0.0),
        xycoords=name,
        xytext=(7, 0),
        textcoords="offset points",
        fontsize=18,
        va="bottom",
    )
    right = axes.text(1.0, _HEADING, labels.conditions, transform=place, fontsize=15, ha="right")
    return [name, behind, right]


_KEPT = 64

_frames: "OrderedDict[Hashable, Frame]" = OrderedDict()


@dataclass(frozen=True, eq=False)
class Frame:
    """The pixels of a frame.

    Attributes:
        positions: [pixels] of those that are not empty, in the image row by row.
        colours: [pixels, 4] red, green, blue and opacity, 0 to 255.
    """

    positions: NDArray[np.intp]
    colours: NDArray[np.uint8]

    def drawn_over(self, canvas: Any, heading: list["Artist"]) -> NDArray[np.uint8]:
        """The image of the figure's data with this frame on top, [height, width, 4]; the ticks stay in sight."""
        with _hidden([*_of_frame(canvas.figure.axes), *heading]):
            canvas.draw()
        image: NDArray[np.uint8] = np.array(canvas.buffer_rgba())
        pixels = image.reshape(-1, 4)
        below = pixels[self.positions, :3].astype(np.uint16)
        opacity = self.colours[:, 3:].astype(np.uint16)
        mixed = (self.colours[:, :3] * opacity + below * (255 - opacity) + 127) // 255
        pixels[self.positions, :3] = mixed.astype(np.uint8)
        return image


def shared_frame(canvas: Any, heading: list["Artist"], kind: Hashable) -> Frame:
    """The frame of the figure, drawn only if no earlier figure had the same.

    Args:
        canvas: holds the figure, whose ticks follow from scales and limits alone.
        heading: the artists of the heading, which belong to the frame.
        kind: layout and text of the heading.
    """
    states = (
        (
            *(axes.get_xscale(), axes.get_yscale(), axes.get_xlim(), axes.get_ylim()),
            *(axes.get_xlabel(), axes.get_ylabel(), axes.get_position().bounds),
            tuple(axes.get_xticks()),
        )
        for axes in canvas.figure.axes
    )
    key = (kind, *states)
    if key not in _frames:
        _frames[key] = _draw(canvas, heading)
        if len(_frames) > _KEPT:
            _frames.popitem(last=False)
    _frames.move_to_end(key)
    return _frames[key]


def _draw(canvas: Any, heading: list["Artist"]) -> Frame:
    panels = canvas.figure.axes
    frame = {id(artist) for artist in (*_of_frame(panels), *heading)}
    data = [artist for axes in panels for artist in axes.get_children() if id(artist) not in frame]
    background = canvas.figure.patch
    opacity = background.get_alpha()
    background.set_alpha(0.0)
    try:
        with _hidden(data):
            canvas.draw()
        pixels = np.array(canvas.buffer_rgba()).reshape(-1, 4)
    finally:
        background.set_alpha(opacity)
    positions = np.flatnonzero(pixels[:, 3])
    return Frame(positions, pixels[positions])


def _of_frame(panels: Iterable["Axes"]) -> list["Artist"]:
    return [artist for axes in panels for artist in (axes.xaxis, axes.yaxis, *axes.spines.values())]


@contextmanager
def _hidden(artists: list["Artist"]) -> Iterator[None]:
    shown = [artist for artist in artists if artist.get_visible()]
    for artist in shown:
        artist.set_visible(False)
    try:
        yield
    finally:
        for artist in shown:
            artist.set_visible(True)

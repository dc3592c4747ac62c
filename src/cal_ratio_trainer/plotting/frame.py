"""Frame of a figure: axes, ticks, titles, heading. Figures of one kind share it as pixels.

It takes twice as long to draw as the data, and 18 figures an epoch have but a few different ones.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

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
    """The frame of the figure as it is, drawn where no figure before had the same.

    Args:
        canvas: holds the figure, whose ticks follow from scales and limits alone.
        heading: the artists of the heading, which belong to the frame.
        kind: layout and text of the heading.
    """
    key = (kind, *(_state(axes) for axes in canvas.figure.axes))
    if key not in _frames:
        _frames[key] = _draw(canvas, heading)
        if len(_frames) > _KEPT:
            _frames.popitem(last=False)
    _frames.move_to_end(key)
    return _frames[key]


def _state(axes: "Axes") -> Hashable:
    scales = (axes.get_xscale(), axes.get_yscale())
    return (*scales, axes.get_xlim(), axes.get_ylim(), axes.get_xlabel(), axes.get_ylabel())


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

"""Stands in for `drawing`: keeps the axes that would have been written, for a look at what is on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cal_ratio_trainer.plotting import FigureLabels


class Recorder:
    """Axes by the stem of the file they were meant for."""

    def __init__(self) -> None:
        self.axes: dict[str, Axes] = {}

    @contextmanager
    def drawing(self, path: Path, labels: FigureLabels) -> Iterator[Axes]:
        """Fresh axes, kept and not written."""
        self.axes[path.stem] = Figure().add_subplot()
        yield self.axes[path.stem]


def legend_texts(axes: Axes) -> list[str]:
    """The entries of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]

"""A figure that is still to be drawn: its name, what draws it, and the small arrays that it shows.

Such a thing can be sent to another process, drawn now or later, or left out; nothing of matplotlib is in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.plotting.canvas import drawing, drawing_with_ratio
from cal_ratio_trainer.plotting.style import FigureLabels


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without folder and ending.
        draw: a function of a module's top level; called with the axes (the main and the ratio axes where there are
            two) and `content`.
        content: what it shows: dataclasses of numbers and small arrays, as processes can send them.
        with_ratio: it has a second panel below for ratios.
        default_ticks: its ticks and their labels are those that matplotlib chooses for scales and limits, and nothing
            is done to axes, titles or frame but setting scales, limits and titles; one panel only. Such figures share
            what is around their data, and take half the time.
    """

    name: str
    draw: Callable[..., None]
    content: tuple[Any, ...]
    with_ratio: bool = False
    default_ticks: bool = False

    def write(self, folder: Path, labels: FigureLabels) -> list[Path]:
        """Draw it.

        Returns:
            The files written: a PNG, a PDF or both, as `labels` says.

        Raises:
            OSError: a file cannot be written; it is then as it was.
        """
        path = folder / self.name
        if self.with_ratio:
            with drawing_with_ratio(path, labels) as panels:
                self.draw(*panels, *self.content)
        else:
            with drawing(path, labels, self.default_ticks) as axes:
                self.draw(axes, *self.content)
        return [path.with_name(path.name + suffix) for suffix in labels.suffixes]


def write_all(drawings: Iterable[Drawing], folder: Path, labels: FigureLabels) -> list[Path]:
    """Draw several one after the other; returns the files written."""
    return [file for each in drawings for file in each.write(folder, labels)]

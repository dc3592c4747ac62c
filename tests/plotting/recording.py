"""Draws on axes that tests can inspect, without writing files."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.plotting.catalogue import final_drawings


def final(figures: TestFigures, *names: str) -> list[Drawing]:
    """The final figures that have one of these words in their names."""
    return [each for each in final_drawings(figures) if any(name in each.name for name in names)]


def recorded(drawings: Iterable[Drawing]) -> dict[str, Axes]:
    """Axes of each drawing by its name, the main ones where there are two panels."""
    drawn = {}
    for each in drawings:
        panels = np.atleast_1d(Figure().subplots(1 + each.with_ratio, sharex=True))
        each.draw(*panels, *each.content)
        drawn[each.name] = panels[0]
    return drawn


def legend_texts(axes: Axes) -> list[str]:
    """The entries of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def legend_title(axes: Axes) -> list[str]:
    """The lines above the entries of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return legend.get_title().get_text().splitlines()

"""Figures: functions that draw the dataclasses of `evaluation` and histories, their list, and processes that draw.

No physics is computed here, and nothing of a run is read: `runs.figures` decides what a run has figures of.
"""

from cal_ratio_trainer.plotting.drawing import Drawing, write_all
from cal_ratio_trainer.plotting.style import ATLAS_INTERNAL, DEMO, FigureLabels, figure_labels

__all__ = ["ATLAS_INTERNAL", "DEMO", "Drawing", "FigureLabels", "figure_labels", "write_all"]

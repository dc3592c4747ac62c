"""Figures from the dataclasses of `evaluation` and from histories. No physics is computed here."""

from cal_ratio_trainer.plotting.drawing import Drawing, write_all
from cal_ratio_trainer.plotting.style import ATLAS_INTERNAL, DEMO, FigureLabels, figure_labels

__all__ = ["ATLAS_INTERNAL", "DEMO", "Drawing", "FigureLabels", "figure_labels", "write_all"]

"""Figures from the dataclasses of `evaluation` and from histories. No physics is computed here."""

from cal_ratio_trainer.plotting.style import ATLAS_INTERNAL, DEMO, FigureLabels

__all__ = ["ATLAS_INTERNAL", "DEMO", "FigureLabels"]

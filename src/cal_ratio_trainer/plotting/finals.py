"""The final plots: everything that is drawn of a network on the test part."""

from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.scores import control_score_drawings, final_score_drawings


def final_drawings(figures: TestFigures) -> list[Drawing]:
    """All final plots, under the names of the manual."""
    drawings = final_score_drawings(figures.histograms)
    if figures.control_histograms is not None:
        drawings += control_score_drawings(figures.control_histograms, figures.ks)
    return drawings

"""The final plots: everything that is drawn of a network on the test part."""

from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.plotting.cells import confusion_drawings
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.efficiencies import efficiency_drawings
from cal_ratio_trainer.plotting.overtraining import overtraining_drawings
from cal_ratio_trainer.plotting.roc import roc_drawings
from cal_ratio_trainer.plotting.scores import control_score_drawings, final_score_drawings
from cal_ratio_trainer.plotting.significance import significance_drawings


def final_drawings(figures: TestFigures) -> list[Drawing]:
    """All final plots, under the names of the manual; those without a basis in the data are left out."""
    drawings = final_score_drawings(figures.histograms)
    if figures.control_histograms is not None:
        drawings += control_score_drawings(figures.control_histograms, figures.ks)
    drawings += roc_drawings(figures) + significance_drawings(figures)
    drawings += efficiency_drawings(figures) + confusion_drawings(figures.confusion)
    if figures.overtraining is not None:
        drawings += overtraining_drawings(figures.histograms, figures.overtraining)
    return drawings

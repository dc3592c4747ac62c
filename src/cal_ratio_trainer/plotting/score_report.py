"""The outputs of scored files: linear and logarithmic, by class where labels are known."""

from cal_ratio_trainer.evaluation.histograms import ScoreHistograms
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.scores import LINEAR_AXES, draw_scores, logarithmic_axes


def score_report_drawings(histograms: ScoreHistograms, prefix: str, text: str = "") -> list[Drawing]:
    """Each output in both binnings: <prefix><output>_linear and <prefix><output>_log.

    Args:
        histograms: of the outputs by class.
        prefix: of the names.
        text: written above the legends.
    """
    linear = [
        Drawing(f"{prefix}{each.output}_linear", draw_scores, (each, LINEAR_AXES, text), default_ticks=True)
        for each in histograms.linear
    ]
    logarithmic = [
        Drawing(
            f"{prefix}{each.output}_log", draw_scores, (each, logarithmic_axes(each.output), text), default_ticks=True
        )
        for each in histograms.log
    ]
    return [*linear, *logarithmic]

"""Which output is the largest, by label."""

from typing import TYPE_CHECKING

import numpy as np

from cal_ratio_trainer.evaluation.classification import ConfusionMatrix
from cal_ratio_trainer.evaluation.intervals import share
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.cells import Cells, draw_cells
from cal_ratio_trainer.plotting.drawing import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES = {Label.QCD: "QCD", Label.SIGNAL: "Signal", Label.BIB: "BIB"}
# As in every table of this program: signal first to the eye, then its backgrounds.
_ORDER = (Label.SIGNAL, Label.QCD, Label.BIB)


def confusion_drawings(confusion: ConfusionMatrix) -> list[Drawing]:
    """confusion_matrix: the shares of each label's jets, with counts."""
    return [Drawing("confusion_matrix", draw_confusion, (confusion,))]


def draw_confusion(axes: "Axes", confusion: ConfusionMatrix) -> None:
    """A row a label, from above signal, QCD, BIB; each row sums to 100 %.

    Args:
        axes: to draw on.
        confusion: counts by label and largest output.
    """
    from_below = _ORDER[::-1]
    chosen = np.ix_(from_below, _ORDER)
    counts = confusion.counts[chosen]
    totals = confusion.counts.sum(axis=1)[list(from_below)]
    texts = tuple(
        tuple(_text(int(count), int(total)) for count in row) for row, total in zip(counts, totals, strict=True)
    )
    names = tuple(_NAMES[label] for label in _ORDER)
    draw_cells(axes, Cells(confusion.shares[chosen], texts, names[::-1], names))
    axes.set_xlabel(f"Largest output (right for {100 * confusion.accuracy:.1f} % of all jets)")
    axes.set_ylabel("Label")


def _text(count: int, total: int) -> str:
    result = share(count, total)
    errors = f"+{100 * result.error_up:.1f} −{100 * result.error_down:.1f}"
    return f"{100 * result.value:.1f} %\n{errors}\n{count:,} jets"

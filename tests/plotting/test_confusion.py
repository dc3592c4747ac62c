import numpy as np

from cal_ratio_trainer.evaluation.classification import ConfusionMatrix
from cal_ratio_trainer.plotting.confusion import confusion_drawings

from .recording import recorded


def test_signal_stands_in_the_upper_left_and_rows_are_shares_of_a_label() -> None:
    # In the order of labels: QCD, signal, BIB.
    counts = np.array([[50, 40, 10], [3, 7, 0], [0, 0, 0]])
    axes = recorded(confusion_drawings(ConfusionMatrix(counts)))["confusion_matrix"]
    texts = {text.get_position(): text.get_text().split("\n") for text in axes.texts}
    assert (texts[(0, 2)][0], texts[(0, 2)][2]) == ("70.0 %", "7 jets")
    assert (texts[(1, 2)][0], texts[(1, 2)][2]) == ("30.0 %", "3 jets")
    assert (texts[(0, 1)][0], texts[(2, 1)][0]) == ("40.0 %", "10.0 %")
    # A label without jets has empty cells.
    assert not any(place[1] == 0 for place in texts)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["BIB", "QCD", "Signal"]
    assert axes.get_xlabel() == "Largest output (right for 51.8 % of all jets)"

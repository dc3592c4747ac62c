"""The network in use: logits and scores of any number of jets, in pieces."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.packing import IndexArray

JETS_AT_A_TIME = 8192


@torch.no_grad()
def logits_of(classifier: Classifier, jets: JetTensors, positions: IndexArray | None = None) -> Tensor:
    """Logits [jets, 3] without dropout, on the device.

    Args:
        classifier: on the device of the jets.
        jets: scaled jets.
        positions: their positions, [n]; None takes all in order.
    """
    chosen = np.arange(len(jets), dtype=np.int64) if positions is None else positions
    pieces = [chosen[start : start + JETS_AT_A_TIME] for start in range(0, len(chosen), JETS_AT_A_TIME)]
    logits = [classifier(batch) for batch in jets.batches(pieces)]
    return torch.cat(logits) if logits else jets.jet.new_zeros(0, 3)


def scores_of(classifier: Classifier, jets: JetTensors, positions: IndexArray | None = None) -> NDArray[np.float32]:
    """Scores [jets, 3] in the order QCD, signal, BIB; each row sums to 1."""
    scores: NDArray[np.float32] = logits_of(classifier, jets, positions).softmax(dim=1).cpu().numpy()
    return scores

"""What is odd in jets and was read otherwise than it stands there: counted, and told in sentences."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.scoring.streams import JetBatch

BAD_WEIGHT = "{n} jets have a weight that is NaN or infinite; they count with weight 1 here"


def oddities_of(batch: JetBatch) -> Counter[str]:
    """What was odd in the inputs of some jets: how often, by its sentence with `{n}`."""
    found: Counter[str] = Counter()
    for name, count in batch.cleaning.non_finite.items():
        found[f"{{n}} NaN or infinite values of {name} were read as 0"] += count
    for name, count in batch.cleaning.beyond_pi.items():
        found[f"{{n}} values of {name} lie beyond pi and were read as they are"] += count
    found["{n} clusters have energies that give no fractions; 0 was read"] += batch.without_fractions
    return found


def sentences_of(oddities: Counter[str]) -> list[str]:
    """A sentence for each oddity that was met."""
    return [sentence.format(n=count) for sentence, count in oddities.items() if count]


def known_weights(jets: Jets, columns: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """The weights of jets [jets], and how many of them were NaN or infinite, for which 1 is taken.

    Args:
        jets: the jets.
        columns: where weights may stand; the first that is there counts. A null, or no such column, is weight 1.
    """
    for name in columns:
        if name in jets:
            weights = jets.scalars.column(name).fill_null(1.0).to_numpy().astype(np.float64)
            finite = np.isfinite(weights)
            return np.where(finite, weights, 1.0), int(np.count_nonzero(~finite))
    return np.ones(len(jets)), 0

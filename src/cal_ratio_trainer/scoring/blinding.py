"""Hides the tail of the signal output of data, so that nobody looks into a signal region by accident.

Blinded are jets of data, including beam-induced background, that do not come from a declared control region. Jets that
are not known to be simulation count as data; to see them, a user declares their type.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.labels import DataType, Label
from cal_ratio_trainer.jets.table import Jets

ALL_LABELS = frozenset(Label)
NO_LABELS: frozenset[Label] = frozenset()


@dataclass(frozen=True)
class Origin:
    """Origin of the jets of a file, as far as it is known.

    Attributes:
        data_type: of all its jets; None where it holds several, or is not known.
        is_labelled: whether its labels mean something.
        is_control: it is a control region because its metadata or the user say so; a guess is no declaration.
    """

    data_type: DataType | None
    is_labelled: bool
    is_control: bool

    def labels_of_data(self) -> frozenset[Label]:
        """The labels whose jets are data outside a declared control region."""
        if self.is_control:
            return NO_LABELS
        if self.data_type is not None:
            return NO_LABELS if self.data_type.is_simulation else ALL_LABELS
        # Of a main file BIB, of what may be a control region without saying so data: both have this label.
        return frozenset({Label.BIB}) if self.is_labelled else ALL_LABELS


@dataclass(frozen=True)
class Blinding:
    """Rule for what is hidden of one file.

    Attributes:
        above: signal outputs above this are hidden. [1]
        labels: of the jets that are blinded.
    """

    above: float
    labels: frozenset[Label]

    def of_data(self, jets: Jets) -> NDArray[np.bool_]:
        """The jets that are blinded, whatever their scores, [jets]."""
        if self.labels == ALL_LABELS:
            return np.ones(len(jets), dtype=np.bool_)
        return np.isin(jets.label, sorted(self.labels))

    def hide(self, scores: NDArray[np.float32], of_data: NDArray[np.bool_]) -> None:
        """Overwrites hidden outputs with NaN: all three, because two of them determine the third.

        Args:
            scores: [jets, 3], changed in place.
            of_data: [jets].
        """
        scores[self.tail(scores, of_data)] = np.nan

    def tail(self, scores: NDArray[np.float32], of_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The jets to hide, [jets]; arguments as `hide`."""
        # In double precision, as readers of the file compare.
        found: NDArray[np.bool_] = of_data & (scores[:, Label.SIGNAL].astype(np.float64) > self.above)
        return found

    def note(self) -> str:
        """Sentence for the reader."""
        return self._sentence("a signal output", "have no scores and are left out of all numbers and figures")

    def note_of_pairs(self) -> str:
        """The same where two scores of each jet are compared."""
        return self._sentence("a signal output of either", "are left out of all numbers and figures of scores")

    def _sentence(self, which: str, what: str) -> str:
        return (
            f"blinded: jets of data (neither simulation nor a declared control region) with {which} above "
            f"{self.above:g} {what}; --kind control declares a control region, --data_type the type of ntuples"
        )


def blinding_of(above: float | None, origin: Origin) -> Blinding | None:
    """Blinding of a file; None where nothing is hidden."""
    labels = origin.labels_of_data()
    return None if above is None or not labels else Blinding(above, labels)


def hidden(scores: NDArray[np.float32], of_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The jets whose scores were overwritten, [jets]."""
    found: NDArray[np.bool_] = of_data & np.isnan(scores[:, Label.SIGNAL])
    return found

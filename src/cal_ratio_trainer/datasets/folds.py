"""Which fold an event belongs to: one rule for training, scoring and the C++ that uses the networks.

fold = eventNumber % K, with the number as the ntuple has it, 64 bits without sign. Network i of K is trained without
the events of fold i and is used on exactly these.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import JetScalars

EVENT_NUMBER = "eventNumber"
FOLD = "fold"
"""The column with the fold of a jet, which is the number of the network that scored it."""

FoldArray = NDArray[np.int8]


@dataclass(frozen=True)
class FoldRule:
    """Events in `count` folds by their number."""

    count: int

    @property
    def expression(self) -> str:
        """The fold of an event, as C++ and Python write it."""
        return f"{EVENT_NUMBER} % {self.count}"

    def condition(self, fold: int) -> str:
        """True for the events of a fold."""
        return f"{self.expression} == {fold}"

    def folds_of(self, jets: JetScalars, file: str | Path) -> FoldArray:
        """The fold of each jet, [jets].

        Args:
            jets: with their event numbers.
            file: where they come from, for the message.

        Raises:
            InputFileError: some jets have no whole event number.
        """
        numbers = _event_numbers(jets, file)
        folds: FoldArray = (numbers % np.uint64(self.count)).astype(np.int8)
        return folds

    def positions(self, jets: JetScalars, file: str | Path) -> list[NDArray[np.int64]]:
        """The positions of the jets of each fold, rising; arguments and errors as `folds_of`."""
        folds = self.folds_of(jets, file)
        return [np.flatnonzero(folds == fold).astype(np.int64) for fold in range(self.count)]


def seen_jets(settings: TrainSettings, jets: JetScalars, file: Path) -> tuple[NDArray[np.bool_], list[str]]:
    """Which jets of a training file a run may see, [jets], and a note on the others; all jets where there are no folds.

    Args:
        settings: of the run.
        jets: as they come from the file, before anything else looks at them.
        file: the file.

    Raises:
        InputFileError: some jets have no whole event number, or a fold has no jets.
        ConfigError: the settings have folds and do not say which one.
    """
    if settings.folds is None:
        return np.ones(len(jets), dtype=bool), []
    if settings.fold is None:
        raise ConfigError(["folds is given without fold: a single training leaves one of them out"])
    rule = FoldRule(settings.folds)
    folds = rule.folds_of(jets, file)
    _refuse_empty_folds(rule, folds, file)
    held_out = folds == settings.fold
    note = f"{int(held_out.sum())} jets with {rule.condition(settings.fold)} are the fold that is left out"
    return ~held_out, [note]


def _event_numbers(jets: JetScalars, file: str | Path) -> NDArray[np.uint64]:
    remedy = f"folds are told by {EVENT_NUMBER}"
    if EVENT_NUMBER not in jets:
        raise InputFileError(file, f"has no column {EVENT_NUMBER}: {remedy}")
    column = jets.scalars.column(EVENT_NUMBER)
    if not pa.types.is_integer(column.type):
        raise InputFileError(file, f"has no whole numbers in {EVENT_NUMBER}, but {column.type}: {remedy}")
    if column.null_count:
        raise InputFileError(file, f"{column.null_count} of {len(jets)} jets have no {EVENT_NUMBER}: {remedy}")
    numbers: NDArray[np.uint64] = column.to_numpy().astype(np.uint64, casting="unsafe")
    return numbers


def _refuse_empty_folds(rule: FoldRule, folds: FoldArray, file: Path) -> None:
    counts = np.bincount(folds, minlength=rule.count)
    empty, filled = np.flatnonzero(counts == 0), np.flatnonzero(counts)
    if len(empty):
        raise InputFileError(
            file,
            f"has no jets in fold {', '.join(map(str, empty))} of {rule.count}: {rule.expression} is "
            f"{', '.join(map(str, filled))} for all {len(folds)} jets, as after a selection by {EVENT_NUMBER}; take "
            "another number of folds, or a file without that selection",
        )

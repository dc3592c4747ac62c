"""Parts and folds of the data, both by event, so that no event stands in two parts; rules for sets of networks.

The part of an event (train, validation, test) is a stable hash. Its fold is eventNumber % K, with the number as the
ntuple has it, 64 bits without sign: one rule for training, scoring and the C++ that uses the networks. Network i of K
is trained without the events of fold i and is used on exactly these.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import JetScalars
from cal_ratio_trainer.jets.table import scrambled

UIntArray = NDArray[np.uint64]

EVENT_COLUMNS = ("mcChannelNumber", "runNumber", "eventNumber")
"""Columns that tell events apart, where they are there."""
_ROW_COLUMNS = ("jet_pt", "jet_eta", "jet_phi")
_SPLIT_STREAM, _SAMPLE_STREAM = 1, 2

EVENT_NUMBER = "eventNumber"

FOLD = "fold"
"""The column with the fold of a jet, which is the number of the network that scored it."""

FoldArray = NDArray[np.int8]


class Part(IntEnum):
    """Trained on, chosen by, quoted on; or not used at all (`sample_fraction`)."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    UNUSED = 3


@dataclass(frozen=True)
class Split:
    """The part of every jet.

    Attributes:
        part: [jets] int8, see `Part`.
        identity: columns that identify events, for the user.
    """

    part: NDArray[np.int8]
    identity: str


def split_jets(
    jets: JetScalars, *, sample_fraction: float, train_fraction: float, seed: int, by_row: bool = False
) -> Split:
    """Divides jets into training, validation and test.

    Args:
        jets: with mcChannelNumber, runNumber and eventNumber where they are known.
        sample_fraction: share of the events that is used at all.
        train_fraction: share of those that is trained on; the rest is half validation, half test.
        seed: of the run; another seed gives another split.
        by_row: every jet for itself, as the earlier program did.

    Returns:
        The same parts for the same events, in whatever file and order they come.
    """
    words, identity = row_words(jets, "each jet for itself") if by_row else event_words(jets)
    used = _uniform(words, seed, _SAMPLE_STREAM) < sample_fraction
    place = _uniform(words, seed, _SPLIT_STREAM)
    half_of_rest = train_fraction + (1.0 - train_fraction) / 2
    part = np.where(place < train_fraction, Part.TRAIN, np.where(place < half_of_rest, Part.VALIDATION, Part.TEST))
    return Split(np.where(used, part, Part.UNUSED).astype(np.int8), identity)


def event_words(jets: JetScalars) -> tuple[UIntArray, str]:
    """One 64-bit word per event, the same for all its jets, and how events were told apart.

    A legacy frame without whole event numbers has no events; there every jet counts as one.
    """
    if not _is_whole("eventNumber", jets):
        return row_words(jets, "pt, eta and phi of the jet (the file has no usable event numbers)")
    known = [name for name in EVENT_COLUMNS if _is_whole(name, jets)]
    words = np.zeros(len(jets), dtype=np.uint64)
    for name in EVENT_COLUMNS:
        # An unknown number counts as 0, whether one value is missing or the whole column: the parts stay the same.
        if name in known:
            words = words ^ jets.scalars.column(name).fill_null(0).to_numpy().astype(np.int64).view(np.uint64)
        words = scrambled(words)
    unknown = np.asarray(jets.scalars.column("eventNumber").is_null())
    if not unknown.any():
        return words, ", ".join(known)
    # Otherwise all of them would count as one event and fall into one part.
    words = np.where(unknown, row_words(jets)[0], words)
    return words, f"{', '.join(known)} ({unknown.sum()} jets without event number each for itself)"


def _is_whole(name: str, jets: JetScalars) -> bool:
    if name not in jets:
        return False
    column = jets.scalars.column(name)
    return bool(pa.types.is_integer(column.type)) and column.null_count < len(column)


def row_words(jets: JetScalars, identity: str = "") -> tuple[UIntArray, str]:
    """One 64-bit word per jet, by its pt, eta and phi, and `identity`."""
    words = np.zeros(len(jets), dtype=np.uint64)
    for name in _ROW_COLUMNS:
        bits = np.ascontiguousarray(jets[name], dtype=np.float32).view(np.uint32)
        words = scrambled(words ^ bits.astype(np.uint64))
    return words, identity


def _uniform(words: UIntArray, seed: int, stream: int) -> NDArray[np.float64]:
    start = scrambled(np.array([seed], dtype=np.uint64) ^ (np.uint64(stream) << np.uint64(56)))
    return (scrambled(words ^ start) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class FoldRule:
    """Events in `count` folds by their number: network i reads the jets of fold i."""

    count: int

    title: ClassVar[str] = "fold set"
    word: ClassVar[str] = "fold"
    """One of its networks: the setting that chooses it, and the beginning of its folder's name."""
    count_setting: ClassVar[str] = "folds"

    @property
    def sentence(self) -> str:
        """Rule for run.json."""
        return f"network i is used where {self.expression} == i"

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
            file: origin of the jets, for the message.

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


@dataclass(frozen=True)
class EnsembleRule:
    """`count` networks trained on the same jets with different seeds: each reads every jet, and scores are averaged."""

    count: int

    title: ClassVar[str] = "ensemble"
    word: ClassVar[str] = "member"
    count_setting: ClassVar[str] = "seeds"

    @property
    def sentence(self) -> str:
        """Rule for run.json."""
        return "the score is the mean of the networks' scores"


SetRule = FoldRule | EnsembleRule
"""Rule by which the networks of a set are used as one."""


def set_rule_of(settings: TrainSettings) -> SetRule | None:
    """The rule of the set that is trained, or that a single network of it belongs to; None for a run by itself."""
    if settings.folds is not None:
        return FoldRule(settings.folds)
    return None if settings.seeds is None else EnsembleRule(settings.seeds)


def seen_jets(settings: TrainSettings, jets: JetScalars, file: Path) -> tuple[NDArray[np.bool_], list[str]]:
    """Jets of a training file that a run may use, [jets], and a note on the others; all jets without folds.

    Args:
        settings: of the run.
        jets: all jets of the file, in its order.
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
    remedy = f"folds are assigned by {EVENT_NUMBER}"
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

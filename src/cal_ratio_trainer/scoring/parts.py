"""Part of a jet in a training: trained on, chosen by, tested on, or never seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule, event_words, split_jets
from cal_ratio_trainer.datasets.used_events import EventGroup, jet_marks, known_columns, words_by
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.jets import Jets

PartArray = NDArray[np.int8]


class JetPart(IntEnum):
    """Part of a jet with respect to one run; of two files (main and control) the lower one counts."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    UNSEEN = 3
    UNKNOWN = 4

    @property
    def word(self) -> str:
        """Name in files and tables."""
        return self.name.lower()


FAIR = (JetPart.TEST, JetPart.UNSEEN)
"""Parts of jets that had no say in the training, so that figures of merit on them hold for new jets."""


@dataclass(frozen=True)
class PartLookup:
    """Tells the part that jets had in the training of the network that reads them.

    Attributes:
        part_functions: for each network the function from jets, scaled as it reads them, to their parts [jets].
        rule: the network that reads a jet is the fold of its event; None for a single network.
        note: note for the user; may be empty.
        used_events: for each network the events of its training; empty where no list of these decides.
    """

    part_functions: tuple[Callable[[Jets], PartArray], ...]
    rule: FoldRule | None = None
    note: str = ""
    used_events: tuple[tuple[EventGroup, ...], ...] = ()

    def other_contents(self, jets: Jets, part: PartArray) -> int:
        """Number of jets of the part `train` in events of which no training had any of these jets."""
        jets = jets.where(part == JetPart.TRAIN)
        if not self.used_events or not len(jets):
            return 0
        marks, known = jet_marks(jets), np.zeros(len(jets), dtype=bool)
        for group in (group for groups in self.used_events for group in groups):
            place, there = group.places(words_by(group.columns, jets))
            known[there] |= group.marks[place[there]] & marks[there] == marks[there]
        # Files may hold more jets of an event than the training used.
        _, event = np.unique(event_words(jets)[0], return_inverse=True)
        return int(np.count_nonzero(np.bincount(event, known)[event] == 0))

    def parts(self, jets: Jets) -> PartArray:
        """[jets] int8, see `JetPart`.

        Raises:
            InputFileError: some jets have no event number, and there is a rule.
        """
        if self.rule is None:
            return self.part_functions[0](jets)
        parts = np.full(len(jets), JetPart.UNSEEN, dtype=np.int8)
        for parts_of, mine in zip(self.part_functions, self.rule.positions(jets, "the file"), strict=True):
            parts[mine] = parts_of(jets.take(mine))
        # A network was trained without its whole fold: a jet whose event is not known well enough is unseen too.
        parts[parts == JetPart.UNKNOWN] = JetPart.UNSEEN
        return parts


def unknown_parts(jets: Jets) -> PartArray:
    """All unknown: nothing is known of the training."""
    return np.full(len(jets), JetPart.UNKNOWN, dtype=np.int8)


def parts_by_split(settings: TrainSettings, jets: Jets) -> PartArray:
    """For jets of the very training file of a run that left no list of its events: the split is done again.

    Events that `sample_fraction` left out are unseen.
    """
    split = split_jets(
        jets,
        sample_fraction=settings.sample_fraction,
        train_fraction=settings.train_fraction,
        seed=settings.seed,
        by_row=settings.split == "row",
    )
    return split.part


def parts_by_events(groups: Sequence[EventGroup], jets: Jets) -> PartArray:
    """Parts of the jets of any file, [jets], by the list of events that the run left.

    A jet that is not in the list is unseen, unless it lacks a number by which the run identified events: then it is
    unknown, or unseen where its run number does not occur among those events.
    """
    result = np.full(len(jets), JetPart.UNSEEN, dtype=np.int8)
    undecided = np.zeros(len(jets), dtype=bool)
    # A run that had jets without event numbers identified those by their direction.
    is_known_by_direction = any(group.columns == () for group in groups)
    known = known_columns(jets)
    for columns in dict.fromkeys(group.columns for group in groups):
        same = [group for group in groups if group.columns == columns]
        words = words_by(columns, jets)
        for own_columns, here in known.items():
            if set(columns) <= set(own_columns):
                for group in same:
                    result[here] = np.minimum(result[here], _found(group, words[here]))
            elif own_columns or not is_known_by_direction:
                undecided |= here & _could_be_among(same, jets, own_columns)
    result[undecided & (result == JetPart.UNSEEN)] = JetPart.UNKNOWN
    return result


def _could_be_among(groups: Sequence[EventGroup], jets: Jets, own_columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """[jets] false where a jet that knows these columns only cannot be of groups that were identified by more."""
    if "runNumber" not in own_columns:
        return np.ones(len(jets), dtype=bool)
    runs = np.array(sorted({run for group in groups for run in group.runs}), dtype=np.int64)
    numbers: NDArray[Any] = jets.scalars.column("runNumber").fill_null(0).to_numpy()
    return np.isin(numbers.astype(np.int64), runs)


def _found(group: EventGroup, words: NDArray[np.uint64]) -> PartArray:
    place, there = group.places(words)
    found = np.full(len(words), JetPart.UNSEEN, dtype=np.int8)
    found[there] = group.part[place[there]]
    return found


def is_training_file(path: Path, data: Mapping[str, Any]) -> bool:
    """True for the main or control file that a run was trained on, by size and checksum.

    Args:
        path: a file on this machine.
        data: training files in run.json.
    """
    size = path.stat().st_size
    same_size = [file for file in data.values() if file.get("size_bytes") == size]
    return bool(same_size) and sha256_of(path) in [file.get("sha256") for file in same_size]

"""Which part of a training a jet had: trained on, chosen by, tested on, or never seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import split_jets
from cal_ratio_trainer.datasets.used_events import EventGroup, known_columns, words_by
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
        """As it stands in files and tables."""
        return self.name.lower()


FAIR = (JetPart.TEST, JetPart.UNSEEN)
"""Parts of jets that had no say in the training, so that figures of merit on them hold for new jets."""


class PartLookup(Protocol):
    """Tells the part of jets."""

    @property
    def note(self) -> str:
        """What a user should know; may be empty."""

    def parts(self, jets: Jets) -> PartArray:
        """[jets] int8, see `JetPart`; jets are scaled as the network reads them."""


@dataclass(frozen=True)
class NoLookup:
    """Nothing is known of the training."""

    note: str

    def parts(self, jets: Jets) -> PartArray:
        """All unknown."""
        return np.full(len(jets), JetPart.UNKNOWN, dtype=np.int8)


@dataclass(frozen=True)
class LookupByHash:
    """For jets of the very training file of a run that left no list of its events: the split is done again."""

    settings: TrainSettings
    note: str = ""

    def parts(self, jets: Jets) -> PartArray:
        """As the split puts the events; those that `sample_fraction` left out are unseen."""
        split = split_jets(
            jets,
            sample_fraction=self.settings.sample_fraction,
            train_fraction=self.settings.train_fraction,
            seed=self.settings.seed,
            by_row=self.settings.split == "row",
        )
        return split.part


@dataclass(frozen=True)
class LookupByEvents:
    """The events of any file, held against the list that the run left.

    A jet that is not in the list is unseen, unless it lacks a number by which the run told events apart: then it is
    unknown, or unseen where its run number does not occur among those events.
    """

    groups: Sequence[EventGroup]
    note: str = ""

    def parts(self, jets: Jets) -> PartArray:
        """Looked up group by group."""
        result = np.full(len(jets), JetPart.UNSEEN, dtype=np.int8)
        undecided = np.zeros(len(jets), dtype=bool)
        known = known_columns(jets)
        for columns in dict.fromkeys(group.columns for group in self.groups):
            groups = [group for group in self.groups if group.columns == columns]
            words = words_by(columns, jets)
            for own_columns, here in known.items():
                if set(columns) <= set(own_columns):
                    for group in groups:
                        result[here] = np.minimum(result[here], _found(group, words[here]))
                else:
                    undecided |= here & self._could_be_among(groups, jets, own_columns)
        result[undecided & (result == JetPart.UNSEEN)] = JetPart.UNKNOWN
        return result

    def _could_be_among(
        self, groups: Sequence[EventGroup], jets: Jets, own_columns: tuple[str, ...]
    ) -> NDArray[np.bool_]:
        """[jets] false where a jet that knows these columns only cannot be of groups that were told apart by more."""
        if not own_columns and any(group.columns == () for group in self.groups):
            # The run met jets without event numbers too, and knew them by their direction.
            return np.zeros(len(jets), dtype=bool)
        if "runNumber" not in own_columns:
            return np.ones(len(jets), dtype=bool)
        runs = np.array(sorted({run for group in groups for run in group.runs}), dtype=np.int64)
        return np.isin(_integers(jets, "runNumber"), runs)


def _found(group: EventGroup, words: NDArray[np.uint64]) -> PartArray:
    if not len(group.words):
        return np.full(len(words), JetPart.UNSEEN, dtype=np.int8)
    place = np.minimum(np.searchsorted(group.words, words), len(group.words) - 1)
    found: PartArray = np.where(group.words[place] == words, group.part[place], JetPart.UNSEEN).astype(np.int8)
    return found


def _integers(jets: Jets, name: str) -> NDArray[np.int64]:
    values: NDArray[Any] = jets.scalars.column(name).fill_null(0).to_numpy()
    return values.astype(np.int64)


def is_training_file(path: Path, record: dict[str, Any], checksum: Any) -> bool:
    """True for the main or control file that a run was trained on, by size and checksum.

    Args:
        path: a file on this machine.
        record: the content of run.json.
        checksum: gives the sha256 of a path; asked only where the size fits.
    """
    size = path.stat().st_size
    same_size = [file for file in record.get("data", {}).values() if file.get("size_bytes") == size]
    return bool(same_size) and checksum(path) in [file.get("sha256") for file in same_size]

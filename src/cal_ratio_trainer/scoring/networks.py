"""The two whose scores are compared: a network, and a network or columns of the files."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.scoring.fold_scorer import AnyScorer
from cal_ratio_trainer.scoring.parts import NoLookup, PartLookup
from cal_ratio_trainer.scoring.score_file import SCORE_COLUMNS
from cal_ratio_trainer.scoring.scorer import ScoreArray
from cal_ratio_trainer.scoring.streams import JetBatch, converted_batch

_SLOT = "{}"


class Contestant(Protocol):
    """One of the two."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, a sentence each."""

    def lookup(self, path: Path | None, copied_from: str | None) -> PartLookup:
        """What tells which jets of a file had a say in its training.

        Args:
            path: the file.
            copied_from: checksum of the training file, where the jets are a copy of some of it.
        """

    def scores(self, batch: JetBatch, labelled: bool) -> ScoreArray:
        """[jets, 3]; NaN for jets that it gives no score."""


@dataclass(frozen=True)
class NetworkScores:
    """A network.

    Attributes:
        scorer: it.
        read_with: the scaling of the batches it is given.
    """

    scorer: AnyScorer
    read_with: Scaling

    @property
    def name(self) -> str:
        """The network's name."""
        return self.scorer.name

    @property
    def notes(self) -> tuple[str, ...]:
        """The network's."""
        return self.scorer.notes

    def lookup(self, path: Path | None, copied_from: str | None) -> PartLookup:
        """See `Contestant.lookup`."""
        return self.scorer.lookup_of_copy(copied_from) if copied_from is not None else self.scorer.lookup(path)

    def scores(self, batch: JetBatch, labelled: bool) -> ScoreArray:
        """Scores of the network; jets are scaled anew where it was trained with another range."""
        jets = batch.jets
        if self.scorer.scaling != self.read_with:
            if batch.converted is None:
                raise InputFileError(
                    self.name,
                    f"reads jets scaled with {self.scorer.scaling.min_jet_pt:g} to "
                    f"{self.scorer.scaling.max_jet_pt:g} GeV, and the jets are scaled otherwise; give converted files",
                )
            jets = converted_batch(batch.converted, self.scorer.scaling).jets
        return self.scorer.scores(jets, labelled)


@dataclass(frozen=True)
class ColumnScores:
    """Scores that the files hold.

    Attributes:
        pattern: name of the columns with {} for qcd, sig and bib.
    """

    pattern: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pattern."""
        return self.pattern

    @property
    def columns(self) -> tuple[str, ...]:
        """The three columns, in the order of `Label`."""
        return tuple(self.pattern.replace(_SLOT, label.output) for label in Label)

    def lookup(self, path: Path | None, copied_from: str | None) -> PartLookup:
        """Nothing is known of who made them."""
        return NoLookup("")

    def scores(self, batch: JetBatch, labelled: bool) -> ScoreArray:
        """The columns; NaN where one of them is null, not finite, or negative (-1 means not scored)."""
        missing = [name for name in self.columns if name not in batch.jets]
        if missing:
            raise MissingColumn("the file", missing, batch.jets.scalars.column_names)
        values = np.stack([batch.jets[name].astype(np.float32) for name in self.columns], axis=1)
        known = np.isfinite(values).all(axis=1) & np.all(values >= 0, axis=1)
        return np.where(known[:, None], values, np.float32(np.nan)).astype(np.float32)


def score_patterns(jets: Jets) -> list[str]:
    """The patterns of complete sets of score columns that a file holds, but those of `cr_trainer score`."""
    names = set(jets.scalars.column_names)
    found = []
    for name in jets.scalars.column_names:
        pattern = re.sub(r"(?<=_)qcd(?=_|$)", _SLOT, name, count=1)
        complete = all(pattern.replace(_SLOT, label.output) in names for label in Label)
        if pattern != name and complete and name not in SCORE_COLUMNS:
            found.append(pattern)
    return found

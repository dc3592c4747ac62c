"""The networks of a fold set ready to score: each jet gets the one that has not seen its event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.config.reading import ReadingSettings
from cal_ratio_trainer.datasets.folds import FoldArray, FoldRule
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.files.checksum import sha256_of
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.fold_networks import NamedFolds, find_networks
from cal_ratio_trainer.scoring.parts import JetPart, PartArray, PartLookup
from cal_ratio_trainer.scoring.scorer import Hypothesis, ScoreArray, Scorer, scorer_of


@dataclass(frozen=True)
class FoldScorer:
    """A set of networks, used as one.

    Attributes:
        name: for people, 'model/00003/best'.
        run: the folder of the set.
        rule: which events belong to which network.
        folds: the networks, by fold; they read the same inputs.
        notes: what a user should know, a sentence each.
    """

    name: str
    run: RunDirectory
    rule: FoldRule
    folds: tuple[Scorer, ...]
    notes: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """What is the same in the run.json of all folds: the training files."""
        return {"data": self.folds[0].record.get("data", {})}

    @property
    def scaling(self) -> Scaling:
        """The range that the training file was scaled with."""
        return self.folds[0].scaling

    @property
    def pt_ranges(self) -> tuple[PtRange, ...]:
        """The ranges of jet pt in which the set compares data and MC."""
        return self.folds[0].pt_ranges

    @property
    def mass_columns(self) -> tuple[str, ...]:
        """The masses that the networks read."""
        return self.folds[0].mass_columns

    @property
    def hypothesis(self) -> Hypothesis:
        """Masses to assume."""
        return self.folds[0].hypothesis

    def lookup(self, path: Path | None, checksum: Callable[[Path], str] = sha256_of) -> PartLookup:
        """What tells the part of the jets of a file; see `Scorer.lookup`."""
        return FoldLookup(self.rule, tuple(fold.lookup(path, checksum) for fold in self.folds))

    def lookup_of_copy(self, sha256: str) -> PartLookup:
        """The same for jets that were copied from a training file; see `Scorer.lookup_of_copy`."""
        return FoldLookup(self.rule, tuple(fold.lookup_of_copy(sha256) for fold in self.folds))

    def scores(self, jets: Jets, labelled: bool = True) -> ScoreArray:
        """Scores [jets, 3]; arguments and errors as `Scorer.scores`.

        Raises:
            InputFileError: some jets have no event number.
        """
        scores = np.zeros((len(jets), 3), dtype=np.float32)
        for scorer, mine in zip(self.folds, _positions(self.rule, jets), strict=True):
            if len(mine):
                scores[mine] = scorer.scores(jets.take(mine), labelled)
        return scores


AnyScorer = Scorer | FoldScorer
"""A network, or the networks of a fold set."""


@dataclass(frozen=True)
class FoldLookup:
    """The part of each jet with respect to the network of its fold.

    That network left the whole fold out, so a jet of which the numbers of its event do not say enough is unseen too.
    """

    rule: FoldRule
    lookups: Sequence[PartLookup]

    @property
    def note(self) -> str:
        """What a user should know; may be empty."""
        return " ".join(dict.fromkeys(lookup.note for lookup in self.lookups if lookup.note))

    def parts(self, jets: Jets) -> PartArray:
        """[jets] int8, see `JetPart`."""
        parts = np.full(len(jets), JetPart.UNSEEN, dtype=np.int8)
        for lookup, mine in zip(self.lookups, _positions(self.rule, jets), strict=True):
            parts[mine] = lookup.parts(jets.take(mine))
        parts[parts == JetPart.UNKNOWN] = JetPart.UNSEEN
        return parts


def find_any_scorer(name: str, reading: ReadingSettings) -> AnyScorer:
    """The network, or the fold set, that a user means, ready to score.

    Args:
        name: as `find_networks` takes it.
        reading: where runs are, which masses to assume, and where networks are to run.

    Raises:
        RunError: there is no such run or epoch, or a fold lacks it.
        InputFileError: a file is missing, damaged or no network of ours.
        ConfigError: the network reads one mass and nothing says which.
    """
    found = find_networks(name, reading.output_path, reading.rule)
    return _fold_scorer(found, reading) if isinstance(found, NamedFolds) else scorer_of(found, reading)


def folds_of(scorer: AnyScorer, jets: Jets, file: str) -> FoldArray | None:
    """The fold, that is the network, of each jet, [jets]; None for a single network.

    Raises:
        InputFileError: some jets have no event number.
    """
    return scorer.rule.folds_of(jets, file) if isinstance(scorer, FoldScorer) else None


def _fold_scorer(found: NamedFolds, reading: ReadingSettings) -> FoldScorer:
    scorers = [scorer_of(network, reading, found.name) for network in found.networks]
    rule = found.fold_set.rule
    epochs = "+".join("?" if network.epoch is None else str(network.epoch) for network in found.networks)
    told = (
        f"{found.name} is a set of {rule.count} networks (epochs {epochs}): each jet gets the one that has not seen "
        f"its event, number {rule.expression}"
    )
    notes = dict.fromkeys([told, *(note for scorer in scorers for note in scorer.notes)])
    folds = tuple(replace(scorer, notes=()) for scorer in scorers)
    return FoldScorer(found.name, found.run, rule, folds, tuple(notes))


def _positions(rule: FoldRule, jets: Jets) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    folds = rule.folds_of(jets, "the file")
    return [np.flatnonzero(folds == fold).astype(np.int64) for fold in range(rule.count)]

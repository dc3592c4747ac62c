"""A fold set as one run, for tables of runs and analyses: its state is that of its folds, its history their mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.fold_history import BestOfFolds, mean_history
from cal_ratio_trainer.runs.fold_set import FINISHED, INCOMPLETE, FoldSet
from cal_ratio_trainer.runs.overview import BestEpoch, RunOverview
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, Rule

_TELLING = ("running", "diverged", "failed", "killed", "interrupted")
"""The state of a set is the first of these that one of its folds has."""


@dataclass(frozen=True)
class FoldSetOverview(RunOverview):
    """A fold set as its files describe it.

    Attributes:
        folds: its networks as far as they are begun, by fold.
        count: how many there are to be.
    """

    folds: tuple[RunOverview, ...]
    count: int

    @cached_property
    def status(self) -> str:
        """As for a run; incomplete where folds are not begun, or wait for something to go on."""
        if self.word("status") == FINISHED:
            return FINISHED
        states = {fold.status for fold in self.folds}
        return next((state for state in _TELLING if state in states), INCOMPLETE)

    @property
    def epochs(self) -> int:
        """How many epochs all folds have."""
        return len(self.history)

    @property
    def seconds(self) -> float | None:
        """The time of all folds together; they may be trained at once."""
        known = [fold.seconds for fold in self.folds]
        return sum(each for each in known if each is not None) if any(known) else None

    def best_of_folds(self, rule: Rule) -> BestOfFolds | None:
        """Each fold at the epoch that is recommended of it; None where one of them has none."""
        if len(self.folds) < self.count:
            return None
        return BestOfFolds.of([fold.history for fold in self.folds], rule)

    def best(self, rule: Rule = DEFAULT_RULE) -> BestEpoch | None:
        """The mean over the recommended epochs of the folds; its number is the last of theirs."""
        best = self.best_of_folds(rule)
        return None if best is None else BestEpoch.of(max(best.epochs), best.row)


def overview_of(run: RunDirectory) -> RunOverview:
    """What can be said of a run, or of a fold set."""
    alone = RunOverview.of(run)
    fold_set = FoldSet.of(run) if alone.record else None
    if fold_set is None:
        return alone
    folds = tuple(RunOverview.of(each) for each in folds_there(run))
    history: tuple[Mapping[str, float], ...] = ()
    if len(folds) == fold_set.rule.count:
        history = tuple(mean_history([fold.history for fold in folds]))
    record = {**_data_of(folds), **alone.record}
    trouble = "; ".join(filter(None, (alone.trouble, *(fold.trouble for fold in folds))))
    return FoldSetOverview(run, record, alone.settings, history, trouble, folds, fold_set.rule.count)


def folds_there(run: RunDirectory) -> list[RunDirectory]:
    """The networks of a fold set that are begun, by fold; none of a run by itself."""
    fold_set = FoldSet.of(run)
    return [] if fold_set is None else [each for each in fold_set.folds if each.path.is_dir()]


def _data_of(folds: tuple[RunOverview, ...]) -> Mapping[str, object]:
    """What a fold says of the files, for a set that is not complete yet."""
    return {"data": folds[0].record.get("data", {})} if folds else {}

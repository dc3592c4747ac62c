"""The folder of a fold set: one run of K networks, each in a folder fold_<i> that is a whole run by itself.

    training_results/<model name>/<number>/
      run.json               status, rule, planned epochs; figures of the set once all folds are trained
      training_params.yaml   the settings of the set: `folds` without `fold`
      fold_0/ ... fold_<K-1>/

How processes come together that train one set between them stands in `fold_sharing`.
"""

from dataclasses import dataclass

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.runs.directory import DIVERGED, RunDirectory, RunError

FINISHED, RUNNING, INCOMPLETE = "finished", "running", "incomplete"
"""Status of a run or set that came to its end, of one that did not, and of a set that lacks folds."""


@dataclass(frozen=True)
class FoldSet:
    """A fold set on disk.

    Attributes:
        run: its folder, which counts as one run.
        rule: which events belong to which fold.
    """

    run: RunDirectory
    rule: FoldRule

    @classmethod
    def of(cls, run: RunDirectory) -> "FoldSet | None":
        """The set that a run is; None for a run with one network."""
        if run.fold_number is not None:
            return None
        folds = run.read_record().get("folds")
        count = folds.get("count") if isinstance(folds, dict) else None
        return cls(run, FoldRule(count)) if isinstance(count, int) and count > 1 else None

    @property
    def folds(self) -> tuple[RunDirectory, ...]:
        """The folders of all its networks, whether they are there or not."""
        return tuple(self.run.fold(number) for number in range(self.rule.count))

    @property
    def is_complete(self) -> bool:
        """All folds are trained, and the figures of the set are there."""
        return self.run.read_record().get("status") == FINISHED

    @property
    def planned_epochs(self) -> int:
        """How many epochs each fold is to have."""
        return int(self.run.read_record().get("planned_epochs") or 0)

    @property
    def settings(self) -> TrainSettings:
        """The settings of the set.

        Raises:
            UserError: they cannot be read.
        """
        return TrainSettings.make(**self.run.read_settings())

    def is_trained(self, fold: int) -> bool:
        """A fold has come to its end with all epochs that are planned."""
        record = self.run.fold(fold).read_record()
        return record.get("status") == FINISHED and int(record.get("finished_epochs") or 0) >= self.planned_epochs

    def lacking(self) -> list[int]:
        """The folds that are not trained to their end."""
        return [fold for fold in range(self.rule.count) if not self.is_trained(fold)]

    def can_go_on(self) -> bool:
        """Some fold waits for a process to train it, and none has diverged."""
        if self.is_complete or any(run.read_record().get("status") == DIVERGED for run in self.folds):
            return False
        lacking = [self.run.fold(fold) for fold in self.lacking()]
        return not lacking or any(not run.path.is_dir() or not run.is_in_use for run in lacking)

    def claimed(self, fold: int) -> RunDirectory:
        """Make the folder of a fold for this process; one that a killed process left empty is taken over.

        Raises:
            RunError: another process has the fold.
        """
        run = self.run.fold(fold)
        try:
            run.path.mkdir()
        except FileExistsError:
            if run.record_file.exists() or run.is_in_use:
                raise RunError(f"{run.name} is there already, or being trained by another process") from None
        return run

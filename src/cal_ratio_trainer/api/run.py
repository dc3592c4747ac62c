"""A run on disk as an object: its record, settings, history, figures and networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.evaluation.summary import MemberFigure, TestFigures
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.plotting import Drawing
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.directory import RunDirectory, RunError
from cal_ratio_trainer.runs.figure_data import read_evaluation
from cal_ratio_trainer.runs.figures import drawings_of_run, labels_of_run
from cal_ratio_trainer.runs.networks import NEWEST, Networks, networks_of
from cal_ratio_trainer.runs.overview import RunOverview
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE
from cal_ratio_trainer.runs.test_sample import RunSample, known_settings
from cal_ratio_trainer.scoring.importance import ImportanceResult, permutation_importance
from cal_ratio_trainer.scoring.scorer import find_scorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run(Result):
    """A run: one network, or the networks of a fold set or ensemble. Its table has one row per epoch.

    What is read of a run stays as it was then; open it again to see what a training has added.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        """'model/00003', or 'model/00003/fold_1' or 'model/00003/member_1' for a network of a set."""
        return self.directory.name

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.directory.path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json: versions, hardware, data files, timings, status; empty where there is none."""
        return self.directory.read_record()

    @cached_property
    def settings(self) -> TrainSettings:
        """The settings that it was trained with. Raises InputFileError or RunError where they cannot be used."""
        return known_settings(self.directory, self.directory.read_settings())

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """Losses, K-S and AUC, one row per epoch; unknown figures are NaN. Raises RunError where there is none."""
        return self.directory.read_history()

    @property
    def networks(self) -> list["Run"]:
        """The networks of a fold set or ensemble as runs, whether they are begun or not; a single one is its own."""
        return [Run(each) for each in self.directory.networks]

    @cached_property
    def evaluation(self) -> TestFigures:
        """Figures of merit on the test part, of the newest network or of a complete set.

        Those of an ensemble are of the mean of its members' scores, and `evaluation.members` has mean, standard
        deviation and standard error of each figure over the members.

        Raises:
            InputFileError: the run was not evaluated, or the file is damaged.
        """
        return read_evaluation(self.directory)[1]

    @property
    def member_figures(self) -> dict[str, MemberFigure]:
        """Of an ensemble: each figure of merit over its members, by name; else empty. Raises as `evaluation`."""
        return {each.name: each for each in self.evaluation.members}

    @property
    def status(self) -> str:
        """finished, running, interrupted, killed, failed, diverged, imported, incomplete or unknown."""
        return self._overview.status

    @property
    def recommended_epoch(self) -> int | None:
        """The epoch that the default rule recommends; None without one and for a set, whose networks differ."""
        best = self._overview.best_epochs()
        return None if best is None or len(best.epochs) > 1 else best.epochs[0]

    @property
    def headline(self) -> str:
        """Name, state, epochs and the recommended one."""
        best, epochs = self.recommended_epoch, self._overview.epochs
        recommended = "" if best is None else f", epoch {best} recommended"
        return f"run {self.name}: {self.status}, {epochs} epoch{'' if epochs == 1 else 's'}{recommended}"

    def records(self) -> Sequence[dict[str, float]]:
        """The history."""
        return self.history if self.directory.history_file.is_file() else []

    def figures(self) -> list[str]:
        """Names of its figures: those of each epoch, the histories, the final ones."""
        return [drawing.name for drawing in self._drawings]

    def figure(self, name: str) -> "Figure":
        """One of its figures, drawn from what the run keeps.

        Raises:
            RunError: there is no such figure; names the nearest.
        """
        for drawing in self._drawings:
            if drawing.name == name:
                return drawing.figure(labels_of_run(self.directory))
        raise RunError(f"run {self.name} has no figure {name}{did_you_mean(name, self.figures())}; figures() lists all")

    def network(self, epoch: int | str = NEWEST, rule: Rule = DEFAULT_RULE) -> Networks:
        """The network after an epoch, or all networks of a set, on the CPU.

        Args:
            epoch: its number, 'last', or 'best' for the one that `rule` recommends.
            rule: the rule.

        Raises:
            RunError: its weights are not there.
            InputFileError: they were changed since the run wrote them.
        """
        return networks_of(self.directory, str(epoch), rule).load()

    def score(self, jets: Jets, epoch: int | str = NEWEST, labelled: bool = True) -> NDArray[np.float32]:
        """Scores of jets in memory.

        Args:
            jets: as a training file holds them: scaled by `build`, with finite inputs. `score` of the package takes
                files of any kind.
            epoch: as `network` takes it.
            labelled: the label column says which jets are signal; a parametrised network then reads their masses.

        Returns:
            [jets, 3]: the outputs for QCD, signal and BIB.

        Raises:
            RunError: its weights are not there.
            ConfigError: the network reads masses that some jets do not have.
        """
        return find_scorer(f"{self.path.absolute()}/{epoch}", ReadingSettings()).scores(jets, labelled)

    def importance(
        self, epoch: int | str = NEWEST, permutations: int = 5, max_jets: int = 20_000, seed: int = 1
    ) -> ImportanceResult:
        """Permutation importance of the network's inputs on the run's test jets; see `permutation_importance`.

        Args:
            epoch: as `network` takes it.
            permutations: of each input, at least 1.
            max_jets: number of test jets that are drawn.
            seed: of sample and permutations.

        Raises:
            RunError: the weights are not there.
            UserError: the run has no test jets, or they cannot be read.
        """
        named = networks_of(self.directory, str(epoch))
        sample = RunSample.read(self.directory, self.directory.read_settings())
        found = permutation_importance(sample, named.load(), permutations, max_jets, seed)
        return ImportanceResult(named.name, found, labels_of_run(self.directory))

    @cached_property
    def _overview(self) -> RunOverview:
        return RunOverview.of(self.directory)

    @cached_property
    def _drawings(self) -> list[Drawing]:
        return drawings_of_run(self.directory)


@dataclass(frozen=True, repr=False)
class RedrawnRun(Result):
    """A run whose plots were drawn once more, and their files."""

    run: RunDirectory
    files: tuple[Path, ...]

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{len(self.files)} plots of run {self.run.name} in {self.run.path}"

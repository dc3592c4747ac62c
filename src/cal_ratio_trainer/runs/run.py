"""A run: every question about its folder is answered here.

A run has networks 0 ... K-1. Without folds or seeds K is 1, and the folder of the run is that of the network:

    training_results/<model name>/<number>/

Each network of a fold set is trained without one fold of the events and reads just the jets of these. Each member of an
ensemble is trained on the same split with another seed, and reads all jets. Both have a folder that is a whole run by
itself:

    training_results/<model name>/<number>/
      run.json               status, rule, planned epochs; metrics of the set once all networks are trained
      training_params.yaml   the settings of the set: `folds` without `fold`, or `seeds` without `member`
      fold_0/ ... fold_<K-1>/, or member_0/ ... member_<K-1>/

The module itself imports little: what draws, scores or reads networks is imported when it is asked for.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import InputFileError, UserError, did_you_mean
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.folder import NEWEST
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE
from cal_ratio_trainer.runs.state import RunState
from cal_ratio_trainer.runs.stored import IMPORTED, HistoryRow, RunError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cal_ratio_trainer.evaluation.summary import MemberFigure, TestFigures
    from cal_ratio_trainer.jets import Jets
    from cal_ratio_trainer.plotting import Drawing, FigureLabels
    from cal_ratio_trainer.runs.figure_data import EpochHistograms
    from cal_ratio_trainer.runs.importance import ImportanceResult
    from cal_ratio_trainer.runs.networks import Networks
    from cal_ratio_trainer.runs.test_sample import RunSample

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Run(RunState, Result):
    """A run: one network, or the networks of a fold set or ensemble. Its table has one row per epoch.

    `record`, `settings`, `history` and `evaluation` raise an error if a file is missing or damaged. `known_record`,
    `known_settings`, `known_history` and what follows from them (status, epochs, ...) describe a folder in any state:
    the content of a file that cannot be read is empty, and `trouble` has the reason. What was read once stays as it
    was; make a new `Run` of the folder to see what a training has added. Methods that begin with `read_` read anew.
    """

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def directory(self) -> "Run":
        """The run itself, under the name of earlier versions."""
        return self

    # What the files hold, checked.

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json: versions, hardware, data files, timings, status; empty where there is none."""
        return self.read_record()

    @cached_property
    def settings(self) -> TrainSettings:
        """The settings that it was trained with; names that only other versions of this program have are passed over.

        Raises:
            InputFileError: training_params.yaml is missing, damaged or was changed.
            RunError: a value cannot be used.
        """
        known = {name: value for name, value in self.read_settings().items() if name in TrainSettings.model_fields}
        try:
            return TrainSettings.make(**known)
        except ValueError as error:
            raise RunError(f"run {self.name} has settings that cannot be used ({self.settings_file.name})") from error

    @cached_property
    def history(self) -> list[HistoryRow]:
        """Losses, K-S and AUC, one row per epoch; unknown values are NaN. Raises RunError where there is none."""
        return self.read_history()

    @cached_property
    def evaluation(self) -> "TestFigures":
        """Metrics on the test part, of the newest network or of a complete set.

        Those of an ensemble are of the mean of its members' scores, and `evaluation.members` has mean, standard
        deviation and standard error of each metric over the members.

        Raises:
            InputFileError: the run was not evaluated, or the file is damaged.
        """
        from cal_ratio_trainer.runs.figure_data import read_evaluation

        return read_evaluation(self.evaluation_file)[1]

    @property
    def member_figures(self) -> "dict[str, MemberFigure]":
        """Of an ensemble: each metric over its members, by name; else empty. Raises as `evaluation`."""
        return {each.name: each for each in self.evaluation.members}

    def test_sample(self, device: "torch.device | None" = None) -> "RunSample":
        """The test jets that the run left, to be scored by any of its networks.

        Args:
            device: device of the networks; None for the CPU.

        Raises:
            UserError: a file is missing, damaged, or not what it should be.
        """
        from cal_ratio_trainer.runs.test_sample import RunSample

        return RunSample.read(self.path, self.settings, device)

    @property
    def described_data(self) -> list[Mapping[str, Any]]:
        """Description of the main and the control training file; of an imported run, which has none, empty.

        Raises:
            RunError: run.json does not describe them.
        """
        if self.record.get("status") == IMPORTED:
            return [{}, {}]
        try:
            # Without control region its scaling and simulation are those of the main file.
            return [self.record["data"].get(name) or self.record["data"]["main"] for name in ("main", "control")]
        except KeyError as error:
            raise RunError(f"run {self.name} has no {self.record_file.name} that describes its jets") from error

    @property
    def headline(self) -> str:
        """Name, state, epochs and the recommended one."""
        best, epochs = self.recommended_epoch, self.epochs
        recommended = "" if best is None else f", epoch {best} recommended"
        return f"run {self.name}: {self.status}, {epochs} epoch{'' if epochs == 1 else 's'}{recommended}"

    def records(self) -> Sequence[dict[str, float]]:
        """The history."""
        return self.history if self.history_file.is_file() else []

    def stored_histograms(self, epoch: int) -> "EpochHistograms":
        """Score histograms of an epoch with its K-S distances. Raises InputFileError if they cannot be read."""
        from cal_ratio_trainer.runs.figure_data import EpochHistograms, ranges_of

        scaling = (self.known_record.get("data") or {}).get("control", {}).get("scaling")
        edges = self.known_settings.get("pt_ranges") or TrainSettings.defaults()["pt_ranges"]
        stored = EpochHistograms.read(self.histograms_file(epoch))
        return stored.with_ks_of(self.known_history[epoch], ranges_of(edges, Scaling(**scaling) if scaling else None))

    @cached_property
    def drawings(self) -> "list[Drawing]":
        """All its figures, still to be drawn, under the names of the manual; what is not there is warned of.

        Raises:
            RunError: the run has no record or history that can be read.
        """
        from cal_ratio_trainer.runs import figures

        is_imported = self.record.get("status") == IMPORTED
        if is_imported and not self.history_file.is_file():
            raise RunError(
                f"run {self.name} was imported without a history, so there is nothing to draw of it; {figures.REMEDY}"
            )
        if is_imported:
            _log.warning("run %s was imported: only its history can be drawn; %s", self.name, figures.REMEDY)
            return figures.drawings_of_imported(self.history, self.record, self.settings)
        drawings: list[Drawing] = []
        # The outputs after an epoch are a matter of each network of a set; its folder has none of its own.
        for epoch in range(len(self.history) if self.set_rule is None else 0):
            try:
                drawings += figures.drawings_of_epoch(epoch, self.stored_histograms(epoch))
            except InputFileError as error:
                _log.warning("the plots of epoch %d are left out: %s", epoch, error)
        references = figures.stored_references(self.record)
        drawings += figures.drawings_of_history(self.history, references, self.settings.has_adversary)
        drawings += figures.final_drawings_in(self.evaluation_file, len(self.history) - 1)
        return drawings + figures.importance_drawings_in(self.importance_file)

    def figure_labels(self, figure_settings: Mapping[str, Any] | None = None) -> "FigureLabels":
        """Heading of its figures, which names the demo if the jets are simulated by that, whatever the settings are.

        Args:
            figure_settings: values of `FigureSettings` by name that replace those of the run.

        Raises:
            RunError: the run does not say what its jets are.
            ConfigError: a value of `figure_settings` cannot be used.
        """

        from cal_ratio_trainer.runs.figures import labels_of_run

        return labels_of_run(self.settings, self.described_data, dict(figure_settings or {}))

    def figures(self) -> list[str]:
        """Names of its figures: those of each epoch, the histories, the final ones."""
        return [drawing.name for drawing in self.drawings]

    def figure(self, name: str) -> "Figure":
        """One of its figures, drawn from what the run keeps.

        Raises:
            RunError: there is no such figure; names the nearest.
        """
        for drawing in self.drawings:
            if drawing.name == name:
                return drawing.figure(self.figure_labels())
        raise RunError(f"run {self.name} has no figure {name}{did_you_mean(name, self.figures())}; figures() lists all")

    def network(self, epoch: int | str = NEWEST, rule: Rule = DEFAULT_RULE) -> "Networks":
        """The network after an epoch, or all networks of a set, on the CPU.

        Args:
            epoch: its number, 'last', or 'best' for the one that `rule` recommends.
            rule: the rule.

        Raises:
            RunError: its weights are not there.
            InputFileError: they were changed since the run wrote them.
        """
        return self.networks_at(str(epoch), rule).load()

    def score(self, jets: "Jets", epoch: int | str = NEWEST, labelled: bool = True) -> "NDArray[np.float32]":
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
        if isinstance(jets, str | os.PathLike):
            file = os.fspath(jets)
            raise UserError(
                f"Run.score takes jets in memory, as read_jets({file!r}) returns; score({file!r}, training=run) of the "
                "package scores files"
            )
        return self.network(epoch).reading(self.settings, {}).read(jets, labelled)[0]

    def importance(
        self, epoch: int | str = NEWEST, permutations: int = 5, max_jets: int = 20_000, seed: int = 1
    ) -> "ImportanceResult":
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
        from cal_ratio_trainer.runs.importance import ImportanceResult, permutation_importance

        named = self.networks_at(str(epoch))
        found = permutation_importance(self.test_sample(), named.load(), permutations, max_jets, seed)
        return ImportanceResult(named.name, found, self.figure_labels())

    def redraw(self, figure_settings: Mapping[str, Any] | None = None) -> list[Path]:
        """Draws every figure of the run into its folder; arguments and errors as `figure_labels` and `drawings`.

        Returns:
            The files written.

        Raises:
            OSError: a file cannot be written.
        """
        from cal_ratio_trainer.plotting.pool import draw_in_parallel

        labels = self.figure_labels(figure_settings)
        return draw_in_parallel(self.drawings, self.path, labels)

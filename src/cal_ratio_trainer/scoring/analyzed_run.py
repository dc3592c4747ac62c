"""A run with the jets that it is judged by: its own test jets, or all jets of files that a user gives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import SetRule
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import roc_auc
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.runs.demo import make_demo
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.folder import BEST, NEWEST
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, BestEpochs
from cal_ratio_trainer.runs.record import training_files
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import FINISHED, IMPORTED, RunError
from cal_ratio_trainer.runs.test_sample import MAIN_FILE, RunSample

TEST_PART, GIVEN_FILES = "test part", "given files"
"""Jets that figures with errors are of: those that a training left, or all that a user gave for runs that left none."""

_DECIDE_FIGURES = ("weight_column", "bad_weights", "pt_ranges", "include_low_mass", "include_high_mass")
"""Settings of a training that decide which jets its validation part holds and how they are weighted."""

_READ_WITH = (
    "weight_column",
    "bad_weights",
    "missing_t0",
    "pt_ranges",
    "seed",
    "mH_parametrization",
    "mS_parametrization",
    "include_low_mass",
    "include_high_mass",
    "low_masses",
    "high_masses",
)
"""Settings of a run that decide how jets are read and what its network is given: runs with the same share the jets."""


class GivenFiles:
    """A main training file and a control region; each way of reading them is read once."""

    def __init__(self, main: str, control: str, device: torch.device) -> None:
        """Finds the files.

        Args:
            main: a path, URL or 'demo'.
            control: likewise.
            device: device of the networks.

        Raises:
            InputFileError: one is missing or cannot be copied.
        """
        main_file, control_file = training_files(
            TrainSettings.make(main_training_file=main, cr_training_file=control), make_demo
        )
        self._main, self._control = main_file.path, control_file.path
        self._device = device
        self._read: dict[str, RunSample] = {}

    def sample_for(self, run: Run) -> RunSample:
        """All jets of the files, as a run's networks want them.

        Raises:
            UserError: a file is not what a training takes, or scaled otherwise than the networks read it.
        """
        settings, said = run.settings, run.record.get("data", {}).get("main", {}).get("scaling")
        scaling = Scaling(**said) if said else LEGACY_SCALING
        key = json.dumps([[getattr(settings, name) for name in _READ_WITH], scaling.model_dump()])
        if key not in self._read:
            self._read[key] = RunSample.of_files(self._main, self._control, settings, scaling, self._device)
        return self._read[key]


@dataclass(frozen=True, eq=False)
class AnalyzedRun:
    """A run that can be used.

    Attributes:
        run: the run.
        sample: its test jets, or for a run without any all jets of the files that were given; None without either.
        trouble: why not; empty where nothing is wrong (a run that did not end yet has none).
        measured: AUC and K-S on the given files by epoch, of all networks that were kept; None for a run that is
            judged by its own jets.
        best_of_networks: of a set, the best epoch of each network, which is the one choice it offers; None for a run.
    """

    run: Run
    sample: RunSample | None
    trouble: str = ""
    measured: Mapping[int, Mapping[str, float]] | None = None
    best_of_networks: BestEpochs | None = None

    @property
    def name(self) -> str:
        """'model/00003'."""
        return self.run.name

    @property
    def is_judged_on_given_files(self) -> bool:
        """True if it left no test jets, so that its figures are those of all jets of the given files."""
        return self.measured is not None

    @property
    def chosen_on(self) -> str:
        """Description of the jets for AUC and K-S of `rows`."""
        return GIVEN_FILES if self.is_judged_on_given_files else "validation part"

    @property
    def tested_on(self) -> str:
        """Description of the jets for figures of merit with errors."""
        return GIVEN_FILES if self.is_judged_on_given_files else TEST_PART

    @cached_property
    def rows(self) -> tuple[Mapping[str, float], ...]:
        """Figures by which epochs are chosen, one row per epoch; empty for an epoch without any.

        That is the history; where the run is judged on given files, with AUC and K-S on these in place of its own.
        A set of networks has one row, the mean over its networks, each at its own best epoch.
        """
        if self.best_of_networks is not None:
            return (self.best_of_networks.row,)
        history = tuple(self.run.known_history)
        if self.measured is None:
            return history
        # AUC and K-S of the history belong to jets that are not known.
        rows = [
            {name: value for name, value in row.items() if name != "val_auc" and not name.startswith("ks_")}
            for row in history
        ]
        rows += [{} for _ in range(max(self.measured, default=-1) + 1 - len(rows))]
        return tuple({**row, **self.measured.get(epoch, {})} for epoch, row in enumerate(rows))

    @property
    def epochs_to_choose_from(self) -> int:
        """Number of epochs from which the rule chooses; for a set, in each of its networks."""
        return len(self.run.known_history) if self.best_of_networks is not None else sum(bool(row) for row in self.rows)

    def has_weights_of(self, epoch: int) -> bool:
        """The network of an epoch is on disk."""
        if self.best_of_networks is not None:
            return True
        newest = len(self.run.known_history) - 1
        return epoch in (*(self.measured or self.run.kept_epochs()), newest)

    def history_row(self, epoch: int) -> Mapping[str, float]:
        """Row of the training's history for an epoch; empty without a history."""
        if self.best_of_networks is not None:
            return self.rows[epoch]
        return self.run.known_history[epoch] if epoch < len(self.run.known_history) else {}

    @property
    def class_counts(self) -> Mapping[Label, int] | None:
        """Number of jets of each class for figures of merit with errors; None if unknown."""
        if self.sample is None or not self.is_judged_on_given_files:
            return self.run.test_jets
        labels = self.sample.main.jets.label
        return {label: int((labels == label).sum()) for label in Label}

    def name_of(self, epoch: int) -> str:
        """'model/00003/12'; '.../best' of a set, '.../last' for the only network of a run that tells no epoch."""
        if self.best_of_networks is not None:
            return f"{self.name}/{BEST}"
        return f"{self.name}/{epoch if self.run.known_history or self.run.kept_epochs() else NEWEST}"

    @property
    def mix(self) -> tuple[str, ...]:
        """Jets of the figures of merit: runs that differ in them are not compared.

        The checksums of both training files and the settings that choose and weigh jets; where the checksums are not
        known, that of the test part, or else the run stands for itself. Runs judged on given files share that of these.
        """
        if self.sample is not None and self.is_judged_on_given_files:
            return GIVEN_FILES, self.sample.checksum
        files = [self.run.recorded_text("data", kind, "sha256") for kind in self.run.kinds_of_jets]
        if not all(files):
            files = [self.sample.checksum if self.sample is not None else self.name]
        return (*map(str, files), *(str(self.run.known_settings.get(name)) for name in _DECIDE_FIGURES))


def read_run(run: Run, device: torch.device, given: GivenFiles | None = None, rule: Rule = DEFAULT_RULE) -> AnalyzedRun:
    """Reads a run.

    Args:
        run: its folder.
        device: device of its networks.
        given: files to evaluate it on if it has no test jets.
        rule: by which the best epoch of each network of a set is chosen.

    Raises:
        RunError: a file of it cannot be read; it is a set that is not complete; it has no history and nothing
            to judge it on, or no network that could be judged.
        UserError: the given files cannot be used.
    """
    if run.trouble:
        raise RunError(run.trouble)
    if run.known_rule is not None:
        return _set_of_networks(run, run.known_rule, device, rule)
    if given is not None and not (run.path / MAIN_FILE).is_file():
        return _judged_on(given, run)
    if not run.known_history:
        if run.status == IMPORTED:
            raise RunError(
                f"run {run.name} has no history and no test jets; --main_training_file and --cr_training_file name "
                "files to judge its networks on"
            )
        run.read_history()
        raise RunError(f"run {run.name} has no finished epoch")
    try:
        return AnalyzedRun(run, run.test_sample(device))
    except UserError as error:
        # The test jets are written when a training ends.
        return AnalyzedRun(run, None, str(error) if run.status == FINISHED else "")


def _set_of_networks(run: Run, of_set: SetRule, device: torch.device, rule: Rule) -> AnalyzedRun:
    """A set as one run: each test jet is scored by the network of its fold, or by all members of an ensemble."""
    name, word = f"the {of_set.title} {run.name}", of_set.word
    if run.status != FINISHED:
        raise RunError(f"{name} is {run.status}; it can be judged when all its {word}s are trained")
    best = run.best_epochs(rule)
    if best is None:
        raise RunError(f"{name} has a {word} of which no epoch has a finite value for the rule {rule}")
    return AnalyzedRun(run, run.test_sample(device), best_of_networks=best)


def _judged_on(given: GivenFiles, run: Run) -> AnalyzedRun:
    epochs = run.kept_epochs()
    names = {epoch: f"{run.name}/{epoch}" for epoch in epochs} or {0: f"{run.name}/{NEWEST}"}
    # Found before the files are read: a run without networks fails early, and says so.
    networks = {epoch: find_networks(name, run.numbered_folder.parents[1]) for epoch, name in names.items()}
    sample = given.sample_for(run)
    measured: dict[int, dict[str, float]] = {}
    with progress(f"score given jets ({run.name})", len(networks), "epochs") as line:
        for epoch, named in networks.items():
            main, control = sample.scored_by(named.load())
            measured[epoch] = {"val_auc": roc_auc(main), **ks_of_control_jets(control, sample.pt_ranges).to_dict()}
            line.advance()
    return AnalyzedRun(run, sample, measured=measured)

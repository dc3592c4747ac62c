"""Trained networks ready to score: with the scaling, the masses and the list of events of their run."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldArray, FoldRule
from cal_ratio_trainer.datasets.used_events import read_used_events
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.cleaning import with_missing_t0
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.jets.schema import GEV_A_TEV, MASS_INPUTS
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.device import chosen_device
from cal_ratio_trainer.network.scoring import scores_of
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.networks import NamedFolds, NamedNetwork, find_network, find_networks
from cal_ratio_trainer.scoring.parts import (
    JetPart,
    LookupByEvents,
    LookupByHash,
    NoLookup,
    PartArray,
    PartLookup,
    is_training_file,
)

DEFAULT_PT_EDGES = (0.25, 0.5)

ScoreArray = NDArray[np.float32]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hypothesis:
    """The masses that a parametrised network is to assume for every jet, in GeV; None: each signal jet its own."""

    higgs_mass: float | None = None
    scalar_mass: float | None = None

    def value(self, column: str) -> float | None:
        """The mass that belongs to a column of `MASS_INPUTS`."""
        return dict(zip(MASS_INPUTS, (self.higgs_mass, self.scalar_mass), strict=True))[column]


@dataclass(frozen=True)
class Scorer:
    """One network.

    Attributes:
        name: for people, 'model/00003/12' or a path.
        classifier: on the device that it runs on.
        run: its run; None where it is not known.
        record: the content of the run's run.json; empty where there is none.
        settings: of the run; None where they are not known.
        mass_columns: those of `MASS_INPUTS` that it reads, in order.
        hypothesis: masses to assume.
        notes: what a user should know, a sentence each.
    """

    name: str
    classifier: Classifier
    run: RunDirectory | None
    record: dict[str, Any]
    settings: TrainSettings | None
    mass_columns: tuple[str, ...]
    hypothesis: Hypothesis
    notes: tuple[str, ...]

    @property
    def scaling(self) -> Scaling:
        """The range that the network's training file was scaled with."""
        known = self.record.get("data", {}).get("main", {}).get("scaling")
        return Scaling(**known) if known else LEGACY_SCALING

    @property
    def knows_scaling(self) -> bool:
        """False where the usual range is taken for want of a better one."""
        return bool(self.record.get("data", {}).get("main", {}).get("scaling"))

    @cached_property
    def _lookup_by_events(self) -> LookupByEvents | None:
        groups = read_used_events(self.run.path) if self.run is not None else None
        return LookupByEvents(groups) if groups is not None else None

    @property
    def pt_ranges(self) -> tuple[PtRange, ...]:
        """The ranges of jet pt in which the run compares data and MC."""
        return ranges_of(self.settings.pt_ranges if self.settings is not None else DEFAULT_PT_EDGES, self.scaling)

    def lookup(self, path: Path | None, checksum: Callable[[Path], str] = sha256_of) -> PartLookup:
        """What tells the part of the jets of a file.

        Args:
            path: the file on this machine; None for jets that are in no file of jets.
            checksum: gives the sha256 of a file.
        """
        if self.run is None or self.settings is None:
            return NoLookup(f"{self.name} belongs to no run, so it is not known which jets it was trained on")
        if self._lookup_by_events is not None:
            return self._lookup_by_events
        if path is not None and is_training_file(path, self.record, checksum):
            return LookupByHash(self.settings)
        return NoLookup(
            f"run {self.run.name} left no list of the events it used (it is imported, or of an earlier version), so "
            "it is not known which jets of other files than its own it was trained on"
        )

    def lookup_of_copy(self, sha256: str) -> PartLookup:
        """What tells the part of jets that were copied from a training file with this checksum."""
        if self.run is None or self.settings is None or self._lookup_by_events is not None:
            return self.lookup(None)
        if sha256 in [file.get("sha256") for file in self.record.get("data", {}).values()]:
            return LookupByHash(self.settings)
        return self.lookup(None)

    def prepared(self, jets: Jets) -> Jets:
        """Scaled jets as this network's training had them: missing segment times replaced where the run did so."""
        if self.settings is None or self.settings.missing_t0 is None:
            return jets
        return with_missing_t0(jets, self.settings.missing_t0)[0]

    def scores(self, jets: Jets, labelled: bool = True) -> ScoreArray:
        """Scores [jets, 3] in the order of `Label`.

        Args:
            jets: scaled, with finite inputs.
            labelled: the label column says which jets are signal.

        Raises:
            ConfigError: the network reads masses, and some jets have none of their own and are given none.
        """
        device = next(self.classifier.parameters()).device
        masses = self._masses(jets, labelled) if self.mass_columns else None
        return scores_of(self.classifier, JetTensors.from_jets([self.prepared(jets)], device, masses))

    def _masses(self, jets: Jets, labelled: bool) -> NDArray[np.float32]:
        """What the network reads, [jets, masses] in TeV."""
        in_gev = np.stack([self._mass(column, jets, labelled) for column in self.mass_columns], axis=1)
        return in_gev / np.float32(GEV_A_TEV)

    def _mass(self, column: str, jets: Jets, labelled: bool) -> NDArray[np.float32]:
        given = self.hypothesis.value(column)
        if given is not None:
            return np.full(len(jets), given, dtype=np.float32)
        own = jets[column].astype(np.float32) if column in jets else np.zeros(len(jets), dtype=np.float32)
        without = ~((jets.label == Label.SIGNAL) & (own > 0)) if labelled else np.ones(len(jets), dtype=bool)
        if without.any():
            raise ConfigError(
                [
                    f"{self.name} reads {column}: give a mass to assume with --{column}, for {int(without.sum())} of "
                    f"{len(jets)} jets have none of their own"
                ]
            )
        return own


def find_scorer(name: str, reading: ReadingSettings) -> Scorer:
    """The network that a user means, ready to score.

    Args:
        name: as `find_network` takes it.
        reading: where runs are, which masses to assume, and where the network is to run.

    Raises:
        RunError: there is no such run or epoch.
        InputFileError: the file is missing, damaged or no network of ours.
        ConfigError: the network reads one mass and nothing says which.
    """
    return scorer_of(find_network(name, reading.output_path, reading.rule), reading)


def scorer_of(network: NamedNetwork, reading: ReadingSettings, set_name: str | None = None) -> Scorer:
    """A network ready to score; errors as `find_scorer`.

    Args:
        network: which one.
        reading: as `find_scorer` takes it.
        set_name: what the fold set is called that it is used within; None for a network by itself.
    """
    hypothesis = Hypothesis(reading.llp_mH, reading.llp_mS)
    run = network.run or _run_of_file(network.file)
    settings = _settings_of(run) if run is not None else None
    classifier = network.load().to(_device(reading))
    scorer = Scorer(
        name=set_name or network.name,
        classifier=classifier,
        run=run,
        record=run.read_record() if run is not None else {},
        settings=settings,
        mass_columns=_mass_columns(network, classifier.shape.masses, settings, hypothesis),
        hypothesis=hypothesis,
        notes=(),
    )
    of_fold = _fold_notes(scorer) if set_name is None else []
    return replace(scorer, notes=(*of_fold, *_notes(scorer)))


def _device(settings: ReadingSettings) -> torch.device:
    """Where the network runs; sets the number of threads. Raises ConfigError without the GPU that was asked for."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    return chosen_device(settings.device)


def _run_of_file(file: Path) -> RunDirectory | None:
    """The run that a .keras file lies in, where it lies in one."""
    run = RunDirectory(file.absolute().parent.parent)
    return run if file.absolute().parent.name == "keras" and run.settings_file.is_file() else None


def _settings_of(run: RunDirectory) -> TrainSettings | None:
    if not run.settings_file.exists():
        return None
    try:
        return TrainSettings.make(**run.read_settings())
    except (ValueError, ConfigError) as error:
        raise InputFileError(run.settings_file, f"holds no settings of a training ({error})") from error


def _mass_columns(
    network: NamedNetwork, masses: int, settings: TrainSettings | None, hypothesis: Hypothesis
) -> tuple[str, ...]:
    if settings is not None and len(settings.parametrised_masses) == masses:
        return settings.parametrised_masses
    if masses in (0, len(MASS_INPUTS)):
        return MASS_INPUTS[:masses]
    given = tuple(column for column in MASS_INPUTS if hypothesis.value(column) is not None)
    if len(given) != masses:
        raise ConfigError([f"{network.name} reads one mass and does not say which: give --llp_mH or --llp_mS"])
    return given


def _fold_notes(scorer: Scorer) -> list[str]:
    settings = scorer.settings
    if settings is None or settings.folds is None or settings.fold is None:
        return []
    return [
        f"{scorer.name} is network {settings.fold} of {settings.folds}: only events with "
        f"{FoldRule(settings.folds).condition(settings.fold)} are new to it; the name of the set scores each jet with "
        "the network that has not seen it"
    ]


def _notes(scorer: Scorer) -> list[str]:
    notes = []
    if not scorer.knows_scaling:
        notes.append(f"it is not known how the training file of {scorer.name} was scaled; {LEGACY_SCALING} is taken")
    for column in scorer.mass_columns:
        given = scorer.hypothesis.value(column)
        taken = "each signal jet's own" if given is None else f"{given:g} GeV for every jet"
        notes.append(f"{scorer.name} reads {column}: {taken}")
    unread = [
        column
        for column in MASS_INPUTS
        if scorer.hypothesis.value(column) is not None and column not in scorer.mass_columns
    ]
    if unread:
        notes.append(f"{scorer.name} does not read {' or '.join(unread)}: its scores do not depend on that")
    if scorer.settings is not None and scorer.settings.missing_t0 is not None:
        notes.append(f"segment times that were not measured are read as {scorer.settings.missing_t0:g} ns, as trained")
    return notes


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

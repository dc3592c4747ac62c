"""Trained networks ready to score: with the scaling, the masses and the list of events of their run.

A name means networks 0 ... K-1. A single network reads every jet; of a fold set each jet is read by the network that
was trained without its event; of an ensemble all networks read every jet, and their scores are averaged.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule, SetRule
from cal_ratio_trainer.datasets.used_events import EventGroup, read_used_events
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.jets.schema import MASS_INPUTS, Schema
from cal_ratio_trainer.network.engine import chosen_device
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.networks import NamedNetworks, NetworkFile, Networks
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.parts import PartLookup, is_training_file, parts_by_events, parts_by_split, unknown_parts
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, converted_batch

DEFAULT_PT_EDGES = (0.25, 0.5)

ScoreArray = NDArray[np.float32]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownTraining:
    """The training of one network, as far as its run tells.

    Attributes:
        run: the run; None where it is not known.
        data: training files in the run's run.json; empty if it has none.
        settings: of the run; None where they are not known.
    """

    run: Run | None
    data: Mapping[str, Any]
    settings: TrainSettings | None

    @cached_property
    def used_events(self) -> tuple[EventGroup, ...] | None:
        """The list of events that the run left; None where there is none."""
        groups = read_used_events(self.run.path) if self.run is not None else None
        return None if groups is None else tuple(groups)

    def lookup(self, name: str, path: Path | None, copied_from: str | None) -> PartLookup:
        """Tells the part of jets; arguments as `Scorer.lookup`, `name` is for the note."""
        if self.run is None or self.settings is None:
            note = f"{name} belongs to no run, so it is unknown which jets it was trained on"
            return PartLookup((unknown_parts,), note=note)
        if self.used_events is not None:
            by_events = partial(parts_by_events, self.used_events)
            return PartLookup((by_events,), used_events=(self.used_events,))
        if copied_from is not None:
            is_own = copied_from in [file.get("sha256") for file in self.data.values()]
        else:
            is_own = path is not None and is_training_file(path, self.data)
        if is_own:
            return PartLookup((partial(parts_by_split, self.settings),))
        note = (
            f"run {self.run.name} left no list of the events it used (it was imported, or made by an earlier version), "
            "so for other files than its own it is unknown which jets it was trained on"
        )
        return PartLookup((unknown_parts,), note=note)


@dataclass(frozen=True)
class Scorer:
    """The networks that a name means, used as one: a single one, or all of a fold set or ensemble.

    Attributes:
        name: for the user, 'model/00003/12', 'model/00003/best' of a set, or a path.
        run: the run, or the folder of the set; None where it is not known.
        networks: on the device that they run on.
        trainings: of networks 0 ... K-1.
        notes: notes for the user, one sentence each.
    """

    name: str
    run: Run | None
    networks: Networks
    trainings: tuple[KnownTraining, ...]
    notes: tuple[str, ...] = ()

    @property
    def rule(self) -> SetRule | None:
        """Rule by which the networks of a set are used as one; None for a single network."""
        return self.networks.rule

    @property
    def data(self) -> Mapping[str, Any]:
        """Facts of the training files in run.json, which are the same for all networks."""
        return self.trainings[0].data

    @property
    def settings(self) -> TrainSettings | None:
        """Settings of the training, but for the fold the same for all networks; None where they are not known."""
        return self.trainings[0].settings

    @property
    def schema(self) -> Schema:
        """The features that the networks read."""
        return self.networks.shape.schema

    @property
    def scaling(self) -> Scaling:
        """The range that the training file was scaled with; the usual one where it is not known."""
        known = self.data.get("main", {}).get("scaling")
        return Scaling(**known) if known else LEGACY_SCALING

    @property
    def pt_ranges(self) -> tuple[PtRange, ...]:
        """The ranges of jet pt in which the run compares data and MC."""
        return ranges_of(self.settings.pt_ranges if self.settings is not None else DEFAULT_PT_EDGES, self.scaling)

    def lookup(self, path: Path | None, copied_from: str | None = None) -> PartLookup:
        """Tells the part of the jets of a file in the training of the network that reads them.

        Args:
            path: the file on this machine; None for jets that are in no file of jets.
            copied_from: checksum of the training file, where the jets are a copy of some of it.
        """
        fold_rule = self.networks.fold_rule
        # The members of an ensemble are trained on the same events.
        trainings = self.trainings if fold_rule else self.trainings[:1]
        lookups = [training.lookup(self.name, path, copied_from) for training in trainings]
        notes = dict.fromkeys(lookup.note for lookup in lookups if lookup.note)
        used_events = tuple(events for lookup in lookups for events in lookup.used_events)
        functions = tuple(lookup.part_functions[0] for lookup in lookups)
        return PartLookup(functions, fold_rule, " ".join(notes), used_events)

    def scores(self, jets: Jets, labelled: bool = True) -> ScoreArray:
        """Scores [jets, 3] in the order of `Label`; see `scores_and_spread`."""
        return self.scores_and_spread(jets, labelled)[0]

    def scores_and_spread(self, jets: Jets, labelled: bool = True) -> tuple[ScoreArray, ScoreArray | None]:
        """Scores [jets, 3] in the order of `Label`, and of an ensemble the spread of its members' signal output [jets].

        The score of a jet is that of the network that reads it, or the mean over the members of an ensemble.

        Args:
            jets: scaled, with finite inputs; at least the features that the networks read. Segment times that were not
                measured are replaced where the training did so.
            labelled: the label column says which jets are signal.

        Raises:
            ConfigError: masses are read, and some jets have none of their own and are given none.
            InputFileError: some jets have no event number, and there is a rule.
        """
        return self.networks.read(jets, labelled)

    def batch_scores(self, batch: JetBatch, stream: JetStream) -> ScoreArray:
        """Scores [jets, 3] of a batch that was read for another network: its jets are scaled anew where that differs.

        Raises:
            InputFileError: the file holds jets that were scaled with another range than these networks read.
        """
        jets = batch.jets
        if self.scaling != stream.scaling:
            if batch.converted is None:
                raise InputFileError(
                    self.name,
                    f"reads jets scaled from {self.scaling.min_jet_pt:g} to {self.scaling.max_jet_pt:g} GeV, but the "
                    "jets have another scaling; give converted files",
                )
            jets = converted_batch(batch.converted, self.scaling).jets
        return self.scores(jets, stream.labelled)


def find_scorer(name: str, reading: ReadingSettings) -> Scorer:
    """The network, or the networks of a set, that a user means, ready to score.

    Args:
        name: as `find_networks` takes it.
        reading: folder of runs, assumed masses, and device of the networks; sets the number of threads.

    Raises:
        RunError: there is no such run or epoch, or a network of the set lacks it.
        InputFileError: a file is missing, damaged or no network of this program.
        ConfigError: the network reads one mass and nothing says which; or the GPU that was asked for is not there.
    """
    found = find_networks(name, reading.output_path, reading.rule)
    if reading.threads is not None:
        torch.set_num_threads(reading.threads)
    device = chosen_device(reading.device)
    runs = [_run_of(file) for file in found.files]
    trainings = [
        KnownTraining(None, {}, None)
        if run is None
        else KnownTraining(run, run.record.get("data", {}), run.settings if run.settings_file.exists() else None)
        for run in runs
    ]
    hypothesis: dict[str, float | None] = {"llp_mH": reading.llp_mH, "llp_mS": reading.llp_mS}
    networks = found.load().reading(trainings[0].settings, hypothesis).to(device)
    run = runs[0] if found.rule is None or found.folder is None else Run(found.folder)
    scorer = Scorer(found.name, run, networks, tuple(trainings))
    return replace(scorer, notes=(*_set_notes(scorer, found), *_notes(scorer)))


def _run_of(file: NetworkFile) -> Run | None:
    """The run of a network; that of the folder above for a file that was named by its path."""
    folder = file.folder
    if folder is None and file.file.absolute().parent.name == "keras":
        folder = file.file.absolute().parent.parent
        folder = folder if Run(folder).settings_file.is_file() else None
    return None if folder is None else Run(folder)


def _set_notes(scorer: Scorer, found: NamedNetworks) -> list[str]:
    if found.rule is not None:
        epochs = "+".join("?" if file.epoch is None else str(file.epoch) for file in found.files)
        beginning = f"{found.name} is a set of {found.rule.count} networks (epochs {epochs})"
        if isinstance(found.rule, FoldRule):
            each = f"each jet is scored by the one that was trained without its event, number {found.rule.expression}"
        else:
            each = "the score of a jet is the mean of their scores"
        return [f"{beginning}: {each}"]
    settings = scorer.settings
    if settings is None or settings.folds is None or settings.fold is None:
        return []
    return [
        f"{scorer.name} is network {settings.fold} of a set of {settings.folds}: it was trained without the events "
        f"with {FoldRule(settings.folds).condition(settings.fold)}; other events are not new to it. Name the set to "
        "score each jet with the network that was trained without its event"
    ]


def _notes(scorer: Scorer) -> list[str]:
    notes = []
    if not scorer.data.get("main", {}).get("scaling"):
        notes.append(f"the scaling of the training file of {scorer.name} is unknown; {LEGACY_SCALING} is assumed")
    for column in scorer.networks.mass_columns:
        given = scorer.networks.hypothesis[column]
        taken = "the value of each signal jet" if given is None else f"{given:g} GeV for every jet"
        notes.append(f"{scorer.name} reads {column}: {taken}")
    unread = [
        column
        for column in MASS_INPUTS
        if scorer.networks.hypothesis[column] is not None and column not in scorer.networks.mass_columns
    ]
    if unread:
        notes.append(f"{scorer.name} does not read {' or '.join(unread)}: its scores do not depend on the given mass")
    if scorer.settings is not None and scorer.settings.missing_t0 is not None:
        notes.append(f"missing segment times are read as {scorer.settings.missing_t0:g} ns, as in its training")
    return notes

"""The networks of a fold set as one: each jet is scored by the one that has not seen its event."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.folds import FoldRule
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.scoring import scores_of
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.runs.directory import RunDirectory, RunError
from cal_ratio_trainer.runs.fold_set import FoldSet
from cal_ratio_trainer.runs.network_names import NEWEST, NamedNetwork, find_network, network_of, split_name
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, Rule


@dataclass(frozen=True)
class FoldClassifiers:
    """The networks of a set, loaded.

    Attributes:
        networks: by fold; all read the same inputs.
        rule: which events belong to which.
    """

    networks: tuple[Classifier, ...]
    rule: FoldRule

    @property
    def shape(self) -> NetworkShape:
        """The shape of each."""
        return self.networks[0].shape

    def to(self, device: torch.device) -> "FoldClassifiers":
        """The same on a device."""
        return FoldClassifiers(tuple(network.to(device) for network in self.networks), self.rule)

    def eval(self) -> "FoldClassifiers":
        """The same in inference mode."""
        return FoldClassifiers(tuple(network.eval() for network in self.networks), self.rule)


def scores_by(
    network: Classifier | FoldClassifiers, jets: Jets, tensors: JetTensors, file: str | Path
) -> NDArray[np.float32]:
    """Scores [jets, 3] of a network, or of the networks of a set, each of the jets of its fold.

    Args:
        network: on the device of the jets.
        jets: with the event numbers.
        tensors: the same jets as the network reads them.
        file: where they come from, for the message.

    Raises:
        InputFileError: some jets have no event number, and there are several networks.
    """
    if isinstance(network, Classifier):
        return scores_of(network, tensors)
    folds = network.rule.folds_of(jets, file)
    scores = np.zeros((len(jets), 3), dtype=np.float32)
    for fold, classifier in enumerate(network.networks):
        mine = np.flatnonzero(folds == fold).astype(np.int64)
        scores[mine] = scores_of(classifier, tensors, mine)
    return scores


@dataclass(frozen=True)
class NamedFolds:
    """The networks of a set on disk.

    Attributes:
        fold_set: the set.
        networks: one for each fold.
        word: which of each: an epoch for all, 'best' for each by itself, or 'last'.
    """

    fold_set: FoldSet
    networks: tuple[NamedNetwork, ...]
    word: str

    @property
    def run(self) -> RunDirectory:
        """The folder of the set."""
        return self.fold_set.run

    @property
    def name(self) -> str:
        """For people: 'model/00003/best'."""
        return f"{self.run.name}/{self.word}"

    def load(self) -> FoldClassifiers:
        """The networks themselves, on the CPU.

        Raises:
            InputFileError: a file is missing, damaged or no network of ours.
        """
        return FoldClassifiers(tuple(network.load() for network in self.networks), self.fold_set.rule)


def find_networks(name: str, output_path: Path, rule: Rule = DEFAULT_RULE) -> NamedNetwork | NamedFolds:
    """The network that a user means, or all networks of a fold set.

    Args:
        name: as `find_network` takes it; a set is named as a run is, with an epoch for all networks, 'best' for the
            best epoch of each, or 'last'.
        output_path: the folder that holds all runs.
        rule: what 'best' means.

    Raises:
        RunError: there is no such run or epoch, or a fold of the set lacks it; names those that are there.
    """
    if name.endswith(".keras"):
        return find_network(name, output_path, rule)
    run, word = split_name(name, output_path)
    fold_set = FoldSet.of(run)
    return find_network(name, output_path, rule) if fold_set is None else folds_at(fold_set, word, rule)


def folds_at(fold_set: FoldSet, word: str = NEWEST, rule: Rule = DEFAULT_RULE) -> NamedFolds:
    """The networks of a set: an epoch of all, 'best' of each, or 'last'. Raises RunError where one is not there."""
    networks: Sequence[NamedNetwork] = [_network_of(run, word, rule) for run in fold_set.folds]
    return NamedFolds(fold_set, tuple(networks), word)


def _network_of(run: RunDirectory, word: str, rule: Rule) -> NamedNetwork:
    if not run.path.is_dir():
        raise RunError(
            f"{run.name} is not trained yet, so the set cannot be used; 'cr_trainer train --continue' goes on"
        )
    try:
        return network_of(run, word, rule)
    except UserError as error:
        remedy = "; 'best' takes the best epoch of each fold" if word.isdecimal() else ""
        raise RunError(f"{error}{remedy}") from error

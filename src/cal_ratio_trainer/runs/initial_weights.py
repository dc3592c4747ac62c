"""A training that starts from the weights of a network, with everything else fresh."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.profiles import PROFILES
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, set_rule_of
from cal_ratio_trainer.datasets.used_events import EventGroup, read_used_events
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.runs.earlier_run import UNKNOWN_FILE
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.folder import NEWEST
from cal_ratio_trainer.runs.networks import NetworkFile
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError


@dataclass(frozen=True)
class InitialWeights:
    """Source of the weights: name of the network, its file on this machine, and the file's checksum."""

    run: str
    file: str
    sha256: str

    @classmethod
    def of_run(cls, run: Run) -> "InitialWeights":
        """The newest weights of an imported run.

        Raises:
            RunError: there are none any more.
            InputFileError: they were changed since the import.
        """
        file = run.path / "keras" / "final_model.keras"
        if not file.is_file():
            raise RunError(f"run {run.name} has lost {file.name}; it cannot be continued")
        return cls._of_network(NetworkFile(run.network_at(NEWEST).file, run.name, run.path))

    @classmethod
    def of_settings(cls, settings: TrainSettings) -> "InitialWeights | None":
        """The weights that `start_from` names, for one of a set those of the same one in that set; None without.

        Raises:
            RunError: there is no such run or epoch.
            InputFileError: the file is missing, or was changed since a run wrote it.
            ConfigError: one network for folds, or another number of networks.
        """
        if settings.start_from is None:
            return None
        networks = find_networks(settings.start_from, settings.output_path)
        rule = set_rule_of(settings)
        if rule is None and networks.rule is not None:
            option = f"--{networks.rule.count_setting}"
            raise ConfigError(
                [f"start_from: {networks.name} has {networks.rule.count} networks; name one, or give {option}"]
            )
        if isinstance(rule, EnsembleRule) and networks.rule not in (None, rule):
            raise ConfigError(
                [
                    f"start_from: {networks.name} is not an ensemble of {rule.count} members; name one network for all "
                    "members, or such an ensemble"
                ]
            )
        if isinstance(rule, FoldRule) and networks.rule != rule:
            raise ConfigError(
                [
                    f"start_from: with {settings.folds} folds it has to be a set of {settings.folds} folds, so that no "
                    f"network has seen the events of its fold; {networks.name} is none"
                ]
            )
        number = 0 if rule is None or networks.rule is None else getattr(settings, rule.word) or 0
        return cls._of_network(networks.files[number])

    @classmethod
    def _of_network(cls, network: NetworkFile) -> "InitialWeights":
        if not network.file.is_file():
            raise InputFileError(network.file, "no such file")
        return cls(network.name, str(network.file.absolute()), sha256_of(network.file))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "InitialWeights | None":
        """Initial weights that run.json names; None if it names none."""
        known = record.get("initial_weights")
        return cls(**known) if known else None

    def described(self) -> dict[str, str]:
        """For run.json."""
        return asdict(self)

    def events(self) -> tuple[EventGroup, ...] | None:
        """Events that the network was trained on and judged by; None where they are not known.

        Raises:
            InputFileError: the list of events is damaged.
        """
        return read_used_events(Path(self.file).parent.parent)

    def sentence(self, trained_before: int | None) -> str:
        """Sentence for the user and for the record of the new run.

        Args:
            trained_before: number of events of its validation and test part that the network was trained on; None where
                that is not known.
        """
        beginning = f"It starts from the weights of {self.run}, with a fresh adversary and fresh optimisers"
        if trained_before is None:
            return (
                f"{beginning}; which events that network was trained on is not known, so its test jets may be some "
                "that it was trained on."
            )
        if trained_before == 0:
            return f"{beginning}; that network was trained on no event of the validation and test part."
        return (
            f"{beginning}; that network was trained on {trained_before} events of the validation and test part, so "
            "figures on these are too good. The same seed, split and train_fraction give the same parts."
        )

    def read(self, shape: NetworkShape) -> dict[str, NDArray[np.float32]]:
        """The weights by name.

        Args:
            shape: of the network that they are for; its dropout may be another.

        Raises:
            InputFileError: the file is missing, damaged, or was changed since a run began with it.
            ConfigError: the settings describe another network.
        """
        file = Path(self.file)
        network = read_own_network(file)
        if sha256_of(file) != self.sha256:
            raise InputFileError(file, f"was changed since a run began with these weights of {self.run}")
        if replace(network.shape, dropout=shape.dropout) != shape:
            difference = _difference(network.shape, shape)
            raise ConfigError([f"the settings describe another network than that of {self.run}: {difference}"])
        return dict(network.weights)


def settings_layers(run: Run, stored: Mapping[str, Any], layers: Layers) -> Layers:
    """The sources of settings for a training that starts from an imported run.

    Args:
        run: the imported run.
        stored: its settings.
        layers: sources of the user's settings, the defaults first.

    Raises:
        ConfigError: no training files are known.
    """
    # A profile is for a network that begins anew.
    given = [(source, content) for source, content in layers[1:] if source not in PROFILES]
    merged: dict[str, Any] = dict(stored)
    for _, content in given:
        merged |= content
    missing = [name for name in ("main_training_file", "cr_training_file") if merged.get(name) == UNKNOWN_FILE]
    if missing:
        raise ConfigError(
            f"run {run.name} was imported without its training files; say one to go on with, with --{name}"
            for name in missing
        )
    return [layers[0], (f"run {run.name}", dict(stored)), *given]


def _difference(stored: NetworkShape, asked: NetworkShape) -> str:
    if further := [name for name in stored.schema.inputs if name not in asked.schema.inputs]:
        return f"it reads {', '.join(further)}, which the training file lacks or does not give to the network"
    if stored.encoder != asked.encoder:
        return f"its encoder is {stored.encoder}, the settings want {asked.encoder}"
    if stored.schema != asked.schema:
        return "the training file has features of another schema"
    if [each.options for each in stored.branches] != [each.options for each in asked.branches]:
        return f"its encoder {stored.encoder} has other options (encoder_options)"
    found, wanted = stored.weight_shapes(), asked.weight_shapes()
    for name, shape in found.items():
        if wanted.get(name) != shape:
            return f"its {name} has shape {shape}, the settings want {wanted.get(name, 'none')}"
    return "the settings want more layers"

"""Networks of a run on disk: written, checked, loaded, and used as one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, SetRule
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.files.json_text import parsed
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.safetensors_file import SUFFIX, network_from_safetensors, safetensors_bytes
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.cleaning import with_missing_t0
from cal_ratio_trainer.jets.schema import GEV_A_TEV, MASS_INPUTS
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.runs.stored import warn_without_digests

_BEGINNING = b'{"cal_ratio_trainer_run": '


def with_digest(content: bytes, run_id: str | None, epoch: int | None) -> bytes:
    """Returns a `.keras` file with its identity as comment.

    Args:
        content: of the file, without comment.
        run_id: `id` of run.json.
        epoch: of the weights; None where it is not known.
    """
    digest = hashlib.sha256(json.dumps([run_id, epoch]).encode() + content).hexdigest()
    comment = json.dumps({"cal_ratio_trainer_run": run_id, "epoch": epoch, "sha256": digest}).encode()
    return content[:-2] + len(comment).to_bytes(2, "little") + comment


def write_network(
    files: Sequence[Path],
    shape: NetworkShape,
    weights: Mapping[str, NDArray[np.float32]],
    run_id: str | None,
    epoch: int | None,
) -> None:
    """Writes a network of a run: the program's own file, and for the LSTM the `.keras` file beside it.

    Args:
        files: the `.keras` files that hold it.
        shape: of the network.
        weights: every weight by name.
        run_id: `id` of run.json.
        epoch: of the weights; None where it is not known.
    """
    own = safetensors_bytes(shape, weights, run_id, epoch)
    has_keras = shape.encoder == DEFAULT_ENCODER
    keras = with_digest(keras_model_bytes(shape, weights), run_id, epoch) if has_keras else b""
    for file in files:
        write_bytes(file.with_suffix(SUFFIX), own)
        if has_keras:
            write_bytes(file, keras)


def remove_network(file: Path) -> None:
    """Removes what `write_network` wrote."""
    file.unlink(missing_ok=True)
    file.with_suffix(SUFFIX).unlink(missing_ok=True)


def as_stored(file: Path) -> Path:
    """The program's own file beside a `.keras` file of a run; that file itself in older runs, which have no other."""
    own = file.with_suffix(SUFFIX)
    return own if own.is_file() else file


def holds_epoch(file: Path, epoch: int | None, run: str, run_id: str | None) -> bool:
    """True if a network in a run's folder is that of an epoch; any file of an older run, which kept no digests.

    Args:
        file: the network.
        epoch: number of the epoch; None if it is not known.
        run: name of the run.
        run_id: `id` of run.json.

    Raises:
        InputFileError: the file was changed since the run wrote it, or belongs to another run.
    """
    content = file.read_bytes()
    start = content.rfind(_BEGINNING)
    if start < 0 and run_id is None and file.suffix != SUFFIX:
        warn_without_digests(run)
        return True
    try:
        if file.suffix == SUFFIX:
            stored = network_from_safetensors(content)
            owner, number, is_unchanged = stored.run, stored.epoch, True
        else:
            comment = parsed(content[start:])
            owner, number = comment["cal_ratio_trainer_run"], comment["epoch"]
            is_unchanged = with_digest(content[: start - 2] + b"\0\0", owner, number) == content
    except (ValueError, LookupError, TypeError, OverflowError):
        is_unchanged = False
    if not is_unchanged:
        raise InputFileError(file, f"is not as run {run} wrote it: it was changed or is damaged")
    if owner != run_id:
        raise InputFileError(file, f"is a network of another run than {run}: its run id is not that in run.json")
    return bool(number == epoch)


@dataclass(frozen=True)
class Networks:
    """The trained networks of a run, loaded and used as one.

    Attributes:
        classifiers: networks 0 ... K-1; all read the same inputs.
        rule: of a fold set the network that reads a jet is the fold of its event; of an ensemble all read every jet,
            and scores are averaged; None for a single network, which reads every jet.
        name: for the user, 'model/00003/12', 'model/00003/best' of a set, or a path.
        mass_columns: columns of `MASS_INPUTS` that they read, in order; see `reading`.
        hypothesis: masses in GeV to assume for every jet, by column of `MASS_INPUTS`; None: each signal jet its own.
        missing_t0: segment time in place of those that were not measured [ns]; None leaves them.
    """

    classifiers: tuple[Classifier, ...]
    rule: SetRule | None = None
    name: str = ""
    mass_columns: tuple[str, ...] = ()
    hypothesis: Mapping[str, float | None] = field(default_factory=dict)
    missing_t0: float | None = None

    def reading(self, settings: TrainSettings | None, hypothesis: Mapping[str, float | None]) -> "Networks":
        """The same, ready for `read`.

        Args:
            settings: of their training; None if they are not known.
            hypothesis: see `Networks`.

        Raises:
            ConfigError: they read one mass and nothing says which.
        """
        masses = self.shape.masses
        if settings is not None and len(settings.parametrised_masses) == masses:
            columns = settings.parametrised_masses
        elif masses in (0, len(MASS_INPUTS)):
            columns = MASS_INPUTS[:masses]
        else:
            columns = tuple(column for column in MASS_INPUTS if hypothesis.get(column) is not None)
            if len(columns) != masses:
                raise ConfigError(
                    [f"{self.name} reads one mass, but its run does not say which: give --llp_mH or --llp_mS"]
                )
        missing_t0 = None if settings is None else settings.missing_t0
        return replace(self, mass_columns=columns, hypothesis=hypothesis, missing_t0=missing_t0)

    @property
    def fold_rule(self) -> FoldRule | None:
        """The rule where they are a fold set."""
        return self.rule if isinstance(self.rule, FoldRule) else None

    @property
    def members(self) -> tuple["Networks", ...]:
        """Each network by itself."""
        return tuple(Networks((each,)) for each in self.classifiers)

    @property
    def shape(self) -> NetworkShape:
        """The shape of each."""
        return self.classifiers[0].shape

    @property
    def device(self) -> torch.device:
        """The device that they run on."""
        return next(self.classifiers[0].parameters()).device

    def to(self, device: torch.device) -> "Networks":
        """The same on a device, in inference mode."""
        return replace(self, classifiers=tuple(each.to(device).eval() for each in self.classifiers))

    def read(self, jets: Jets, labelled: bool = True) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores of jets in memory, see `scores_and_spread`; the networks are those of `reading`.

        Args:
            jets: scaled, with finite inputs; at least the features that the networks read. Segment times that were not
                measured are replaced if the training did so.
            labelled: the label column says which jets are signal.

        Raises:
            ConfigError: masses are read, and some jets have none of their own and are given none.
            InputFileError: some jets have no event number, and there is a rule.
        """
        masses = None
        if self.mass_columns:
            in_gev = np.stack([self._mass(column, jets, labelled) for column in self.mass_columns], axis=1)
            masses = in_gev / np.float32(GEV_A_TEV)
        jets = jets.with_schema(self.shape.schema)
        if self.missing_t0 is not None:
            lists, _ = with_missing_t0(jets.constituents, self.missing_t0)
            jets = replace(jets, constituents=lists)
        return self.scores_and_spread(jets, JetTensors.from_jets([jets], self.device, masses), "the file")

    def _mass(self, column: str, jets: Jets, labelled: bool) -> NDArray[np.float32]:
        given = self.hypothesis.get(column)
        if given is not None:
            return np.full(len(jets), given, dtype=np.float32)
        own = jets[column].astype(np.float32) if column in jets else np.zeros(len(jets), dtype=np.float32)
        without = ~((jets.label == Label.SIGNAL) & (own > 0)) if labelled else np.ones(len(jets), dtype=bool)
        if without.any():
            raise ConfigError(
                [
                    f"{self.name} reads {column}, which {int(without.sum())} of {len(jets)} jets do not have: give a "
                    f"mass to assume with --{column}"
                ]
            )
        return own

    def scores(self, jets: Jets, tensors: JetTensors, file: str | Path) -> NDArray[np.float32]:
        """Scores [jets, 3]: each jet's from the network that reads it, or their mean; see `scores_and_spread`."""
        return self.scores_and_spread(jets, tensors, file)[0]

    def scores_and_spread(
        self, jets: Jets, tensors: JetTensors, file: str | Path
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores [jets, 3], and of an ensemble the standard deviation of its members' signal output [jets].

        Args:
            jets: with the event numbers, where there is a rule.
            tensors: the same jets as the networks read them, on their device.
            file: origin of the jets, for the message.

        Raises:
            InputFileError: some jets have no event number, and there is a rule.
        """
        if self.rule is None:
            return scores_of(self.classifiers[0], tensors), None
        if isinstance(self.rule, EnsembleRule):
            members = np.stack([scores_of(each, tensors) for each in self.classifiers]).astype(np.float64)
            spread = members[:, :, Label.SIGNAL].std(axis=0, ddof=1)
            return members.mean(axis=0).astype(np.float32), spread.astype(np.float32)
        scores = np.zeros((len(jets), 3), dtype=np.float32)
        for classifier, mine in zip(self.classifiers, self.rule.positions(jets, file), strict=True):
            scores[mine] = scores_of(classifier, tensors, mine)
        return scores, None


@dataclass(frozen=True)
class NetworkFile:
    """One network on disk.

    Attributes:
        file: the .safetensors or .keras file.
        name: name for users, 'model/00003/12', or the path of the file.
        folder: folder of the run that it belongs to; None for a file given by its path.
        epoch: epoch of the weights; None if it is not known.
    """

    file: Path
    name: str
    folder: Path | None = None
    epoch: int | None = None

    def load(self) -> Classifier:
        """The network itself, on the CPU.

        Raises:
            InputFileError: the file is missing, damaged or no network of this program.
        """
        stored = read_own_network(self.file)
        classifier = Classifier(stored.shape)
        classifier.set_weights(stored.weights)
        return classifier.eval()


@dataclass(frozen=True)
class NamedNetworks:
    """The networks that a name means: one, or all networks of a fold set or ensemble.

    Attributes:
        name: for the user: 'model/00003/12', 'model/00003/best' of a set, or the path of a file.
        files: networks 0 ... K-1.
        folder: folder of the run or of the set; None for a file given by its path.
        rule: as in `Networks`.
    """

    name: str
    files: tuple[NetworkFile, ...]
    folder: Path | None = None
    rule: SetRule | None = None

    @classmethod
    def alone(cls, file: NetworkFile) -> "NamedNetworks":
        """A single network."""
        return cls(file.name, (file,), file.folder)

    def load(self) -> Networks:
        """The networks themselves, on the CPU.

        Raises:
            InputFileError: a file is missing, damaged or no network of this program.
        """
        return Networks(tuple(file.load() for file in self.files), self.rule, self.name)

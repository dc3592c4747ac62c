"""Networks of a run on disk: how a user names them, how they are found, checked and loaded."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule, SetRule
from cal_ratio_trainer.errors import InputFileError, UserError
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.files.json_text import parsed
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.safetensors_file import SUFFIX, network_from_safetensors, safetensors_bytes
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.network.shape import NetworkShape
from cal_ratio_trainer.runs.directory import (
    IMPORTED,
    NoRunName,
    RunDirectory,
    RunError,
    run_and_rest,
    warn_without_digests,
)
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, RULES, recommended_epoch

_BEGINNING = b'{"cal_ratio_trainer_run": '

NEWEST = "last"
BEST = "best"
_ENDINGS = (".keras", SUFFIX)
"""Endings of network files of this program."""


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


def _as_stored(file: Path) -> Path:
    """The program's own file beside a `.keras` file of a run; that file itself in older runs, which have no other."""
    own = file.with_suffix(SUFFIX)
    return own if own.is_file() else file


def holds_epoch(run: RunDirectory, file: Path, epoch: int | None) -> bool:
    """True where a network in a run's folder is that of an epoch; of older runs, which kept no digests, any file is.

    Raises:
        InputFileError: the file was changed since the run wrote it, or belongs to another run.
    """
    run_id = run.read_record().get("id")
    content = file.read_bytes()
    start = content.rfind(_BEGINNING)
    if start < 0 and run_id is None and file.suffix != SUFFIX:
        warn_without_digests(run.name)
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
        raise InputFileError(file, f"is not as run {run.name} wrote it: it was changed or is damaged")
    if owner != run_id:
        raise InputFileError(file, f"is a network of another run than {run.name}: its run id is not that in run.json")
    return bool(number == epoch)


@dataclass(frozen=True)
class Networks:
    """The trained networks of a run, loaded and used as one.

    Attributes:
        classifiers: networks 0 ... K-1; all read the same inputs.
        rule: of a fold set the network that reads a jet is the fold of its event; of an ensemble all read every jet,
            and scores are averaged; None for a single network, which reads every jet.
    """

    classifiers: tuple[Classifier, ...]
    rule: SetRule | None = None

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
        return Networks(tuple(each.to(device).eval() for each in self.classifiers), self.rule)

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
        file: its .safetensors or .keras file.
        run: the run it belongs to; None for a file given by its path.
        epoch: the epoch its weights are of; None where that is not known.
    """

    file: Path
    run: RunDirectory | None = None
    epoch: int | None = None

    @property
    def name(self) -> str:
        """Name for users: 'model/00003/12', or the path of the file."""
        if self.run is None:
            return str(self.file)
        return self.run.name if self.epoch is None else f"{self.run.name}/{self.epoch}"

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
        run: the run, or the folder of the set; None for a file given by its path.
        files: networks 0 ... K-1.
        rule: as in `Networks`.
    """

    name: str
    run: RunDirectory | None
    files: tuple[NetworkFile, ...]
    rule: SetRule | None = None

    def load(self) -> Networks:
        """The networks themselves, on the CPU.

        Raises:
            InputFileError: a file is missing, damaged or no network of this program.
        """
        return Networks(tuple(file.load() for file in self.files), self.rule)


def find_networks(name: str, output_path: Path, rule: Rule = DEFAULT_RULE) -> NamedNetworks:
    """The network that a user means, or all networks of a fold set or ensemble.

    Args:
        name: 'model/3' or 'model/3/last' for the newest weights of run 3, 'model/3/best' for the epoch that `rule`
            recommends, 'model/3/12' for epoch 12, 'model/-1' for the newest run, 'model/3/fold_0/12' for a network of
            a fold set, 'model/3/member_0/12' for one of an ensemble, or the path of a .keras or .safetensors file. The
            path of a run's folder, as `train` and `import` print it, may stand for 'model/3'. A set is named as a run
            is, with an epoch for all networks, 'best' for the best epoch of each, or 'last'.
        output_path: the folder that holds all runs.
        rule: rule for 'best'.

    Raises:
        RunError: there is no such run or epoch, or a network of the set lacks it; names those that are there.
    """
    if name.endswith(_ENDINGS):
        return _alone(NetworkFile(Path(name)))
    return networks_of(*split_name(name, output_path), rule)


def networks_of(run: RunDirectory, word: str = NEWEST, rule: Rule = DEFAULT_RULE) -> NamedNetworks:
    """The networks of a run after an epoch, or at the 'best' of each, or 'last'. Raises as `network_of`."""
    rule_of_set = run.set_rule
    if rule_of_set is None:
        return _alone(network_of(run, word, rule))
    files = []
    for each in run.networks:
        if not each.path.is_dir():
            raise RunError(
                f"{each.name} is not trained yet, so the set cannot be used; 'cr_trainer train --continue' goes on"
            )
        try:
            files.append(network_of(each, word, rule))
        except UserError as error:
            remedy = f"; 'best' takes the best epoch of each {rule_of_set.word}" if word.isdecimal() else ""
            raise RunError(f"{error}{remedy}") from error
    return NamedNetworks(f"{run.name}/{word}", run, tuple(files), rule_of_set)


def find_network(name: str, output_path: Path) -> NetworkFile:
    """The one network that a user means; arguments as `find_networks`.

    Raises:
        RunError: as `find_networks`; or it is a set of several networks.
    """
    if name.endswith(_ENDINGS):
        return NetworkFile(Path(name))
    run, word = split_name(name, output_path)
    if run.set_rule is not None:
        raise RunError(
            f"{run.name} is a set of {run.set_rule.count} networks, but one network is needed here; name one of "
            f"them, e.g. {run.networks[0].name}"
        )
    return network_of(run, word)


def network_file(name: str, output_path: Path) -> Path:
    """The file of a network with the layers that a user means; arguments and errors as `find_network`.

    The networks of a set have the same layers: its first is taken.
    """
    if name.endswith(_ENDINGS):
        return Path(name)
    run, word = split_name(name, output_path)
    return network_of(run.networks[0], word).file


def is_network(name: str, output_path: Path) -> bool:
    """True where a name is that of a network: of a file by its ending, or of an existing run with or without epoch."""
    if name.endswith(_ENDINGS):
        return True
    try:
        _, word = split_name(name, output_path)
    except UserError:
        return False
    return word.isdecimal() or word in (BEST, NEWEST)


def split_name(name: str, output_path: Path) -> tuple[RunDirectory, str]:
    """The run that a network's name means, maybe a set, and the word for its epoch. Raises RunError."""
    try:
        run, rest = run_and_rest(name, output_path)
    except NoRunName as error:
        raise RunError(_no_network(name)) from error
    if len(rest) > 1:
        raise RunError(_no_network(name))
    return run, rest[0] if rest else NEWEST


def network_of(run: RunDirectory, word: str, rule: Rule = DEFAULT_RULE) -> NetworkFile:
    """The network of a run after an epoch.

    Raises:
        RunError: its weights are not there.
        InputFileError: they were changed since the run wrote them, or belong to another run or epoch.
    """
    newest = len(run.read_history()) - 1 if run.history_file.exists() else None
    epoch = _epoch(run, word, newest, rule)
    # A process that was killed while it wrote an epoch leaves a final_model.keras of an epoch the history lacks.
    final = _as_stored(run.path / "keras" / "final_model.keras")
    if epoch == newest and final.is_file() and holds_epoch(run, final, epoch):
        return NetworkFile(final, run, epoch)
    file = None if epoch is None else _as_stored(run.weights_file(epoch))
    if file is None or not file.is_file():
        wanted = "any epoch" if epoch is None else f"epoch {epoch}"
        there = ", ".join(map(str, run.kept_epochs())) or "none yet"
        raise RunError(f"run {run.name} has no weights of {wanted}; kept are {there}")
    if not holds_epoch(run, file, epoch):
        raise InputFileError(file, f"is the network of another epoch of run {run.name}")
    return NetworkFile(file, run, epoch)


def _alone(file: NetworkFile) -> NamedNetworks:
    return NamedNetworks(file.name, file.run, (file,))


def _no_network(name: str) -> str:
    if name.endswith((".parquet", ".root")):
        return f"{name} is a file of jets, where a network is expected: NAME/RUN, NAME/RUN/EPOCH or a file of a network"
    if Path(name).is_file():
        return (
            f"{name} is no .keras or .safetensors file of this program; 'cr_trainer import' makes a run of other "
            "network files"
        )
    return (
        f"{name} is no network: give NAME/RUN or NAME/RUN/EPOCH (e.g. default/0, default/0/best or default/0/12), the "
        "folder of a run, or a .keras or .safetensors file"
    )


def _epoch(run: RunDirectory, word: str, newest: int | None, rule: Rule) -> int | None:
    if word == NEWEST:
        return newest
    if word == BEST:
        return _best_epoch(run, rule)
    if not word.isdecimal():
        raise RunError(f"{word} is no epoch; give a number, {BEST} or {NEWEST}")
    return int(word)


def _best_epoch(run: RunDirectory, rule: Rule) -> int:
    if not run.history_file.is_file():
        is_imported = run.read_record().get("status") == IMPORTED
        why = "it was imported without a history" if is_imported else "none is finished"
        raise RunError(f"run {run.name} has no best epoch: {why}; {run.name} alone is its newest network")
    history = run.read_history()
    best = recommended_epoch(history, rule)
    if best is None:
        others = [other for other in RULES if recommended_epoch(history, other) is not None]
        remedy = f"; --rule {' or '.join(others)} finds one" if others else ""
        raise RunError(f"run {run.name} has no best epoch: none has a finite value for the rule {rule}{remedy}")
    return best

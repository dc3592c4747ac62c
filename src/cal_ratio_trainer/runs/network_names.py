"""How a user names a network: a run, or one of its epochs, or a file."""

from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.keras_file import read_keras
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.runs.directory import IMPORTED, NoRunName, RunDirectory, RunError, run_and_rest
from cal_ratio_trainer.runs.fold_set import FoldSet
from cal_ratio_trainer.runs.network_digest import holds_epoch
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE, RULES, Rule, recommended_epoch

NEWEST = "last"
BEST = "best"


@dataclass(frozen=True)
class NamedNetwork:
    """A network on disk.

    Attributes:
        file: its .keras file.
        run: the run it belongs to; None for a file that was named by its path.
        epoch: the epoch its weights are of; None where that is not known.
    """

    file: Path
    run: RunDirectory | None = None
    epoch: int | None = None

    @property
    def name(self) -> str:
        """For people: 'model/00003/12', or the path of the file."""
        if self.run is None:
            return str(self.file)
        return self.run.name if self.epoch is None else f"{self.run.name}/{self.epoch}"

    def load(self) -> Classifier:
        """The network itself, on the CPU.

        Raises:
            InputFileError: the file is missing, damaged or no network of ours.
        """
        shape, weights = read_keras(self.file)
        classifier = Classifier(shape)
        classifier.set_weights(weights)
        return classifier.eval()


def find_network(name: str, output_path: Path, rule: Rule = DEFAULT_RULE) -> NamedNetwork:
    """The network that a user means.

    Args:
        name: 'model/3' or 'model/3/last' for the newest weights of run 3, 'model/3/best' for the epoch that `rule`
            recommends, 'model/3/12' for epoch 12, 'model/-1' for the newest run, 'model/3/fold_0/12' for a network of
            a fold set, or the path of a .keras file. The path of a run's folder, as `train` and `import` print it, may
            stand for 'model/3'.
        output_path: the folder that holds all runs.
        rule: what 'best' means.

    Raises:
        RunError: there is no such run or epoch; names those that are there. Or it is a set of several networks.
    """
    if name.endswith(".keras"):
        return NamedNetwork(Path(name))
    run, word = split_name(name, output_path)
    fold_set = FoldSet.of(run)
    if fold_set is not None:
        raise RunError(
            f"{run.name} is a set of {fold_set.rule.count} networks, which cannot be taken for one here; name one of "
            f"them, e.g. {fold_set.run.fold(0).name}"
        )
    return network_of(run, word, rule)


def split_name(name: str, output_path: Path) -> tuple[RunDirectory, str]:
    """The run that a network's name means, maybe a fold set, and the word for its epoch. Raises RunError."""
    try:
        run, rest = run_and_rest(name, output_path)
    except NoRunName as error:
        raise RunError(_no_network(name)) from error
    if len(rest) > 1:
        raise RunError(_no_network(name))
    return run, rest[0] if rest else NEWEST


def network_of(run: RunDirectory, word: str, rule: Rule = DEFAULT_RULE) -> NamedNetwork:
    """The network of a run after an epoch.

    Raises:
        RunError: its weights are not there.
        InputFileError: they were changed since the run wrote them, or belong to another run or epoch.
    """
    newest = len(run.read_history()) - 1 if run.history_file.exists() else None
    epoch = _epoch(run, word, newest, rule)
    # A process that was killed while it wrote an epoch leaves a final_model.keras of an epoch the history lacks.
    final = run.path / "keras" / "final_model.keras"
    if epoch == newest and final.is_file() and holds_epoch(run, final, epoch):
        return NamedNetwork(final, run, epoch)
    file = None if epoch is None else run.weights_file(epoch)
    if file is None or not file.is_file():
        wanted = "any epoch" if epoch is None else f"epoch {epoch}"
        there = ", ".join(map(str, run.kept_epochs())) or "none yet"
        raise RunError(f"run {run.name} has no weights of {wanted}; kept are {there}")
    if not holds_epoch(run, file, epoch):
        raise InputFileError(file, f"is the network of another epoch of run {run.name}")
    return NamedNetwork(file, run, epoch)


def network_file(name: str, output_path: Path) -> Path:
    """A .keras file with the layers that a user means; arguments and errors as `find_network`.

    The networks of a fold set have the same layers: that of its first fold is taken.
    """
    if not name.endswith(".keras"):
        run, word = split_name(name, output_path)
        if FoldSet.of(run) is not None:
            return network_of(run.fold(0), word).file
    return find_network(name, output_path).file


def _no_network(name: str) -> str:
    if Path(name).is_file():
        return f"{name} is no .keras file of this program; 'cr_trainer import' makes a run of other network files"
    return (
        f"{name} is no network: give NAME/RUN or NAME/RUN/EPOCH (e.g. default/0, default/0/best or default/0/12), the "
        "folder of a run, or a .keras file"
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

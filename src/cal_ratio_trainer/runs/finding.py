"""Runs and their networks by the names that users give them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cal_ratio_trainer.config.base import Rule
from cal_ratio_trainer.errors import UserError, did_you_mean
from cal_ratio_trainer.runs.folder import BEST, NEWEST, SET_RULES, numbered_folders
from cal_ratio_trainer.runs.recommendation import DEFAULT_RULE
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError, time_of

if TYPE_CHECKING:
    from cal_ratio_trainer.runs.networks import NamedNetworks, NetworkFile

_ENDINGS = (".keras", ".safetensors")
"""Endings of network files of this program."""


class NoRunName(RunError):
    """A text given for a run is neither the name of one nor the path of its folder."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is no run; give NAME/RUN, e.g. default/0, default/-1 for the newest, or the folder of a run"
        )


def runs_of(output_path: Path, model_name: str) -> list[Run]:
    """The runs of a model by rising number; none where there is no such model."""
    return [Run(path) for path in numbered_folders(output_path / model_name)]


def all_runs(output_path: Path) -> list[Run]:
    """All runs of all models, by the time they started, the newest last; those without a known start come first.

    Raises:
        RunError: there is no such folder.
    """
    if not output_path.is_dir():
        raise RunError(f"there is no folder {output_path} with runs; --output_path names the folder")
    runs = [run for model in models_of(output_path) for run in runs_of(output_path, model)]

    def start(run: Run) -> float:
        started = time_of(run.recorded_text("started"))
        return started.timestamp() if started else 0.0

    return sorted(runs, key=start)


def find_run(output_path: Path, model_name: str, number: int) -> Run:
    """A run by its number; -1 is the newest, -2 the one before.

    Raises:
        RunError: there is no such model or run; names what is there.
    """
    runs = runs_of(output_path, model_name)
    if not runs:
        like = did_you_mean(model_name, models_of(output_path))
        raise RunError(f"no model {model_name}{like} under {output_path}; {models_there(output_path)}")
    if number < 0 and -number <= len(runs):
        return runs[number]
    for run in runs:
        if run.number == number:
            return run
    there = ", ".join(str(run.number) for run in runs)
    raise RunError(f"model {model_name} has no run {number} under {output_path}; its runs: {there}")


def models_of(output_path: Path) -> list[str]:
    """Names of the models under a folder that have runs."""
    folders = [path.name for path in output_path.iterdir() if path.is_dir()] if output_path.is_dir() else []
    return sorted(folder for folder in folders if runs_of(output_path, folder))


def models_there(output_path: Path) -> str:
    """The models under a folder, for a message."""
    models = models_of(output_path)
    return f"models there: {', '.join(models)}" if models else "there are no runs; --output_path says where they are"


def named_run(name: str, output_path: Path) -> Run:
    """The run that a user names: 'model/3', 'model/-1' for the newest of a model, 'model/3/fold_0' for one of a set.

    Args:
        name: such a name, or the path of a run's folder, as `train` and `import` print it.
        output_path: the folder that holds all runs; a path may lead to a run elsewhere.

    Raises:
        RunError: this is no name of a run, or there is no such run; names those that are there.
    """
    run, rest = run_and_rest(name, output_path)
    if rest:
        raise NoRunName(name)
    return run


def run_and_rest(name: str, output_path: Path) -> tuple[Run, list[str]]:
    """The run at the beginning of a name or path, and the remaining words. Raises RunError as `named_run`."""
    model, *words = name.strip("/").split("/")
    is_name = bool(words) and words[0].removeprefix("-").isdecimal()
    at_path = None if is_name and runs_of(output_path, model) else run_at(Path(name))
    if at_path is not None:
        run, words = at_path
    elif is_name:
        run, words = find_run(output_path, model, int(words[0])), words[1:]
    else:
        run, words = _run_in_folder(name)
    if not words or not words[0].startswith(tuple(f"{rule.word}_" for rule in SET_RULES)):
        return run, words
    folder = Run(run.path / words[0])
    if folder.network_number is None or not folder.path.is_dir():
        there = sorted(path.name for rule in SET_RULES for path in run.path.glob(f"{rule.word}_*"))
        raise RunError(f"run {run.name} has no {words[0]}; there is: {', '.join(there) or 'it is no set of networks'}")
    return folder, words[1:]


def _run_in_folder(name: str) -> tuple[Run, list[str]]:
    """The run of a path such as 'training_results/default/0', whose number is shortened, and the remaining words."""
    parts = Path(name).parts
    for place in range(2, len(parts)):
        model, folder = parts[place - 1], Path(*parts[: place - 1])
        if parts[place].removeprefix("-").isdecimal() and runs_of(folder, model):
            return find_run(folder, model, int(parts[place])), list(parts[place + 1 :])
    raise NoRunName(name)


def run_at(path: Path) -> tuple[Run, list[str]] | None:
    """The run whose folder is a path or one of its parents, and the remaining words; None where there is none."""
    path = Path(os.path.normpath(path.absolute()))
    for folder in (path, *path.parents):
        run = Run(folder)
        if folder.name.isdecimal() and (run.record_file.is_file() or run.settings_file.is_file()):
            return run, list(path.relative_to(folder).parts)
    return None


def find_networks(name: str, output_path: Path, rule: Rule = DEFAULT_RULE) -> "NamedNetworks":
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
    from cal_ratio_trainer.runs.networks import NamedNetworks, NetworkFile

    if name.endswith(_ENDINGS):
        return NamedNetworks.alone(NetworkFile(Path(name), name))
    run, word = split_name(name, output_path)
    return run.networks_at(word, rule)


def find_network(name: str, output_path: Path) -> "NetworkFile":
    """The one network that a user means; arguments as `find_networks`.

    Raises:
        RunError: as `find_networks`; or it is a set of several networks.
    """
    from cal_ratio_trainer.runs.networks import NetworkFile

    if name.endswith(_ENDINGS):
        return NetworkFile(Path(name), name)
    run, word = split_name(name, output_path)
    if run.set_rule is not None:
        raise RunError(
            f"{run.name} is a set of {run.set_rule.count} networks, but one network is needed here; name one of "
            f"them, e.g. {run.networks[0].name}"
        )
    return run.network_at(word)


def network_file(name: str, output_path: Path) -> Path:
    """The file of a network with the layers that a user means; arguments and errors as `find_network`.

    The networks of a set have the same layers: its first is taken.
    """
    if name.endswith(_ENDINGS):
        return Path(name)
    run, word = split_name(name, output_path)
    return run.networks[0].network_at(word).file


def is_network(name: str, output_path: Path) -> bool:
    """True where a name is that of a network: of a file by its ending, or of an existing run with or without epoch."""
    if name.endswith(_ENDINGS):
        return True
    try:
        _, word = split_name(name, output_path)
    except UserError:
        return False
    return word.isdecimal() or word in (BEST, NEWEST)


def split_name(name: str, output_path: Path) -> tuple[Run, str]:
    """The run that a network's name means, maybe a set, and the word for its epoch. Raises RunError."""
    try:
        run, rest = run_and_rest(name, output_path)
    except NoRunName as error:
        raise RunError(_no_network(name)) from error
    if len(rest) > 1:
        raise RunError(_no_network(name))
    return run, rest[0] if rest else NEWEST


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

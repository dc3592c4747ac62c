"""What the earlier program left in a run's folder: which file holds what."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.network_file import read_content

_EPOCH_FILE = re.compile(r"final_model_weights_(\d{1,6})(?:\.weights)?\.\w+")
_CHECKPOINT_FILE = re.compile(r"final_weights_checkpoint(?:\.weights)?\.\w+")
_MODEL = "final_model.keras"
_HISTORY = "history_checkpoint.json"
_OURS = ("run.json", "keras/checkpoint.safetensors")
_LARGEST_HISTORY = 1 << 26
_MOST_EPOCHS = 100_000
_NAME_WITHOUT = re.compile(r"(\.weights)?\.\w+$")


@dataclass(frozen=True)
class EarlierRun:
    """The files of a training of the earlier program; or one file of a network, alone.

    Attributes:
        path: what the user named.
        name: of the model, as far as the path tells.
        epochs: weights by epoch, rising.
        newest: weights after the last epoch; None where only those of single epochs are there.
        model: holds the architecture, with the weights from before the training.
        history: figures of every epoch.
        settings: of the training.
        details: of the training, for a person.
    """

    path: Path
    name: str
    epochs: Mapping[int, Path]
    newest: Path | None = None
    model: Path | None = None
    history: Path | None = None
    settings: Path | None = None
    details: Path | None = None


def earlier_run(path: Path) -> EarlierRun:
    """Find out what a run folder holds, its keras folder alone, or a file.

    Raises:
        InputFileError: there is no such path, it is a run of this program, or it holds no trained weights.
    """
    if path.is_file():
        return EarlierRun(path, _NAME_WITHOUT.sub("", path.name), {}, newest=path)
    if not path.is_dir():
        raise InputFileError(path, "no such file or folder")
    absolute = path.absolute()
    folder = absolute.parent if absolute.name == "keras" else absolute
    if any((folder / name).exists() for name in _OURS):
        raise InputFileError(path, "is a run of this program; it needs no import, only a place under output_path")
    keras = folder / "keras" if (folder / "keras").is_dir() else folder
    epochs, newest = _epochs(keras), _checkpoint(keras)
    if not epochs and newest is None:
        raise InputFileError(
            path,
            f"holds no trained weights, no keras/final_model_weights_<epoch>.keras; {_MODEL} has those from before the "
            "training, and can be given itself",
        )
    return EarlierRun(
        path,
        folder.parent.name if folder.name.isdecimal() else folder.name,
        epochs,
        newest,
        _existing(keras / _MODEL),
        _existing(keras / _HISTORY),
        _existing(folder / "training_params.yaml"),
        _existing(folder / "training_details.txt"),
    )


def read_history(path: Path, names: tuple[str, ...]) -> tuple[list[dict[str, float]], list[str]]:
    """The earlier program's history: for each figure a list over epochs.

    Args:
        path: its history_checkpoint.json.
        names: the figures that are known.

    Returns:
        A row an epoch with all of `names` (NaN where the file has none), and figures of the file that are not known.

    Raises:
        InputFileError: it is no such file, or holds something else than numbers, or too many.
    """
    try:
        said = parsed(read_content(path, _LARGEST_HISTORY), bad_numbers=True)
    except BadJson as error:
        raise InputFileError(path, str(error)) from error
    if not isinstance(said, dict):
        raise InputFileError(path, f"holds a {type(said).__name__}, expected a list of numbers for each figure")
    for name, values in said.items():
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            raise InputFileError(path, f"{name!r:.80} is no list of numbers")
    epochs = max((len(said.get(name, ())) for name in names), default=0)
    if epochs > _MOST_EPOCHS:
        raise InputFileError(path, f"says to be of {epochs} epochs; histories of at most {_MOST_EPOCHS} are read")
    columns = {name: said.get(name, []) + [math.nan] * (epochs - len(said.get(name, []))) for name in names}
    rows = [{name: _finite(columns[name][epoch]) for name in names} for epoch in range(epochs)]
    return rows, [name for name in said if name not in names]


def _epochs(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _EPOCH_FILE.fullmatch(path.name)
        if match and path.is_file():
            epoch = int(match[1])
            if epoch in found:
                raise InputFileError(path, f"is the second file of epoch {epoch}, beside {found[epoch].name}")
            found[epoch] = path
    return dict(sorted(found.items()))


def _checkpoint(folder: Path) -> Path | None:
    found = [path for path in sorted(folder.iterdir()) if _CHECKPOINT_FILE.fullmatch(path.name) and path.is_file()]
    if len(found) > 1:
        raise InputFileError(found[1], f"is the second checkpoint, beside {found[0].name}")
    return found[0] if found else None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan

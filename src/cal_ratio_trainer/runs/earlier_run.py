"""Content of a run's folder of the earlier program: which file holds what, its history and its settings."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.loading import MAX_BYTES_OF_RUN, read_config, settings_from
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import InputFileError, harmless
from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.network_file import read_content
from cal_ratio_trainer.formats.stored_network import StoredNetwork
from cal_ratio_trainer.network.shape import HIDDEN_WIDTHS, NetworkShape

_EPOCH_FILE = re.compile(r"final_model_weights_(\d{1,6})(?:\.weights)?\.\w+")
_CHECKPOINT_FILE = re.compile(r"final_weights_checkpoint(?:\.weights)?\.\w+")
_MODEL = "final_model.keras"
_HISTORY = "history_checkpoint.json"
_OURS = ("run.json", "keras/checkpoint.safetensors")
_MAX_HISTORY_BYTES = 1 << 26
_MAX_EPOCHS = 100_000
_NAME_WITHOUT = re.compile(r"(\.weights)?\.\w+$")

UNKNOWN_FILE = "unknown"
"""In place of the training files of an imported run that does not say them."""

_NO_SETTINGS = "It has no training_params.yaml: settings that its network does not tell have today's defaults."
_MAX_LIST = 500


@dataclass(frozen=True)
class EarlierRun:
    """The files of a training of the earlier program; or one file of a network, alone.

    Attributes:
        path: path from the user.
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
    """Reads the content of a run folder, of its keras folder alone, or of a file.

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
            f"holds no trained weights (keras/final_model_weights_<epoch>.keras); {_MODEL} holds the weights from "
            "before the training, and can be imported by itself",
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
        One row per epoch with all of `names` (NaN where the file has none), and figures of the file that are not known.

    Raises:
        InputFileError: it is no such file, or holds something else than numbers, or too many.
    """
    try:
        said = parsed(read_content(path, _MAX_HISTORY_BYTES), bad_numbers=True)
    except BadJson as error:
        raise InputFileError(path, str(error)) from error
    if not isinstance(said, dict):
        raise InputFileError(path, f"holds a {type(said).__name__}, expected a list of numbers for each figure")
    for name, values in said.items():
        is_list = isinstance(values, list)
        if not is_list or any(isinstance(each, bool) or not isinstance(each, int | float) for each in values):
            raise InputFileError(path, f"{name!r:.80} is no list of numbers")
    epochs = max((len(said.get(name, ())) for name in names), default=0)
    if epochs > _MAX_EPOCHS:
        raise InputFileError(path, f"has {epochs} epochs; histories of at most {_MAX_EPOCHS} are read")
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


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def listed(names: Iterable[str]) -> str:
    """Joins names out of files with commas, and cuts off what is too long for a message."""
    text = ", ".join(harmless(name, kept="") for name in names)
    return text if len(text) <= _MAX_LIST else f"{text[:_MAX_LIST]}..."


def imported_settings(
    file: Path | None, network: StoredNetwork, given: Mapping[str, Any]
) -> tuple[TrainSettings, list[str]]:
    """Settings under which the network could have been trained.

    Args:
        file: training_params.yaml of the earlier program; None where there is none.
        network: as it was read; it decides where the file differs.
        given: settings from the user.

    Returns:
        The settings, and what a user should know of them.

    Raises:
        InputFileError, ConfigError: the file is damaged, or holds values that are none.
    """
    said, notes = _read(file) if file is not None else ({}, [_NO_SETTINGS])
    shape = network.shape
    fixed = _shape_settings(shape, said) | ({"dropout": shape.dropout} if network.dropout_is_said else {})
    for name, value in fixed.items():
        if name in said and said[name] != value:
            found = harmless(str(said[name]), kept="")
            notes.append(f"Its {name} is {found:.80} in training_params.yaml, but the network has {value}.")
    if fixed["hidden_layer_fraction"] is None:
        fixed.pop("hidden_layer_fraction")
        widths = " and ".join(map(str, shape.hidden))
        notes.append(f"No hidden_layer_fraction gives its hidden widths {widths}: it cannot be trained further.")
    files = dict.fromkeys(("main_training_file", "cr_training_file"), UNKNOWN_FILE)
    layers: list[tuple[str, dict[str, Any]]] = [
        ("packaged defaults", TrainSettings.defaults() | files),
        (str(file), said),
        ("the network", fixed | dict(given)),
    ]
    return settings_from(TrainSettings, layers), notes


def _read(file: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        renamed = TrainSettings.with_new_names(read_config(file, MAX_BYTES_OF_RUN))
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    known = {name: value for name, value in renamed.items() if name in TrainSettings.model_fields and value is not None}
    unknown = sorted(renamed.keys() - TrainSettings.model_fields.keys())
    notes = [f"Settings that this program does not have are left out: {listed(unknown)}."] if unknown else []
    if "num_splits" in known:
        # The earlier program wrote both and never used this one.
        known.pop("batch_size", None)
    elif "batch_size" in known:
        known["num_splits"] = None
    return known, notes


def _shape_settings(shape: NetworkShape, said: Mapping[str, Any]) -> dict[str, Any]:
    clusters, tracks, segments = shape.branches
    # Of a single mass, the settings alone tell which one it is.
    reads_scalar_mass = shape.masses == 2 or (shape.masses == 1 and said.get("mS_parametrization") is True)
    return {
        "cluster_filters": list(clusters.dense),
        "track_filters": list(tracks.dense),
        "muon_segment_filters": list(segments.dense),
        "cluster_lstm_nodes": clusters.lstm_units,
        "track_lstm_nodes": tracks.lstm_units,
        "muon_segment_lstm_nodes": segments.lstm_units,
        "lstm_layers": shape.lstm_layers,
        "encoder": shape.encoder,
        **({"encoder_options": [f"{name}={number}" for name, number in clusters.options]} if clusters.options else {}),
        "hidden_layer_fraction": _fraction(shape.hidden, said.get("hidden_layer_fraction")),
        "mH_parametrization": shape.masses == 2 or (shape.masses == 1 and not reads_scalar_mass),
        "mS_parametrization": reads_scalar_mass,
    }


def _fraction(widths: tuple[int, ...], said: Any) -> float | None:
    """A factor on 512 and 64 that gives the widths; None where there is none."""
    if len(widths) != len(HIDDEN_WIDTHS):
        return None
    candidates = [float(width / full) for width, full in zip(widths, HIDDEN_WIDTHS, strict=True)]
    if isinstance(said, int | float) and math.isfinite(said):
        candidates.insert(0, float(said))
    # Both products are cut to whole numbers, so the larger of the two smallest factors fits both if any does.
    candidates.append(max(candidates))
    fitting = [
        factor
        for factor in candidates
        if all(max(1, int(full * factor)) == width for width, full in zip(widths, HIDDEN_WIDTHS, strict=True))
    ]
    return fitting[0] if fitting else None

"""The settings of an imported training: those that it left, and what its network says."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.loading import LARGEST_OF_A_RUN, read_config, settings_from
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import InputFileError, harmless
from cal_ratio_trainer.formats.stored_layers import EarlierNetwork
from cal_ratio_trainer.network.shape import HIDDEN_WIDTHS, NetworkShape

UNKNOWN_FILE = "unknown"
"""In place of the training files of an imported run that does not say them."""

_NO_SETTINGS = "It has no training_params.yaml: what its network does not say stands at today's defaults."
_MAX_LIST = 500


def listed(names: Iterable[str]) -> str:
    """Joins names out of files with commas, and cuts off what is too long for a message."""
    text = ", ".join(harmless(name, kept="") for name in names)
    return text if len(text) <= _MAX_LIST else f"{text[:_MAX_LIST]}..."


def imported_settings(
    file: Path | None, network: EarlierNetwork, given: Mapping[str, Any]
) -> tuple[TrainSettings, list[str]]:
    """Settings under which the network could have been trained.

    Args:
        file: training_params.yaml of the earlier program; None where there is none.
        network: as it was read; it decides where the file says otherwise.
        given: settings that are said by the user.

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
        notes.append(f"Its hidden widths {widths} come of no hidden_layer_fraction: it cannot be trained further.")
    files = dict.fromkeys(("main_training_file", "cr_training_file"), UNKNOWN_FILE)
    layers: list[tuple[str, dict[str, Any]]] = [
        ("packaged defaults", TrainSettings.defaults() | files),
        (str(file), said),
        ("the network", fixed | dict(given)),
    ]
    return settings_from(TrainSettings, layers), notes


def _read(file: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        renamed = TrainSettings.with_new_names(read_config(file, LARGEST_OF_A_RUN))
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    known = {name: value for name, value in renamed.items() if name in TrainSettings.model_fields and value is not None}
    unknown = sorted(renamed.keys() - TrainSettings.model_fields.keys())
    notes = [f"Settings without a meaning here are left out: {listed(unknown)}."] if unknown else []
    if "num_splits" in known:
        # The earlier program wrote both and never used this one.
        known.pop("batch_size", None)
    elif "batch_size" in known:
        known["num_splits"] = None
    return known, notes


def _shape_settings(shape: NetworkShape, said: Mapping[str, Any]) -> dict[str, Any]:
    clusters, tracks, segments = shape.branches
    # Which one it is where there is only one mass is known from the settings alone.
    reads_scalar_mass = shape.masses == 2 or (shape.masses == 1 and said.get("mS_parametrization") is True)
    return {
        "cluster_filters": list(clusters.dense),
        "track_filters": list(tracks.dense),
        "muon_segment_filters": list(segments.dense),
        "cluster_lstm_nodes": clusters.lstm_units,
        "track_lstm_nodes": tracks.lstm_units,
        "muon_segment_lstm_nodes": segments.lstm_units,
        "lstm_layers": shape.lstm_layers,
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

"""Files in the formats of Keras 2, made without it: legacy HDF5, the zip of Keras 2.13, and damaged ones."""

import copy
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cal_ratio_trainer.formats.fdeep_file import Flavour, architecture, fdeep_bytes
from cal_ratio_trainer.formats.layers import Layer, classifier_layers
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets
from cal_ratio_trainer.network.shape import NetworkShape
from tests.formats.numpy_network import random_inputs, scores

Weights = Mapping[str, np.ndarray]
Config = dict[str, Any]


def keras_2_config(shape: NetworkShape) -> Config:
    """Architecture in the form of Keras 2, with all initialisers and penalties."""
    config = copy.deepcopy(architecture(shape, Flavour.KERAS_2))
    for entry in config["config"]["layers"]:
        if entry["class_name"] in ("Conv1D", "Dense", "LSTM"):
            penalty = {"class_name": "L1L2", "config": {"l1": 1e-11, "l2": 1e-11}}
            entry["config"] |= {"kernel_regularizer": penalty, "bias_constraint": None, "kernel_initializer": {"a": 1}}
        if entry["class_name"] == "LSTM":
            entry["config"] |= {"implementation": 2, "time_major": False}
        if entry["class_name"] == "Dropout":
            entry["config"] |= {"noise_shape": None, "seed": None}
    return config


def layers_of(config: Config) -> dict[str, Config]:
    """The entries of a config by name."""
    return {entry["name"]: entry for entry in config["config"]["layers"]}


def legacy_hdf5(shape: NetworkShape, weights: Weights, config: Config | None = None) -> bytes:
    """`model.save` of Keras 2 (with a config) or `model.save_weights` (without)."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        top = file.create_group("model_weights") if config is not None else file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.13.1"
        layers = classifier_layers(shape)
        top.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            group = top.create_group(layer.name)
            inner = f"{layer.name}/lstm_cell" if layer.kind == "LSTM" else layer.name
            names = [f"{inner}/{part}:0" for part in _parts_of(layer)]
            group.attrs["weight_names"] = names if names else np.zeros(0)
            for name, array in zip(names, _arrays(layer, weights), strict=True):
                group[name] = array
    return buffer.getvalue()


def keras_2_zip(shape: NetworkShape, weights: Weights, config: Config | None = None) -> bytes:
    """The `.keras` file of Keras 2.13; its layers are numbered by class, those with weights by two."""
    return zipped(
        {
            "metadata.json": json.dumps({"keras_version": "2.13.1", "date_saved": "2023-09-18@21:59:56"}).encode(),
            "config.json": json.dumps(config or keras_2_config(shape)).encode(),
            "model.weights.h5": numbered_hdf5(shape, weights),
        }
    )


def numbered_hdf5(shape: NetworkShape, weights: Weights) -> bytes:
    """The model.weights.h5 of Keras 2.13."""
    buffer = io.BytesIO()
    counts: dict[str, int] = {}
    stems = {"InputLayer": "input_layer"}
    with h5py.File(buffer, "w") as file:
        for layer in classifier_layers(shape):
            stem = stems.get(layer.kind, layer.kind.lower())
            number = counts.get(stem, 0)
            counts[stem] = number + (2 if layer.weights else 1)
            group = file.create_group(
                f"_layer_checkpoint_dependencies/{stem}_{number}"
                if number
                else f"_layer_checkpoint_dependencies/{stem}"
            )
            group.create_group("vars")
            place = group.create_group("cell/vars") if layer.kind == "LSTM" else group["vars"]
            for i, array in enumerate(_arrays(layer, weights)):
                place[str(i)] = array
    return buffer.getvalue()


def zipped(parts: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of some parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def fdeep_file(shape: NetworkShape, weights: Weights, flavour: Flavour, filled: Sequence[int] = (0, 1, 5, 30)) -> bytes:
    """A file of frugally-deep with test jets."""
    constituents, jets = random_inputs(shape, filled, seed=3)
    expected = scores(shape, weights, constituents, jets)
    tests = KnownScores(PaddedJets((*constituents, jets)), expected.astype(np.float32))
    return fdeep_bytes(shape, weights, flavour, tests)


def with_hdf5_changed(content: bytes, change: Callable[[h5py.File], None]) -> bytes:
    """The bytes of an HDF5 file after a change."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def written(folder: Path, content: bytes, name: str = "network") -> Path:
    """Path of a new file, whose name does not show its type."""
    path = folder / name
    path.write_bytes(content)
    return path


def _parts_of(layer: Layer) -> list[str]:
    return [name.rpartition(".")[2] for name in layer.weights]


def _arrays(layer: Layer, weights: Weights) -> list[np.ndarray]:
    arrays = [weights[name] for name in layer.weights]
    return [array[None] if layer.kind == "Conv1D" and array.ndim == 2 else array for array in arrays]

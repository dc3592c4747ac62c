"""Whole-model `.keras` files that Keras 3 opens, written without Keras; `keras_reading` reads them.

The same weights always give the same bytes. Only settings that Keras 3.0 knew already are written, so that every later
version opens the files; initialisers and penalties mean nothing any more once there are weights, and are left out.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.formats.keras_encoders import JOINING, OPERATIONS, keras_layers
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, Layer, checked_weights, input_names
from cal_ratio_trainer.formats.safetensors_file import described_shape
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.network.shape import NetworkShape

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
"""The parts of a file."""

SCHEMA = "cal_ratio_trainer_schema"
"""Entry of the metadata with the features that a network reads, if they are not the features of 2019."""

SHAPE = "cal_ratio_trainer_shape"
"""Entry of the metadata with the shape of a network whose encoder is not the LSTM."""

MODEL_NAME = "model"

# Keras writes its version and the time here. The config has the form of 3.0, which all later versions read; a
# fixed time keeps the bytes the same.
_METADATA_CONTENT = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)

_GROUP_STEMS = {"LayerNormalization": "layer_normalization"}
"""Names of groups by class of layer, unless the name is the class in small letters."""


def write_keras(path: Path, shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes a classifier as a `.keras` file, complete or not at all. Arguments and errors as `keras_model_bytes`."""
    write_bytes(path, keras_model_bytes(shape, weights))


def keras_model_bytes(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The content of a `.keras` file: a functional model that gives scores [jets, 3] in the order QCD, signal, BIB.

    Its inputs are, for each branch, [jets, slots, inputs + masses], then the jets themselves, [jets, jet inputs
    + masses]. Features other than the 2019 ones are described in its metadata.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, in the shapes of `shape.weight_shapes()`; stored as float32.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight contains NaN or infinities.
    """
    layers = keras_layers(shape)
    config = functional_config(layers, input_names(shape), OUTPUT_LAYER)
    metadata: dict[str, Any] = dict(_METADATA_CONTENT)
    if shape.encoder != DEFAULT_ENCODER:
        metadata[SHAPE] = described_shape(shape)
    elif shape.schema != CALRATIO_2019:
        metadata[SCHEMA] = shape.schema.model_dump(mode="json", exclude_defaults=True)
    parts = {
        METADATA: json.dumps(metadata).encode(),
        CONFIG: json.dumps(config).encode(),
        WEIGHTS: weights_bytes(layers, checked_weights(shape, weights)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content)
    return buffer.getvalue()


def functional_config(layers: Sequence[Layer], inputs: Sequence[str], output: str) -> dict[str, Any]:
    """The content of config.json, ready for json.dumps.

    Args:
        layers: all layers, in Keras' order.
        inputs: names of the input layers, in the order in which the model takes its inputs.
        output: name of the last layer.
    """
    by_name = {layer.name: layer for layer in layers}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": MODEL_NAME,
            "trainable": True,
            "layers": [_layer_entry(layer, by_name) for layer in layers],
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[output, 0, 0]],
        },
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
        "compile_config": None,
    }


def _layer_entry(layer: Layer, by_name: Mapping[str, Layer]) -> dict[str, Any]:
    if layer.kind in OPERATIONS:
        own: dict[str, Any] = dict(layer.settings)
    elif layer.kind == "InputLayer":
        own = {"batch_shape": [None, *layer.output], "dtype": "float32", "sparse": False}
    else:
        own = {"trainable": True, "dtype": "float32", **layer.settings}
    entry: dict[str, Any] = {
        "module": OPERATIONS.get(layer.kind, "keras.layers"),
        "class_name": layer.kind,
        "config": {"name": layer.name, **own},
        "registered_name": layer.kind if layer.kind in OPERATIONS else None,
        "name": layer.name,
        "inbound_nodes": [],
    }
    if layer.sources:
        tensors = [_tensor(by_name[source]) for source in layer.sources]
        entry["inbound_nodes"] = [{"args": [tensors] if layer.kind in JOINING else tensors, "kwargs": {}}]
    if layer.weights:
        entry["build_config"] = {"input_shape": [None, *by_name[layer.sources[0]].output]}
    return entry


def _tensor(layer: Layer) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, *layer.output], "dtype": "float32", "keras_history": [layer.name, 0, 0]},
    }


def weights_bytes(layers: Sequence[Layer], weights: Mapping[str, FloatArray]) -> bytes:
    """An HDF5 file with the weights of all layers; the same weights give the same bytes.

    Args:
        layers: all layers in Keras' order. The group of a layer is numbered by its place among the layers of its class,
            which is not the number in the layer's name, e.g. 'constit_final_conv1d' is in 'layers/conv1d_8'.
        weights: float32 arrays by name, kernels [in, out].
    """
    counts: dict[str, int] = {}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file.create_group("vars")  # Keras 3.5 looks for it even if the model itself has no variables
        for layer in layers:
            if layer.kind in OPERATIONS:
                continue
            stem = _GROUP_STEMS.get(layer.kind, layer.kind.lower())
            number = counts.get(stem, 0)
            counts[stem] = number + 1
            group = f"layers/{stem}_{number}" if number else f"layers/{stem}"
            file.create_group(f"{group}/vars").attrs["name"] = layer.name
            place = f"{group}/cell/vars" if layer.kind == "LSTM" else f"{group}/vars"
            for i, name in enumerate(layer.weights):
                values = weights[name]
                if layer.kind == "Conv1D" and values.ndim == 2:
                    # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel an axis: [1, in, out].
                    values = values[np.newaxis]
                file.create_dataset(f"{place}/{i}", data=values, track_times=False)
    return buffer.getvalue()

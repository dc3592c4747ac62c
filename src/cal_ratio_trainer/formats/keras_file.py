"""Whole-model `.keras` files that Keras 3 opens, and their configuration, written without Keras; `keras_reading` reads.

The same weights always give the same bytes. Only settings that Keras 3.0 knew already are written, so that every later
version opens the files; initialisers and penalties mean nothing any more once there are weights, and are left out.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.formats.graph import WEIGHT_NAMES, Graph, GraphLayer
from cal_ratio_trainer.formats.keras_encoders import JOINING, OPERATIONS, keras_layers
from cal_ratio_trainer.formats.layers import (
    OUTPUT_LAYER,
    Layer,
    checked_weights,
    input_names,
)
from cal_ratio_trainer.formats.safetensors_file import described_shape
from cal_ratio_trainer.formats.stored_layers import BadNetworkFile, BadWeightsFile, StoredLayer
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER
from cal_ratio_trainer.network.shape import NetworkShape

_MAX_LAYERS = 1000
_MAX_NAME_CHARACTERS = 200
_KERAS = ("keras", "tf_keras", "tensorflow")
_HARMLESS_ARGUMENTS: tuple[Any, ...] = (None, False, {})


class BadArchitecture(BadNetworkFile):
    """A config is not one of Keras, or describes another network; names the layer."""


def architecture_of(config: Any) -> Graph:
    """The graph in a config.

    Args:
        config: parsed JSON of a Keras config: {"class_name": "Functional", "config": {"layers": [...], ...}}.

    Raises:
        BadArchitecture: the config is no architecture, a layer reads one that is missing, or is used more than once.
    """
    kind = _get(config, "class_name", str, "the config")
    if kind not in ("Functional", "Model"):
        raise BadArchitecture(f"describes a {kind!a:.80} model, expected a Functional one")
    content = _get(config, "config", dict, "the config")
    entries = _get(content, "layers", list, "the config")
    if len(entries) > _MAX_LAYERS:
        raise BadArchitecture(f"has {len(entries)} layers; networks of at most {_MAX_LAYERS} are read")
    layers: dict[str, GraphLayer] = {}
    for entry in entries:
        layer = _layer(entry)
        if layer.name in layers:
            raise BadArchitecture(f"has two layers named {layer.name!r}")
        layers[layer.name] = layer
    _check_sources(layers)
    inputs = tuple(_inputs(content, layers))
    return Graph(layers, inputs, _output(content, layers))


def with_weights(graph: Graph, stored: Mapping[str, StoredLayer]) -> Graph:
    """A graph with the weights of its layers, kernels [in, out].

    Args:
        graph: of a file.
        stored: the file's layers with weights, by name, as Keras keeps them.

    Raises:
        BadWeightsFile: a layer with weights lacks them, or has another number.
    """
    layers = {}
    for name, layer in graph.layers.items():
        parts = WEIGHT_NAMES.get(layer.kind, ())
        if parts and name not in stored:
            raise BadWeightsFile(f"the weights of layer {name!r} are missing")
        arrays = stored[name].arrays if parts else ()
        if len(arrays) != len(parts):
            raise BadWeightsFile(f"layer {name!r} has {len(arrays)} weights, expected {len(parts)}")
        # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel one more axis, [1, in, out].
        plain = (array[0] if array.ndim == 3 and len(array) == 1 else array for array in arrays)
        layers[name] = replace(layer, weights=dict(zip(parts, plain, strict=True)))
    return replace(graph, layers=layers)


def _get(holder: Any, key: str, kind: type, where: str) -> Any:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, kind):
        raise BadArchitecture(f"{where} has no {key} that is a {kind.__name__}")
    return found


def _layer(entry: Any) -> GraphLayer:
    config = _get(entry, "config", dict, "a layer")
    name = _name(entry, config)
    where = f"layer {name!r}"
    kind, nodes = _kind(entry, where), _get(entry, "inbound_nodes", list, where)
    if len(nodes) > 1:
        raise BadArchitecture(f"{where} is used {len(nodes)} times, expected once")
    return GraphLayer(kind, name, tuple(_sources(nodes, where)), config)


def _name(entry: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    name = entry.get("name", config.get("name"))
    if not isinstance(name, str) or config.get("name", name) != name:
        raise BadArchitecture(f"has a layer that is called {name!r:.80} and {config.get('name')!r:.80}")
    if len(name) > _MAX_NAME_CHARACTERS:
        raise BadArchitecture(f"has a layer with a name of {len(name)} characters; {_MAX_NAME_CHARACTERS} are read")
    return name


def _kind(entry: Mapping[str, Any], where: str) -> str:
    kind: str = _get(entry, "class_name", str, where)
    if len(kind) > _MAX_NAME_CHARACTERS or not kind.isidentifier():
        raise BadArchitecture(f"{where} is of a class {kind!r:.80}, which is no name of one")
    if made_elsewhere := _foreign_origin(entry, kind):
        raise BadArchitecture(f"{where} is of a class {kind} that is not Keras' own: {made_elsewhere!r:.80}")
    return kind


def _foreign_origin(entry: Mapping[str, Any], kind: str) -> Any:
    """Origin of a custom class, which may compute anything under a name of Keras; None for Keras' own classes."""
    module, registered = entry.get("module"), entry.get("registered_name")
    if module is not None and str(module).partition(".")[0] not in _KERAS:
        return module
    return registered if registered not in (None, kind) else None


def _sources(nodes: Sequence[Any], where: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, dict):
            if any(value not in _HARMLESS_ARGUMENTS for value in _get(node, "kwargs", dict, where).values()):
                raise BadArchitecture(f"{where} is called with {node['kwargs']!r:.80}, which is not understood")
            yield from _keras_3_sources(_get(node, "args", list, where), where)
        elif isinstance(node, list):
            for connection in node:
                yield _keras_2_source(connection, where)
        else:
            raise BadArchitecture(f"{where} has a connection that is not understood: {node!r:.80}")


def _keras_3_sources(arguments: Sequence[Any], where: str) -> Iterator[str]:
    # A layer that joins others takes them as one argument, a list.
    joined = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
    for tensor in joined:
        history = _get(_get(tensor, "config", dict, where), "keras_history", list, where)
        yield _keras_2_source(history, where)


def _keras_2_source(connection: Any, where: str) -> str:
    # [name, node, tensor] and, in Keras 2, arguments of the call
    if not isinstance(connection, list) or len(connection) not in (3, 4) or not isinstance(connection[0], str):
        raise BadArchitecture(f"{where} has a connection that is not understood: {connection!r:.80}")
    if any(type(number) is not int or number for number in connection[1:3]) or connection[3:] not in ([], [{}]):
        raise BadArchitecture(f"{where} reads {connection!r:.80}, expected the first output of a layer")
    return connection[0]


def _check_sources(layers: Mapping[str, GraphLayer]) -> None:
    for layer in layers.values():
        for source in layer.sources:
            if source not in layers:
                raise BadArchitecture(
                    f"layer {layer.name!r} reads {source!r:.80}, which is not there{did_you_mean(source, layers)}"
                )


def _inputs(content: Mapping[str, Any], layers: Mapping[str, GraphLayer]) -> list[str]:
    said = _connections(content, "input_layers")
    there = [layer.name for layer in layers.values() if layer.kind == "InputLayer"]
    if sorted(said) != sorted(there):
        raise BadArchitecture(f"names the inputs {said!s:.400}, but its input layers are {there!s:.400}")
    return said


def _output(content: Mapping[str, Any], layers: Mapping[str, GraphLayer]) -> str:
    said = _connections(content, "output_layers")
    if len(said) != 1 or said[0] not in layers:
        raise BadArchitecture(f"gives out the layers {said!s:.400}, expected one")
    return said[0]


def _connections(content: Mapping[str, Any], key: str) -> list[str]:
    """Keras 3 writes a single connection without the list around it."""
    said = _get(content, key, list, "the config")
    several = said if all(isinstance(each, list) for each in said) else [said]
    return [_keras_2_source(connection, key) for connection in several]


METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
"""The parts of a file."""

SCHEMA = "cal_ratio_trainer_schema"
"""Entry of the metadata that holds the features that a network reads, where they are not those of 2019."""

SHAPE = "cal_ratio_trainer_shape"
"""Entry of the metadata that holds the shape of a network whose encoder is not the LSTM."""

MODEL_NAME = "model"

# Keras writes its version and the time here. The form of the config is that of 3.0, which all later versions read; a
# fixed time keeps the bytes the same.
_METADATA_CONTENT = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def write_keras(path: Path, shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes a classifier as a `.keras` file, complete or not at all. Arguments and errors as `keras_model_bytes`."""
    write_bytes(path, keras_model_bytes(shape, weights))


def keras_model_bytes(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The content of a `.keras` file: a functional model that gives scores [jets, 3] in the order QCD, signal, BIB.

    Its inputs are, for each branch, [jets, slots, inputs + masses], then the jets themselves, [jets, jet inputs
    + masses]. Features other than those of 2019 are described in its metadata.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, shaped as `shape.weight_shapes()` says; stored as float32.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight holds NaN or infinities.
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


_GROUP_STEMS = {"LayerNormalization": "layer_normalization"}
"""Of layers with weights whose group is not their class in small letters."""


def weight_groups(layers: Sequence[Layer]) -> dict[str, str]:
    """Group of each layer by its name, as Keras has it, e.g. 'constit_final_conv1d' -> 'layers/conv1d_8'.

    Args:
        layers: all layers in Keras' order. A group is numbered by its layer's place among those of the same class,
            which is not the number in the layer's name.
    """
    counts: dict[str, int] = {}
    groups: dict[str, str] = {}
    for layer in layers:
        stem = _GROUP_STEMS.get(layer.kind, layer.kind.lower())
        number = counts.get(stem, 0)
        counts[stem] = number + 1
        groups[layer.name] = f"layers/{stem}_{number}" if number else f"layers/{stem}"
    return groups


def weights_bytes(layers: Sequence[Layer], weights: Mapping[str, FloatArray]) -> bytes:
    """An HDF5 file with the weights of all layers; the same weights give the same bytes.

    Args:
        layers: all layers in Keras' order.
        weights: float32 arrays by name, kernels [in, out].
    """
    groups = weight_groups(layers)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file.create_group("vars")  # Keras 3.5 looks for it even where the model itself has no variables
        for layer in layers:
            if layer.kind in OPERATIONS:
                continue
            file.create_group(f"{groups[layer.name]}/vars").attrs["name"] = layer.name
            for i, name in enumerate(layer.weights):
                values = weights[name]
                if layer.kind == "Conv1D" and values.ndim == 2:
                    # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel an axis: [1, in, out].
                    values = values[np.newaxis]
                file.create_dataset(f"{weight_group(groups, layer)}/{i}", data=values, track_times=False)
    return buffer.getvalue()


def weight_group(groups: Mapping[str, str], layer: Layer) -> str:
    """Group of the weights of a layer."""
    return f"{groups[layer.name]}/cell/vars" if layer.kind == "LSTM" else f"{groups[layer.name]}/vars"

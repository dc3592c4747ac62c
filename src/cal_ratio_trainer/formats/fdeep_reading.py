"""frugally-deep's JSON read the way the library reads it: into a graph, with its defaults for what is not said.

Whether the network is one of ours is not asked here.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_ratio_trainer.formats.fdeep_file import BadFloats, Flavour, FloatArray, decoded_floats
from cal_ratio_trainer.formats.graph import BIAS, KERNEL, RECURRENT_KERNEL, Graph, GraphLayer

_LSTM_DEFAULTS = {"activation": "tanh", "use_bias": True, "return_sequences": False}


class BadFdeepFile(ValueError):
    """A file is none of frugally-deep's, or a damaged one; names the layer."""


@dataclass(frozen=True)
class FdeepContent:
    """Content of a file.

    Attributes:
        flavour: which versions of the library read it.
        graph: the network.
        hash: what the file says that the hash of its weights is.
        computed_hash: what it really is.
        tests: for each jet of its load check the inputs, without the batch, and the scores.
    """

    flavour: Flavour
    graph: Graph
    hash: str
    computed_hash: str
    tests: tuple[tuple[tuple[FloatArray, ...], FloatArray], ...]

    def test_arrays(self) -> tuple[list[FloatArray], FloatArray]:
        """The jets of the load check: for each input [jets, ...], and their scores [jets, outputs]."""
        inputs, scores = zip(*self.tests, strict=True)
        return [np.stack(arrays) for arrays in zip(*inputs, strict=True)], np.stack(scores)


def read_fdeep(content: bytes) -> FdeepContent:
    """Reads the content of a file.

    Raises:
        BadFdeepFile: it is no JSON, or lacks something, or holds something else in its place; names the layer.
    """
    try:
        said = json.loads(content)
        config = said["architecture"]["config"]
        flavour = _flavour(config["layers"])
        layers = [_layer(entry, flavour, said["trainable_params"]) for entry in config["layers"]]
        graph = Graph(
            {layer.name: layer for layer in layers},
            tuple(str(name) for name, *_ in config["input_layers"]),
            _only_output(config["output_layers"]),
        )
        tests = tuple(_test(test) for test in said.get("tests") or ())
        return FdeepContent(flavour, graph, str(said.get("hash", "")), _hash(layers), tests)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadFdeepFile(f"lacks what a file of frugally-deep has ({error!r})") from error
    except (ValueError, RecursionError) as error:
        raise BadFdeepFile(str(error)) from error


def _flavour(entries: Sequence[Mapping[str, Any]]) -> Flavour:
    inputs = [entry["config"] for entry in entries if entry["class_name"] == "InputLayer"]
    for flavour in Flavour:
        if inputs and all(flavour.shape_key in config for config in inputs):
            return flavour
    raise ValueError("its input layers say neither batch_input_shape (Keras 2) nor batch_shape (Keras 3)")


def _only_output(connections: Sequence[Sequence[Any]]) -> str:
    ((name, *_),) = connections
    return str(name)


def _layer(entry: Mapping[str, Any], flavour: Flavour, parameters: Mapping[str, Any]) -> GraphLayer:
    kind, name, config = str(entry["class_name"]), str(entry["name"]), dict(entry["config"])
    sources = _sources(entry["inbound_nodes"], flavour)
    if kind == "LSTM":
        config = {**_LSTM_DEFAULTS, "recurrent_activation": flavour.default_recurrent_activation, **config}
    read = _WEIGHT_READERS.get(kind)
    try:
        weights = read(config, parameters[name]) if read else {}
    except BadFloats as error:
        raise BadFloats(f"layer {name!r}: {error}") from error
    except KeyError as error:
        raise ValueError(f"layer {name!r} lacks {error}") from error
    return GraphLayer(kind, name, sources, config, weights)


def _sources(nodes: Sequence[Any], flavour: Flavour) -> tuple[str, ...]:
    if not nodes:
        return ()
    (node,) = nodes
    if flavour is Flavour.KERAS_2:
        return tuple(str(connection[0]) for connection in node)
    arguments = node["args"]
    tensors = arguments[0] if isinstance(arguments[0], list) else arguments
    return tuple(str(tensor["config"]["keras_history"][0]) for tensor in tensors)


def _dense(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, FloatArray]:
    kernel, bias = decoded_floats(parameters["weights"]), decoded_floats(parameters["bias"])
    return {KERNEL: _shaped(kernel, (-1, config["units"])), BIAS: bias}


def _convolution(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, FloatArray]:
    kernel, bias = decoded_floats(parameters["weights"]), decoded_floats(parameters["bias"])
    if math.prod(config["kernel_size"]) != 1 or math.prod(config["strides"]) != 1:
        raise BadFloats(f"a kernel of size {config['kernel_size']!r}, expected 1")
    return {KERNEL: _shaped(kernel, (config["filters"], -1)).T, BIAS: bias}


def _lstm(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, FloatArray]:
    kernel, recurrent = decoded_floats(parameters["weights"]), decoded_floats(parameters["recurrent_weights"])
    units = config["units"]
    return {
        KERNEL: _shaped(kernel, (-1, 4 * units)),
        RECURRENT_KERNEL: _shaped(recurrent, (units, 4 * units)),
        BIAS: decoded_floats(parameters["bias"]),
    }


_WEIGHT_READERS = {"Dense": _dense, "Conv1D": _convolution, "LSTM": _lstm}


def _shaped(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise BadFloats(f"{len(values)} weights do not fit the shape {shape}") from error


def _hash(layers: Sequence[GraphLayer]) -> str:
    digest = hashlib.sha256()
    for layer in layers:
        for values in layer.weights.values():
            digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
        digest.update(layer.name.encode())
    return digest.hexdigest()


def _test(test: Mapping[str, Any]) -> tuple[tuple[FloatArray, ...], FloatArray]:
    (scores,) = test["outputs"]
    return tuple(_tensor(tensor) for tensor in test["inputs"]), _tensor(scores)


def _tensor(tensor: Mapping[str, Any]) -> FloatArray:
    return decoded_floats(tensor["values"]).reshape(tensor["shape"])

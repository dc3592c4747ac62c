"""A network as a plain graph of layers, and its scores in double precision with numpy alone.

Written files are read back into this form and evaluated: a path of its own, which shares no arithmetic with the network
that is trained and no code with the writers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.formats.hdf5_reader import StoredLayer
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.layers import WEIGHT_NAMES, Layer, input_names
from cal_ratio_trainer.network.shape import NetworkShape

DoubleArray = NDArray[np.float64]
_Weight = NDArray[Any]

_HARD_SIGMOID_SLOPE = 0.2


class BadGraph(ValueError):
    """A graph cannot be evaluated, or computes what is not understood here; names the layer."""


@dataclass(frozen=True)
class Graph:
    """A whole network.

    Attributes:
        layers: all layers by name.
        inputs: names of the input layers, in order.
        output: name of the layer that gives the scores.
        weights: weights of the layers that have some, by the layer's name.
    """

    layers: Mapping[str, Layer]
    inputs: tuple[str, ...]
    output: str
    weights: Mapping[str, StoredLayer] = field(default_factory=dict)


def graph_of(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> Graph:
    """The graph of one of our networks.

    Args:
        shape: the classifier's shape.
        weights: every weight by name.
    """
    layers = keras_layers(shape)
    stored = {
        layer.name: StoredLayer(layer.kind, layer.name, layer.name, tuple(weights[name] for name in layer.weights))
        for layer in layers
        if layer.weights
    }
    return Graph({layer.name: layer for layer in layers}, input_names(shape), layers[-1].name, stored)


def evaluate(graph: Graph, inputs: Sequence[np.ndarray[Any, Any]]) -> DoubleArray:
    """Scores of the network for padded jets.

    Args:
        graph: the network.
        inputs: an array for each of its inputs, in order: [jets, slots, inputs] or [jets, inputs].

    Returns:
        [jets, outputs] in double precision; scores, if the last layer is a softmax.

    Raises:
        BadGraph: a layer is of a kind that is not known here, reads one that is not there, goes round in a circle, or
            has weights that do not fit what it reads.
    """
    if len(inputs) != len(graph.inputs):
        raise BadGraph(f"takes {len(graph.inputs)} inputs, but {len(inputs)} were given")
    known = {name: array.astype(np.float64) for name, array in zip(graph.inputs, inputs, strict=True)}
    for name in _in_order(graph):
        if name not in known:
            layer = graph.layers[name]
            try:
                if layer.kind not in _COMPUTE:
                    raise ValueError(f"layers of class {layer.kind!r} are not known")
                weights = graph.weights[name].arrays if layer.kind in WEIGHT_NAMES else ()
                known[name] = _COMPUTE[layer.kind](layer, *(known[source] for source in layer.sources), *weights)
            except (ValueError, IndexError, KeyError, TypeError) as error:
                raise BadGraph(f"layer {name!r}: {error}") from error
    return known[graph.output]


def _in_order(graph: Graph) -> list[str]:
    """The layers that the output needs, each after the layers that it reads."""
    done: dict[str, None] = {}
    waiting, begun = [graph.output], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        if name not in graph.layers:
            raise BadGraph(f"there is no layer {name!r}")
        missing = [source for source in graph.layers[name].sources if source not in done]
        if not missing:
            done[name] = None
        elif name in begun:
            raise BadGraph(f"layer {name!r} reads its own output")
        else:
            begun.add(name)
            waiting += [name, *missing]
    return list(done)


def _product(layer: Layer, rows: DoubleArray, kernel: _Weight, bias: _Weight) -> DoubleArray:
    if layer.settings.get("use_bias") is not True:
        raise ValueError(f"use_bias is {layer.settings.get('use_bias')!r}, expected True")
    result: DoubleArray = rows @ kernel.astype(np.float64) + bias.astype(np.float64)
    return result


def _dense(layer: Layer, rows: DoubleArray, kernel: _Weight, bias: _Weight) -> DoubleArray:
    """A dense layer, or a convolution that is one slot wide."""
    return _activation(layer.settings["activation"])(_product(layer, rows, kernel, bias))


def _lstm(layer: Layer, sequence: DoubleArray, kernel: _Weight, recurrent: _Weight, bias: _Weight) -> DoubleArray:
    inner, gate = _activation(layer.settings["activation"]), _activation(layer.settings["recurrent_activation"])
    between = recurrent.astype(np.float64)
    hidden = cell = np.zeros((len(sequence), len(between)))
    arriving = _product(layer, sequence, kernel, bias)
    states = []
    for slot in range(sequence.shape[1]):
        enter, forget, candidate, leave = np.split(arriving[:, slot] + hidden @ between, 4, axis=1)
        cell = gate(forget) * cell + gate(enter) * inner(candidate)
        hidden = gate(leave) * inner(cell)
        states.append(hidden)
    return np.stack(states, axis=1) if layer.settings["return_sequences"] else hidden


def _cropped(layer: Layer, values: DoubleArray) -> DoubleArray:
    sides = layer.settings["cropping"]
    inside = tuple(
        slice(before, size - behind) for (before, behind), size in zip(sides, values.shape[1:], strict=False)
    )
    return values[(slice(None), *inside)]


def _layer_norm(layer: Layer, rows: DoubleArray, scale: _Weight, bias: _Weight) -> DoubleArray:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.settings["epsilon"])
    result: DoubleArray = centred / spread * scale + bias
    return result


def _rectified(layer: Layer, values: DoubleArray) -> DoubleArray:
    if layer.settings.get("negative_slope") or layer.settings.get("threshold"):
        raise ValueError("has a slope or a threshold, expected none")
    return np.clip(values, 0, layer.settings["max_value"])


def _summed_product(layer: Layer, first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """[jets, n, a], [jets, n, b] -> [jets, a, b]."""
    if layer.settings["axes"] != 1 or layer.settings.get("normalize"):
        raise ValueError(f"axes is {layer.settings['axes']!r}, expected 1, without normalisation")
    return first.transpose(0, 2, 1) @ second


_COMPUTE: dict[str, Callable[..., DoubleArray]] = {
    "Dropout": lambda layer, values: values,
    "Concatenate": lambda layer, *values: np.concatenate(values, axis=layer.settings["axis"]),
    "Conv1D": _dense,
    "Dense": _dense,
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    "Add": lambda layer, first, second: first + second,
    "Multiply": lambda layer, first, second: first * second,
    "Matmul": lambda layer, first, second: first @ second,
    "Dot": _summed_product,
    "Rescaling": lambda layer, values: values * layer.settings["scale"] + layer.settings["offset"],
    "ReLU": _rectified,
    "Reshape": lambda layer, values: values.reshape(len(values), *layer.settings["target_shape"]),
    "Permute": lambda layer, values: values.transpose(0, *layer.settings["dims"]),
    "Cropping3D": _cropped,
    "ZeroPadding1D": lambda layer, values: np.pad(values, ((0, 0), layer.settings["padding"], (0, 0))),
    "Softmax": lambda layer, values: _softmax(values, layer.settings["axis"]),
    "GlobalMaxPooling1D": lambda layer, values: values.max(axis=1, keepdims=layer.settings["keepdims"]),
}
"""Output of each class of layers, from the layer, the outputs that it reads, and its weights."""


def _activation(name: str) -> Callable[[DoubleArray], DoubleArray]:
    if name not in _ACTIVATIONS:
        raise ValueError(f"the activation {name!r} is not known")
    return _ACTIVATIONS[name]


def _softmax(values: DoubleArray, axis: int = -1) -> DoubleArray:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    result: DoubleArray = powers / powers.sum(axis=axis, keepdims=True)
    return result


_ACTIVATIONS: dict[str, Callable[[DoubleArray], DoubleArray]] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "tanh": lambda values: np.tanh(values),
    "sigmoid": lambda values: 0.5 * (1 + np.tanh(values / 2)),
    "hard_sigmoid": lambda values: np.clip(_HARD_SIGMOID_SLOPE * values + 0.5, 0, 1),
    "softmax": _softmax,
}

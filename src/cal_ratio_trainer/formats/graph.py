"""A network as a plain graph of layers, and its scores in double precision with numpy alone.

Written files are read back into this form and evaluated: a path of its own, which shares no arithmetic with the network
that is trained and no code with the writers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.layers import input_names
from cal_ratio_trainer.network.shape import NetworkShape

DoubleArray = NDArray[np.float64]

KERNEL, RECURRENT_KERNEL, BIAS, SCALE = "kernel", "recurrent_kernel", "bias", "scale"
WEIGHT_NAMES = {
    "Conv1D": (KERNEL, BIAS),
    "Dense": (KERNEL, BIAS),
    "LSTM": (KERNEL, RECURRENT_KERNEL, BIAS),
    "LayerNormalization": (SCALE, BIAS),
}
"""The weights of each class of layers that has some, in Keras' order."""

_HARD_SIGMOID_SLOPE = 0.2


class BadGraph(ValueError):
    """A graph cannot be evaluated, or computes what is not understood here; names the layer."""


@dataclass(frozen=True)
class GraphLayer:
    """One layer.

    Attributes:
        kind: the Keras class.
        name: unique within the graph.
        sources: names of the layers that it reads, in order.
        config: the settings that decide what is computed, all of them written out.
        weights: by the names of `WEIGHT_NAMES`: kernels [in, out] (a convolution's too: its kernel is one slot
            wide), LSTM gates in the order i f c o.
    """

    kind: str
    name: str
    sources: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A whole network: its layers by name, the inputs in order, and the layer that gives the scores."""

    layers: Mapping[str, GraphLayer]
    inputs: tuple[str, ...]
    output: str


def graph_of(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> Graph:
    """The graph of one of our networks.

    Args:
        shape: the classifier's shape.
        weights: every weight by name.
    """
    layers = keras_layers(shape)
    graph = {
        layer.name: GraphLayer(
            layer.kind,
            layer.name,
            layer.sources,
            layer.settings,
            {part: weights[name] for part, name in zip(WEIGHT_NAMES.get(layer.kind, ()), layer.weights, strict=True)},
        )
        for layer in layers
    }
    return Graph(graph, input_names(shape), layers[-1].name)


def evaluate(graph: Graph, inputs: Sequence[np.ndarray[Any, Any]]) -> DoubleArray:
    """Scores of the network for padded jets.

    Args:
        graph: the network.
        inputs: an array for each of its inputs, in order: [jets, slots, inputs] or [jets, inputs].

    Returns:
        [jets, outputs] in double precision; scores, where the last layer is a softmax.

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
                known[name] = _compute(layer, [known[source] for source in layer.sources])
            except (ValueError, IndexError, KeyError, TypeError) as error:
                raise BadGraph(f"layer {name!r}: {error}") from error
    return known[graph.output]


def _in_order(graph: Graph) -> list[str]:
    """The layers that the output needs, each after those that it reads."""
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


def _compute(layer: GraphLayer, sources: Sequence[DoubleArray]) -> DoubleArray:
    if layer.kind == "Dropout":
        return sources[0]
    if layer.kind == "Concatenate":
        return np.concatenate(sources, axis=layer.config["axis"])
    if layer.kind == "LSTM":
        return _lstm(layer, sources[0])
    if layer.kind in ("Conv1D", "Dense"):
        return _activation(layer.config["activation"])(_dense(layer, sources[0]))
    if layer.kind in _SIMPLE:
        return _SIMPLE[layer.kind](layer, *sources)
    raise ValueError(f"layers of class {layer.kind!r} are not known")


def _dense(layer: GraphLayer, rows: DoubleArray) -> DoubleArray:
    if layer.config.get("use_bias") is not True:
        raise ValueError(f"use_bias is {layer.config.get('use_bias')!r}, expected True")
    result: DoubleArray = rows @ layer.weights[KERNEL].astype(np.float64) + layer.weights[BIAS].astype(np.float64)
    return result


def _lstm(layer: GraphLayer, sequence: DoubleArray) -> DoubleArray:
    inner, gate = _activation(layer.config["activation"]), _activation(layer.config["recurrent_activation"])
    recurrent = layer.weights[RECURRENT_KERNEL].astype(np.float64)
    hidden = cell = np.zeros((len(sequence), len(recurrent)))
    arriving = _dense(layer, sequence)
    states = []
    for slot in range(sequence.shape[1]):
        enter, forget, candidate, leave = np.split(arriving[:, slot] + hidden @ recurrent, 4, axis=1)
        cell = gate(forget) * cell + gate(enter) * inner(candidate)
        hidden = gate(leave) * inner(cell)
        states.append(hidden)
    return np.stack(states, axis=1) if layer.config["return_sequences"] else hidden


def _cropped(layer: GraphLayer, values: DoubleArray) -> DoubleArray:
    sides = layer.config["cropping"]
    inside = tuple(
        slice(before, size - behind) for (before, behind), size in zip(sides, values.shape[1:], strict=False)
    )
    return values[(slice(None), *inside)]


def _layer_norm(layer: GraphLayer, rows: DoubleArray) -> DoubleArray:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.config["epsilon"])
    result: DoubleArray = centred / spread * layer.weights[SCALE] + layer.weights[BIAS]
    return result


def _rectified(layer: GraphLayer, values: DoubleArray) -> DoubleArray:
    if layer.config.get("negative_slope") or layer.config.get("threshold"):
        raise ValueError("has a slope or a threshold, expected none")
    return np.clip(values, 0, layer.config["max_value"])


def _summed_product(layer: GraphLayer, first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """[jets, n, a], [jets, n, b] -> [jets, a, b]."""
    if layer.config["axes"] != 1 or layer.config.get("normalize"):
        raise ValueError(f"axes is {layer.config['axes']!r}, expected 1, without normalisation")
    return first.transpose(0, 2, 1) @ second


_SIMPLE: dict[str, Callable[..., DoubleArray]] = {
    "Add": lambda layer, first, second: first + second,
    "Multiply": lambda layer, first, second: first * second,
    "Matmul": lambda layer, first, second: first @ second,
    "Dot": _summed_product,
    "Rescaling": lambda layer, values: values * layer.config["scale"] + layer.config["offset"],
    "ReLU": _rectified,
    "Reshape": lambda layer, values: values.reshape(len(values), *layer.config["target_shape"]),
    "Permute": lambda layer, values: values.transpose(0, *layer.config["dims"]),
    "Cropping3D": _cropped,
    "ZeroPadding1D": lambda layer, values: np.pad(values, ((0, 0), layer.config["padding"], (0, 0))),
    "Softmax": lambda layer, values: _softmax(values, layer.config["axis"]),
    "LayerNormalization": _layer_norm,
    "GlobalMaxPooling1D": lambda layer, values: values.max(axis=1, keepdims=layer.config["keepdims"]),
}
"""Functions that layers of the encoders compute, by class."""


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

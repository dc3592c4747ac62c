"""The classifier as a list of Keras layers: names as in the earlier program's files, in the order of Keras.

Keras, frugally-deep and ONNX files are written from this list, and files that are read become the same layers (`Graph`
in `graph`). Layers compute nothing here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CLUSTERS, MUON_SEGMENTS, TRACKS
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER, BranchShape, encoder_named
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

BRANCH_PREFIXES = {CLUSTERS.name: "constit", TRACKS.name: "track", MUON_SEGMENTS.name: "MSeg"}
"""Beginnings of the earlier program's layer names, by kind of constituent."""

ENCODER_LAYER = "Encoder"
"""Kind of the one layer in place of a branch whose encoder Keras does not have."""

JET_INPUT = "jet_input_cr"
OUTPUT_LAYER = "main_output"


WEIGHT_NAMES = {
    "Conv1D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "LSTM": ("kernel", "recurrent_kernel", "bias"),
    "LayerNormalization": ("scale", "bias"),
}
"""Weights of each class of layers that has some, in Keras' order."""


class NonFiniteWeights(UserError):
    """Weights contain NaN or infinities: the training that made them has diverged."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        super().__init__(f"weight {name} holds {count} values that are not finite; no network file can be made of it")


@dataclass(frozen=True)
class Layer:
    """One layer of a Keras model: of one of our networks, or read from a file.

    Attributes:
        kind: Keras class, e.g. 'Conv1D'.
        name: unique within the model.
        sources: names of the layers whose outputs it reads, in order.
        output: shape of its output, without the batch; () for a layer of a file.
        settings: arguments of the Keras class; for our networks exactly those that decide what is computed.
        weights: names of its weights (see `NetworkShape.weight_shapes`), in Keras' order; () for a layer of a file.
    """

    kind: str
    name: str
    sources: tuple[str, ...]
    output: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] = ()


class LayerGraph:
    """Layers of a network that is being put together."""

    def __init__(self, dropout: float) -> None:
        self.dropout = dropout
        self.layers: dict[str, Layer] = {}
        self._counts: dict[str, int] = {}

    def add(self, layer: Layer) -> str:
        """Adds a layer; returns its name."""
        self.layers[layer.name] = layer
        return layer.name

    def dropped(self, source: str) -> str:
        """Adds a dropout layer after another; returns its name."""
        name = self.free_name("dropout")
        return self.add(Layer("Dropout", name, (source,), self.layers[source].output, {"rate": self.dropout}))

    def free_name(self, stem: str) -> str:
        """The next name that Keras would give: conv1d, conv1d_1, conv1d_2, ..."""
        number = self._counts.get(stem, 0)
        self._counts[stem] = number + 1
        return f"{stem}_{number}" if number else stem


BranchLayers = Callable[[LayerGraph, BranchShape, str], str]
"""Adds the layers of a branch behind its input layer, of that name, to a graph; returns the name of the last."""


def classifier_layers(shape: NetworkShape, branch_layers: BranchLayers | None = None) -> tuple[Layer, ...]:
    """All layers of the classifier, in the order of `model.layers` once Keras has built it.

    Args:
        shape: shape of the classifier.
        branch_layers: adds the layers of each branch; None adds the layers of the LSTM, or one `ENCODER_LAYER` for
            another encoder.
    """
    graph, ends = LayerGraph(shape.dropout), list[str]()
    for branch in shape.branches:
        source = graph.add(Layer("InputLayer", input_name(branch), (), (branch.slots, branch.inputs + shape.masses)))
        if branch_layers is not None:
            ends.append(branch_layers(graph, branch, source))
        elif shape.encoder == DEFAULT_ENCODER:
            ends.append(_lstm_branch(graph, branch, source, shape.lstm_layers))
        else:
            # Keras has no single layer for it; the encoder itself writes its part of an ONNX file.
            encoder, inputs = encoder_named(shape.encoder), branch.inputs + shape.masses
            names = encoder.weight_shapes(branch, inputs, shape.lstm_layers)
            weights = tuple(f"{branch.name}.{name}" for name in names)
            settings, output = {"branch": branch, "inputs": inputs}, (encoder.width(branch),)
            name = f"{branch.name}_{shape.encoder}"
            ends.append(graph.add(Layer(ENCODER_LAYER, name, (source,), output, settings, weights)))
    jet = graph.add(Layer("InputLayer", JET_INPUT, (), (shape.jet_inputs,)))
    width = shape.encoded_width + shape.jet_inputs
    last = graph.add(Layer("Concatenate", "concatenate", (*ends, jet), (width,), {"axis": -1}))
    for i, units in enumerate(shape.hidden):
        # The earlier program counted these from 1, and frugally-deep's checksum runs over the names.
        last = graph.dropped(graph.add(_dense(f"dense_{i + 1}", last, units, f"hidden.{i}")))
    graph.add(_dense(OUTPUT_LAYER, last, OUTPUTS, "output", activation="softmax"))
    return in_keras_order(graph.layers.values(), OUTPUT_LAYER)


def input_name(branch: BranchShape) -> str:
    """The input layer of a branch, e.g. 'constit_input_cr'."""
    return f"{_prefix(branch)}_input_cr"


def onnx_slots(shape: NetworkShape, branch: BranchShape) -> int | str:
    """Slots of a branch's input in an ONNX file; the name of a free dimension if it takes any number of them."""
    return branch.name if encoder_named(shape.encoder).any_length else branch.slots


def input_names(shape: NetworkShape) -> tuple[str, ...]:
    """The input layers in the order in which the model takes its inputs: branches, then the jet."""
    return (*(input_name(branch) for branch in shape.branches), JET_INPUT)


def in_keras_order(layers: Iterable[Layer], output: str) -> tuple[Layer, ...]:
    """Layers as Keras sorts them: farthest from the output first, ties in the order met when walking back from it.

    Args:
        layers: all layers of a graph without circles; layers that the output does not need are left out.
        output: name of the last layer.
    """
    by_name = {layer.name: layer for layer in layers}
    met, behind_sources = {output: 0}, list[str]()
    walk = [(output, iter(by_name[output].sources))]
    while walk:
        name, sources = walk[-1]
        new = next((source for source in sources if source not in met), None)
        if new is None:
            behind_sources.append(name)
            walk.pop()
        else:
            met[new] = len(met)
            walk.append((new, iter(by_name[new].sources)))
    depths = {output: 0}
    for name in reversed(behind_sources):
        for source in by_name[name].sources:
            depths[source] = max(depths.get(source, 0), depths[name] + 1)
    return tuple(by_name[name] for name in sorted(met, key=lambda name: (-depths[name], met[name])))


def _lstm_branch(graph: LayerGraph, branch: BranchShape, source: str, lstm_layers: int) -> str:
    last = source
    for i in range(len(branch.dense)):
        is_final = i == len(branch.dense) - 1
        name = f"{_prefix(branch)}_final_conv1d" if is_final else graph.free_name("conv1d")
        last = graph.add(_convolution(name, last, branch, i))
        if i:  # the first layer goes without dropout
            last = graph.dropped(last)
    for i in range(lstm_layers):
        last = graph.add(_lstm(graph.free_name("lstm"), last, branch, i, returns_sequences=i < lstm_layers - 1))
    return graph.dropped(last)


def _convolution(name: str, source: str, branch: BranchShape, number: int) -> Layer:
    units = branch.dense[number]
    settings = {
        "filters": units,
        "kernel_size": [1],
        "strides": [1],
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": [1],
        "groups": 1,
        "activation": "relu",
        "use_bias": True,
    }
    weights = tuple(f"{branch.name}.dense.{number}.{part}" for part in ("kernel", "bias"))
    return Layer("Conv1D", name, (source,), (branch.slots, units), settings, weights)


def _lstm(name: str, source: str, branch: BranchShape, number: int, *, returns_sequences: bool) -> Layer:
    settings = {
        "return_sequences": returns_sequences,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "units": branch.lstm_units,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "unit_forget_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    }
    output = (branch.slots, branch.lstm_units) if returns_sequences else (branch.lstm_units,)
    weights = tuple(f"{branch.name}.lstm.{number}.{part}" for part in ("kernel", "recurrent_kernel", "bias"))
    return Layer("LSTM", name, (source,), output, settings, weights)


def _dense(name: str, source: str, units: int, weights: str, activation: str = "relu") -> Layer:
    settings = {"units": units, "activation": activation, "use_bias": True}
    return Layer("Dense", name, (source,), (units,), settings, (f"{weights}.kernel", f"{weights}.bias"))


def _prefix(branch: BranchShape) -> str:
    return BRANCH_PREFIXES.get(branch.name, branch.name)


def checked_weights(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, FloatArray]:
    """Every weight as contiguous float32, by name and in the order of `shape.weight_shapes()`.

    Args:
        shape: the classifier's shape.
        weights: every weight by name.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight contains NaN or infinities.
    """
    expected = shape.weight_shapes()
    if weights.keys() != expected.keys():
        raise ValueError(f"weights missing or unknown: {sorted(weights.keys() ^ expected.keys())}")
    stored = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in expected}
    for name, values in stored.items():
        if values.shape != expected[name]:
            raise ValueError(f"weight {name} has shape {values.shape}, expected {expected[name]}")
        if bad := int(np.count_nonzero(~np.isfinite(values))):
            raise NonFiniteWeights(name, bad)
    return stored

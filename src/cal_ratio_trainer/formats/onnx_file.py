"""The network as an ONNX file, written node by node; the same weights and properties always give the same bytes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cal_ratio_trainer.formats.layers import ENCODER_LAYER, Layer, checked_weights, classifier_layers, input_names
from cal_ratio_trainer.formats.onnx_graph import OLDEST_OPSET, OnnxGraph
from cal_ratio_trainer.formats.onnx_preprocessing import Preprocessing, add_preprocessing
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.encoders.base import Encoder, encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

_GATES = 4
_KERAS_GATE_OF = (0, 3, 1, 2)
"""Positions of ONNX' gates input, output, forget, cell among Keras' input, forget, cell, output."""


def onnx_bytes(
    shape: NetworkShape,
    weights: Mapping[str, np.ndarray[Any, Any]],
    properties: Mapping[str, str],
    opset: int = OLDEST_OPSET,
    preprocessing: Preprocessing | None = None,
) -> bytes:
    """The content of a file that gives scores [jets, 3] for any number of jets.

    Without preprocessing its inputs and output have the names and shapes of the Keras file's; with it see
    `onnx_preprocessing`.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, shaped as `shape.weight_shapes()` says; stored as float32.
        properties: metadata of the file, by name.
        opset: the version of ONNX' operators.
        preprocessing: preprocessing for a network that takes converted jets; None takes scaled jets.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight holds NaN or infinities.
        BadOpset: the installed onnx does not know this version.
    """
    graph, layers = OnnxGraph(), classifier_layers(shape)
    if preprocessing:
        tensors = add_preprocessing(graph, shape, preprocessing)
    else:
        outputs = {layer.name: layer.output for layer in layers}
        tensors = {name: graph.add_input(name, outputs[name]) for name in input_names(shape)}
    network = _Network(graph, checked_weights(shape, weights), tensors, encoder_named(shape.encoder))
    for layer in layers:
        network.add(layer)
    return graph.model_bytes(layers[-1].name, layers[-1].output, opset, properties)


class _Network:
    """Turns layers into nodes.

    Args:
        graph: graph to which the nodes are added.
        weights: every weight by name, float32.
        tensors: for each input layer the tensor that is its output.
        encoder: of the branches.
    """

    def __init__(
        self, graph: OnnxGraph, weights: Mapping[str, FloatArray], tensors: Mapping[str, str], encoder: Encoder
    ) -> None:
        self._graph, self._weights, self._tensors, self._encoder = graph, weights, dict(tensors), encoder

    def add(self, layer: Layer) -> None:
        """Adds a layer, after those that it reads."""
        if layer.kind == "InputLayer":
            return
        sources = [self._tensors[name] for name in layer.sources]
        if layer.kind == "Dropout":
            self._tensors[layer.name] = sources[0]
        elif layer.kind == "Concatenate":
            self._tensors[layer.name] = self._graph.add("Concat", sources, layer.name, axis=1)
        elif layer.kind == ENCODER_LAYER:
            branch = layer.settings["branch"]
            weights = {name.removeprefix(f"{branch.name}."): self._weights[name] for name in layer.weights}
            self._tensors[layer.name] = self._encoder.add_to_onnx(self._graph, sources[0], weights, branch)
        elif layer.kind == "LSTM":
            self._tensors[layer.name] = self._lstm(layer, sources[0])
        else:
            self._tensors[layer.name] = self._dense(layer, sources[0])

    def _dense(self, layer: Layer, source: str) -> str:
        kernel, bias = (self._graph.constant(name, self._weights[name]) for name in layer.weights)
        product = self._graph.add("MatMul", [source, kernel], f"{layer.name}/product")
        total = self._graph.add("Add", [product, bias], f"{layer.name}/sum")
        if layer.settings["activation"] == "softmax":
            return self._graph.add("Softmax", [total], layer.name, axis=1)
        return self._graph.add("Relu", [total], layer.name)

    def _lstm(self, layer: Layer, source: str) -> str:
        """ONNX runs over the first axis, [slots, jets, inputs], and has an axis for the direction."""
        names = [self._graph.constant(name, _onnx_weight(name, self._weights[name])) for name in layer.weights]
        kernel, recurrent, bias = names
        units = layer.settings["units"]
        slots_first = self._graph.add("Transpose", [source], f"{layer.name}/slots_first", perm=[1, 0, 2])
        inputs = [slots_first, kernel, recurrent, bias]
        if not layer.settings["return_sequences"]:
            last = f"{layer.name}/last"
            self._graph.add_with_outputs("LSTM", inputs, ["", last], hidden_size=units)
            return self._reshaped(last, layer.name, (-1, units))
        states = self._graph.add("LSTM", inputs, f"{layer.name}/states", hidden_size=units)
        without_direction = self._reshaped(states, f"{layer.name}/without_direction", (layer.output[0], -1, units))
        return self._graph.add("Transpose", [without_direction], layer.name, perm=[1, 0, 2])

    def _reshaped(self, source: str, output: str, shape: tuple[int, ...]) -> str:
        wanted = self._graph.constant("shape" + "".join(f"_{size}" for size in shape), np.array(shape, dtype=np.int64))
        return self._graph.add("Reshape", [source, wanted], output)


def _onnx_weight(name: str, values: FloatArray) -> FloatArray:
    """A kernel [in, 4 units] as [1, 4 units, in], a bias [4 units] as [1, 8 units], with ONNX' order of gates."""
    gates = np.split(values, _GATES, axis=-1)
    ordered = np.concatenate([gates[i] for i in _KERAS_GATE_OF], axis=-1)
    if name.endswith(".bias"):
        # ONNX has a second bias for the recurrent product, Keras one for both.
        return np.concatenate([ordered, np.zeros_like(ordered)])[None, :]
    return np.ascontiguousarray(ordered.T)[None, :, :]

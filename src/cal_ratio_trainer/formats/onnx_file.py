"""The network as an ONNX file, written node by node; the same weights and properties always give the same bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cal_ratio_trainer.formats.layers import (
    ENCODER_LAYER,
    JET_INPUT,
    Layer,
    checked_weights,
    classifier_layers,
    input_name,
    onnx_slots,
)
from cal_ratio_trainer.formats.onnx_graph import OLDEST_OPSET, OnnxGraph, Preprocessing, add_preprocessing
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.encoders.base import BranchShape, Encoder, encoder_named
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
    padding: Mapping[str, Sequence[float]] | None = None,
    averaged_with: Sequence[Mapping[str, np.ndarray[Any, Any]]] = (),
) -> bytes:
    """The content of a file that gives scores [jets, 3] for any number of jets.

    Without preprocessing its inputs and output have the names and shapes of the Keras file's; with it see
    `onnx_graph.add_preprocessing`. With an encoder of `any_length` the number of slots is free, 0 included.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, in the shapes of `shape.weight_shapes()`; stored as float32.
        properties: metadata of the file, by name.
        opset: the version of ONNX' operators.
        preprocessing: preprocessing for a network that takes converted jets; None takes scaled jets.
        padding: without preprocessing, for each branch the row [inputs] of an empty slot, if it is not zeros; the LSTM
            reads it like any other.
        averaged_with: weights of further networks of this shape that read the same inputs; the scores are then the mean
            of the scores of all.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight contains NaN or infinities.
        BadOpset: the installed onnx does not know this version.
    """
    graph, layers, rows = OnnxGraph(), classifier_layers(shape), padding or {}
    if preprocessing:
        rows = preprocessing.padding
        tensors = add_preprocessing(graph, shape, preprocessing)
    else:
        sizes: dict[str, tuple[int | str, ...]] = {
            input_name(branch): (onnx_slots(shape, branch), branch.inputs + shape.masses) for branch in shape.branches
        }
        sizes[JET_INPUT] = (shape.jet_inputs,)
        tensors = {name: graph.add_input(name, size) for name, size in sizes.items()}
    outputs: list[str] = []
    for number, values in enumerate((weights, *averaged_with)):
        part = graph.part(f"member_{number}/") if averaged_with else graph
        network = _Network(part, checked_weights(shape, values), tensors, encoder_named(shape.encoder), rows)
        outputs = [*outputs, [network.add(layer) for layer in layers][-1]]
    if averaged_with:
        graph.add("Mean", outputs, layers[-1].name)
    return graph.model_bytes(layers[-1].name, layers[-1].output, opset, properties)


class _Network:
    """Turns layers into nodes.

    Args:
        graph: graph to which the nodes are added.
        weights: every weight by name, float32.
        tensors: for each input layer the tensor that is its output.
        encoder: encoder of the branches.
        padding: see `onnx_bytes`.
    """

    def __init__(
        self,
        graph: OnnxGraph,
        weights: Mapping[str, FloatArray],
        tensors: Mapping[str, str],
        encoder: Encoder,
        padding: Mapping[str, Sequence[float]],
    ) -> None:
        self._graph, self._weights, self._tensors, self._encoder = graph, weights, dict(tensors), encoder
        self._padding = padding

    def add(self, layer: Layer) -> str:
        """Adds a layer, after the layers that it reads; returns its output."""
        if layer.kind == "InputLayer":
            return self._tensors[layer.name]
        sources = [self._tensors[name] for name in layer.sources]
        if layer.kind == "Dropout":
            self._tensors[layer.name] = sources[0]
        elif layer.kind == "Concatenate":
            self._tensors[layer.name] = self._graph.add("Concat", sources, layer.name, axis=1)
        elif layer.kind == ENCODER_LAYER:
            branch = layer.settings["branch"]
            weights = {name.removeprefix(f"{branch.name}."): self._weights[name] for name in layer.weights}
            filled = self._filled(branch, layer.settings["inputs"], sources[0])
            self._tensors[layer.name] = self._encoder.add_to_onnx(self._graph, sources[0], filled, weights, branch)
        elif layer.kind == "LSTM":
            self._tensors[layer.name] = self._lstm(layer, sources[0])
        else:
            self._tensors[layer.name] = self._dense(layer, sources[0])
        return self._tensors[layer.name]

    def _filled(self, branch: BranchShape, inputs: int, source: str) -> str:
        """1 for slots that differ from the padding row, else 0; float32 [jets, slots, 1]."""
        graph, name = self._graph, f"{branch.name}/filled_slots"
        row = np.zeros(inputs, dtype=np.float32)
        row[: branch.inputs] = self._padding.get(branch.name, 0)
        difference = graph.add("Sub", [source, graph.constant(f"{name}/empty", row)], f"{name}/difference")
        ones = graph.constant(f"{name}/ones", np.ones((inputs, 1), dtype=np.float32))
        size = graph.add("MatMul", [graph.add("Abs", [difference], f"{name}/sizes"), ones], f"{name}/size")
        is_filled = graph.add("Greater", [size, graph.constant("zero", np.float32(0))], f"{name}/is_filled")
        return graph.add("Cast", [is_filled], name, to=1)

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
            outputs = ["", f"{layer.name}/last"]
            last = self._graph.add_with_outputs("LSTM", inputs, outputs, hidden_size=units)
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

"""frugally-deep's JSON files, of version 0.15 (Keras 2) and of 0.20 and later (Keras 3), read with care.

The file becomes a graph, with the library's defaults for missing values; a network is then recognised in it. Weights
are guarded by a hash, and by test jets with expected scores: both must be right. The check of written files reads them
here too. Nothing is shared with the writer but the names of the flavours.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.fdeep_file import BadFloats, Flavour, decoded_floats
from cal_ratio_trainer.formats.graph import BadGraph, Graph, GraphLayer, evaluate
from cal_ratio_trainer.formats.keras_file import architecture_of, with_weights
from cal_ratio_trainer.formats.recognition import recognised
from cal_ratio_trainer.formats.stored_layers import (
    BadNetworkFile,
    BadWeightsFile,
    StoredLayer,
    StoredNetwork,
    weights_by_name,
)
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

TEST_TOLERANCE = 1e-4
"""Largest difference of the scores of the test jets, as the library itself allows."""

MAX_JSON_BYTES = 1 << 25
"""Bytes of a file: 80 times those of the 2019 network. As objects a text can take 25 times its size in memory."""

_LSTM_DEFAULTS = {"activation": "tanh", "use_bias": True, "return_sequences": False}
_KEYS = {
    "Conv1D": ("weights", "bias"),
    "Dense": ("weights", "bias"),
    "LSTM": ("weights", "recurrent_weights", "bias"),
}
_MAX_TESTS = 10_000

TestJets = tuple[tuple[tuple[FloatArray, ...], FloatArray], ...]


class BadFdeepFile(BadNetworkFile):
    """A JSON file is not one of frugally-deep, or it contradicts itself; names the place."""


@dataclass(frozen=True)
class FdeepContent:
    """Content of a file.

    Attributes:
        flavour: versions of the library that read it.
        graph: the network, with its weights.
        stored: the layers with weights as Keras keeps them, by name.
        hash: of the weights and layer names, from the file.
        computed_hash: as it really is.
        tests: for each jet of its load check the inputs, without the batch, and the scores.
        said: everything else in the file.
    """

    flavour: Flavour
    graph: Graph
    stored: Mapping[str, StoredLayer]
    hash: Any
    computed_hash: str
    tests: TestJets
    said: Mapping[str, Any]

    def test_arrays(self) -> tuple[list[FloatArray], FloatArray]:
        """The jets of the load check: for each input [jets, ...], and their scores [jets, outputs]."""
        inputs, scores = zip(*self.tests, strict=True)
        return [np.stack(arrays) for arrays in zip(*inputs, strict=True)], np.stack(scores)


def read_fdeep(content: bytes) -> FdeepContent:
    """Reads the content of a file; neither the network nor the hash is checked.

    Raises:
        BadNetworkFile: it is no JSON, or lacks something, or holds something else in its place; names the layer.
    """
    if len(content) > MAX_JSON_BYTES:
        raise BadFdeepFile(f"has more than {MAX_JSON_BYTES} bytes, too many for the JSON of a network")
    try:
        said = parsed(content)
    except BadJson as error:
        raise BadFdeepFile(str(error)) from error
    if not isinstance(said, dict) or "architecture" not in said:
        raise BadFdeepFile("is no file of frugally-deep: it has no architecture")
    graph = architecture_of(said["architecture"])
    flavour = _flavour(graph)
    parameters = said.get("trainable_params")
    if not isinstance(parameters, dict):
        raise BadFdeepFile("has no trainable_params")
    stored = _stored_layers(graph, parameters)
    defaults = {**_LSTM_DEFAULTS, "recurrent_activation": flavour.default_recurrent_activation}
    layers = {
        name: replace(layer, config={**defaults, **layer.config}) if layer.kind == "LSTM" else layer
        for name, layer in graph.layers.items()
    }
    graph = with_weights(replace(graph, layers=layers), stored)
    return FdeepContent(flavour, graph, stored, said.get("hash"), _hash(graph, stored), _tests(said.get("tests")), said)


def network_from_fdeep(content: bytes) -> StoredNetwork:
    """The network in a file of frugally-deep.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or holds another network; names the layer.
    """
    file = read_fdeep(content)
    # Without the library's defaults: a file of this program says everything that decides what is computed.
    found = recognised(architecture_of(file.said["architecture"]))
    if file.hash != file.computed_hash:
        raise BadFdeepFile(
            f"its weights and layer names have the hash {file.computed_hash}, but it says {file.hash!r:.80}: the file "
            "was damaged or changed"
        )
    weights = weights_by_name(found.shape, found.names, file.stored)
    _check_shapes(file, found.shape)
    _check_tests(file)
    versions = "0.20 and later" if file.flavour is Flavour.KERAS_3 else "0.15"
    return StoredNetwork(
        found.shape,
        weights,
        f"frugally-deep JSON for version {versions}, {len(file.tests)} test jets",
        tuple(file.graph.layers),
        found.dropout_is_said,
        () if file.tests else ("The file has no test jets, so its scores could not be checked.",),
    )


def _flavour(graph: Graph) -> Flavour:
    inputs = [layer.config for layer in graph.layers.values() if layer.kind == "InputLayer"]
    for flavour in Flavour:
        if inputs and all(flavour.shape_key in config for config in inputs):
            return flavour
    raise BadFdeepFile("its input layers say neither batch_input_shape (Keras 2) nor batch_shape (Keras 3)")


def _stored_layers(graph: Graph, parameters: Mapping[str, Any]) -> dict[str, StoredLayer]:
    """The weights of all layers as Keras keeps them: the library swaps the axes of a convolution's kernel."""
    stored = {}
    for name, content in parameters.items():
        layer = graph.layers.get(name)
        if layer is None or layer.kind not in _KEYS:
            raise BadWeightsFile(f"holds weights of a layer {name!r:.80}, which the network does not have")
        keys = _KEYS[layer.kind]
        if not isinstance(content, dict) or content.keys() != set(keys):
            there = sorted(content) if isinstance(content, dict) else content
            raise BadWeightsFile(f"layer {name!r} has the weights {there!r:.80}, expected {sorted(keys)}")
        try:
            arrays = tuple(_shaped(layer, key, decoded_floats(content[key])) for key in keys)
        except BadFloats as error:
            raise BadWeightsFile(f"layer {name!r}: {error}") from error
        stored[name] = StoredLayer(layer.kind, name, "trainable_params", arrays)
    return stored


def _shaped(layer: GraphLayer, key: str, values: FloatArray) -> FloatArray:
    if key == "bias":
        return values
    width = layer.config.get("filters" if layer.kind == "Conv1D" else "units")
    columns = 4 * width if layer.kind == "LSTM" and type(width) is int else width
    if type(columns) is not int or columns < 1 or values.size % columns:
        raise BadFloats(f"{values.size} weights do not fit the width {width!r:.40}")
    if layer.kind == "Conv1D":
        for setting in ("kernel_size", "strides"):
            if layer.config.get(setting, [1]) != [1]:
                raise BadFloats(f"{setting} is {layer.config[setting]!r:.40}, expected [1]")
        return np.ascontiguousarray(np.moveaxis(values.reshape(columns, 1, -1), 0, 2))
    return values.reshape(-1, columns)


def _hash(graph: Graph, stored: Mapping[str, StoredLayer]) -> str:
    """The library's hash runs over all layers in the file's order: the weights as Keras keeps them, then the name."""
    digest = hashlib.sha256()
    for name in graph.layers:
        for array in stored[name].arrays if name in stored else ():
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        digest.update(name.encode())
    return digest.hexdigest()


def _tests(tests: Any) -> TestJets:
    if tests in (None, []):
        return ()
    if not isinstance(tests, list) or len(tests) > _MAX_TESTS:
        raise BadFdeepFile(f"tests is no list of at most {_MAX_TESTS} jets")
    return tuple((_tensors(test, "inputs"), _tensors(test, "outputs")[0]) for test in tests)


def _tensors(test: Any, key: str) -> tuple[FloatArray, ...]:
    tensors = test.get(key) if isinstance(test, dict) else None
    if not isinstance(tensors, list) or not tensors:
        raise BadFdeepFile(f"a test jet has no {key}")
    return tuple(_tensor(tensor) for tensor in tensors)


def _tensor(tensor: Any) -> FloatArray:
    try:
        values, shape = decoded_floats(tensor["values"]), tensor["shape"]
    except (BadFloats, LookupError, TypeError) as error:
        raise BadFdeepFile(f"a test jet: {error}") from error
    is_shape = isinstance(shape, list) and all(type(length) is int and length > 0 for length in shape)
    if not is_shape or math.prod(shape) != values.size:
        raise BadFdeepFile(f"a test jet has a tensor of {values.size} numbers that is not of its shape {shape!r:.80}")
    if not np.isfinite(values).all():
        raise BadFdeepFile("a test jet holds numbers that are not finite")
    return values.reshape(shape)


def _check_shapes(file: FdeepContent, shape: NetworkShape) -> None:
    constituents = [[branch.slots, branch.inputs + shape.masses] for branch in shape.branches]
    inputs: Sequence[Sequence[int]] = [*constituents, [shape.jet_inputs]]
    expected = {"input_shapes": inputs, "output_shapes": [[OUTPUTS]], "image_data_format": "channels_last"}
    for key, value in expected.items():
        if file.said.get(key, value) != value:
            raise BadFdeepFile(f"{key} is {file.said[key]!r:.120}, expected {value!r}")
    for arrays, scores in file.tests:
        found = [list(array.shape) for array in arrays]
        if found != inputs or scores.shape != (OUTPUTS,):
            raise BadFdeepFile(f"a test jet has inputs of the shapes {found!s:.200}, expected {inputs}")


def _check_tests(file: FdeepContent) -> None:
    if not file.tests:
        return
    inputs, expected = file.test_arrays()
    try:
        scores = evaluate(file.graph, inputs)
    except BadGraph as error:
        raise BadFdeepFile(f"its test jets cannot be scored: {error}") from error
    differences = np.abs(scores - expected).max(axis=1)
    if not (differences <= TEST_TOLERANCE).all():
        raise BadFdeepFile(
            f"its network gives other scores for {int((differences > TEST_TOLERANCE).sum())} of its {len(file.tests)} "
            f"test jets, by up to {differences.max():.3g}: the file was damaged or changed"
        )

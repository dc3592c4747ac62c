"""frugally-deep's JSON files, of version 0.15 (Keras 2) and of 0.20 and later (Keras 3), read with care.

The file becomes a graph, in which a network is then recognised. Weights are guarded by a hash, and by test jets with
expected scores: both must be right. The check of written files reads them here too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.architecture import architecture_of
from cal_ratio_trainer.formats.fdeep_file import (
    PARAMETER_NAMES,
    BadFloats,
    Flavour,
    decoded_floats,
    input_shapes,
    layers_hash,
)
from cal_ratio_trainer.formats.graph import BadGraph, Graph, evaluate
from cal_ratio_trainer.formats.hdf5_reader import StoredLayer
from cal_ratio_trainer.formats.layers import Layer
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets
from cal_ratio_trainer.formats.recognition import recognised
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, BadWeightsFile, StoredNetwork
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

TEST_TOLERANCE = 1e-4
"""Largest difference of the scores of the test jets, as the library itself allows."""

MAX_JSON_BYTES = 1 << 25
"""Limit on the bytes of a file: 80 times the 2019 network. A text can take 25 times its size as objects."""

_MAX_TESTS = 10_000


class BadFdeepFile(BadNetworkFile):
    """A JSON file is not one of frugally-deep, or it contradicts itself; names the place."""


@dataclass(frozen=True)
class FdeepContent:
    """Content of a file.

    Attributes:
        flavour: versions of the library that read it.
        graph: the network, with its weights.
        hash: hash of the weights and layer names that the file states.
        computed_hash: the same hash, computed from its content.
        tests: jets of its load check, with the scores that the file states; None if it has none.
        said: the whole file as plain JSON.
    """

    flavour: Flavour
    graph: Graph
    hash: Any
    computed_hash: str
    tests: KnownScores | None
    said: Mapping[str, Any]


def read_fdeep(content: bytes) -> FdeepContent:
    """Reads the content of a file; neither the network nor the hash is checked.

    Raises:
        BadNetworkFile: it is no JSON, or lacks something, or has something else in its place; names the layer.
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
    graph = replace(graph, weights=_weights(graph, parameters))
    weights = {name: stored.arrays for name, stored in graph.weights.items()}
    computed = layers_hash([(name, weights.get(name, ())) for name in graph.layers])
    return FdeepContent(flavour, graph, said.get("hash"), computed, _tests(said.get("tests")), said)


def network_from_fdeep(content: bytes) -> StoredNetwork:
    """The network in a file of frugally-deep.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or contains another network; names the layer.
    """
    file = read_fdeep(content)
    found = recognised(file.graph)
    if file.hash != file.computed_hash:
        raise BadFdeepFile(
            f"its weights and layer names have the hash {file.computed_hash}, but it says {file.hash!r:.80}: the file "
            "was damaged or changed"
        )
    network = found.network(file.graph)
    _check_shapes(file, network.shape)
    if file.tests is not None:
        _check_tests(file.graph, file.tests)
    versions = "0.20 and later" if file.flavour is Flavour.KERAS_3 else "0.15"
    count = 0 if file.tests is None else len(file.tests.inputs)
    return replace(
        network,
        form=f"frugally-deep JSON for version {versions}, {count} test jets",
        notes=() if count else ("The file has no test jets, so its scores could not be checked.",),
    )


def _flavour(graph: Graph) -> Flavour:
    inputs = [layer.settings for layer in graph.layers.values() if layer.kind == "InputLayer"]
    for flavour in Flavour:
        if inputs and all(flavour.shape_key in config for config in inputs):
            return flavour
    raise BadFdeepFile("its input layers say neither batch_input_shape (Keras 2) nor batch_shape (Keras 3)")


def _weights(graph: Graph, parameters: Mapping[str, Any]) -> dict[str, StoredLayer]:
    """The weights of all layers, kernels [in, out]: the library swaps the axes of a convolution's kernel."""
    stored = {}
    for name, content in parameters.items():
        layer = graph.layers.get(name)
        if layer is None or layer.kind not in PARAMETER_NAMES:
            raise BadWeightsFile(f"holds weights of a layer {name!r:.80}, which the network does not have")
        keys = PARAMETER_NAMES[layer.kind]
        if not isinstance(content, dict) or content.keys() != set(keys):
            there = sorted(content) if isinstance(content, dict) else content
            raise BadWeightsFile(f"layer {name!r} has the weights {there!r:.80}, expected {sorted(keys)}")
        try:
            arrays = tuple(_shaped(layer, key, decoded_floats(content[key])) for key in keys)
        except BadFloats as error:
            raise BadWeightsFile(f"layer {name!r}: {error}") from error
        stored[name] = StoredLayer(layer.kind, name, "trainable_params", arrays)
    for name, layer in graph.layers.items():
        if layer.kind in PARAMETER_NAMES and name not in stored:
            raise BadWeightsFile(f"the weights of layer {name!r} are missing")
    return stored


def _shaped(layer: Layer, key: str, values: FloatArray) -> FloatArray:
    if key == "bias":
        return values
    width = layer.settings.get("filters" if layer.kind == "Conv1D" else "units")
    columns = 4 * width if layer.kind == "LSTM" and type(width) is int else width
    if type(columns) is not int or columns < 1 or values.size % columns:
        raise BadFloats(f"{values.size} weights do not fit the width {width!r:.40}")
    if layer.kind == "Conv1D":
        for setting in ("kernel_size", "strides"):
            if layer.settings.get(setting, [1]) != [1]:
                raise BadFloats(f"{setting} is {layer.settings[setting]!r:.40}, expected [1]")
        return np.ascontiguousarray(values.reshape(columns, -1).T)
    return values.reshape(-1, columns)


def _tests(tests: Any) -> KnownScores | None:
    if tests in (None, []):
        return None
    if not isinstance(tests, list) or len(tests) > _MAX_TESTS:
        raise BadFdeepFile(f"tests is no list of at most {_MAX_TESTS} jets")
    jets = [(*_tensors(test, "inputs"), _tensors(test, "outputs")[0]) for test in tests]
    first, *others = ([list(array.shape) for array in jet] for jet in jets)
    for other in others:
        if first != other:
            raise BadFdeepFile(f"test jets have inputs and scores of the shapes {first!s:.200} and {other!s:.200}")
    *inputs, scores = (np.stack(arrays) for arrays in zip(*jets, strict=True))
    return KnownScores(PaddedJets(tuple(inputs)), scores)


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
    inputs = input_shapes(shape)
    expected = {"input_shapes": inputs, "output_shapes": [[OUTPUTS]], "image_data_format": "channels_last"}
    for key, value in expected.items():
        if file.said.get(key, value) != value:
            raise BadFdeepFile(f"{key} is {file.said[key]!r:.120}, expected {value!r}")
    if file.tests is not None:
        found = [list(array.shape[1:]) for array in file.tests.inputs.arrays]
        if found != inputs or file.tests.scores.shape[1:] != (OUTPUTS,):
            raise BadFdeepFile(f"a test jet has inputs of the shapes {found!s:.200}, expected {inputs}")


def _check_tests(graph: Graph, tests: KnownScores) -> None:
    try:
        scores = evaluate(graph, tests.inputs.arrays)
    except BadGraph as error:
        raise BadFdeepFile(f"its test jets cannot be scored: {error}") from error
    differences = np.abs(scores - tests.scores).max(axis=1)
    if not (differences <= TEST_TOLERANCE).all():
        raise BadFdeepFile(
            f"its network gives other scores for {int((differences > TEST_TOLERANCE).sum())} of its "
            f"{len(tests.inputs)} test jets, by up to {differences.max():.3g}: the file was damaged or changed"
        )

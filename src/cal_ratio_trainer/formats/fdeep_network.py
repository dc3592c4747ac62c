"""frugally-deep's JSON files, of version 0.15 (Keras 2) and of 0.20 and later (Keras 3), read with care.

Their weights are guarded by a hash, and by test jets with expected scores: both must be right.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cal_ratio_trainer.files.json_text import parsed
from cal_ratio_trainer.formats.architecture import Architecture, architecture_of
from cal_ratio_trainer.formats.fdeep_file import BadFloats, decoded_floats
from cal_ratio_trainer.formats.graph import BadGraph, evaluate, graph_of
from cal_ratio_trainer.formats.recognition import recognised
from cal_ratio_trainer.formats.stored_layers import (
    BadNetworkFile,
    BadWeightsFile,
    FloatArray,
    StoredLayer,
    StoredNetwork,
    Weights,
    weights_by_name,
)
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

TEST_TOLERANCE = 1e-4
"""How far the scores of the test jets may be off: what the library itself allows."""

_KEYS = {
    "Conv1D": ("weights", "bias"),
    "Dense": ("weights", "bias"),
    "LSTM": ("weights", "recurrent_weights", "bias"),
}
_MOST_TESTS = 10_000
LARGEST_JSON = 1 << 25
"""Bytes of a file: 80 times those of the 2019 network. As objects a text can take 25 times its size in memory."""


class BadFdeepFile(BadNetworkFile):
    """A JSON file is none of frugally-deep's, or it contradicts itself; says where."""


def network_from_fdeep(content: bytes) -> StoredNetwork:
    """The network in a file of frugally-deep.

    Raises:
        BadFdeepFile, BadJson, BadArchitecture, BadWeightsFile: it is none, damaged, or another network.
    """
    if len(content) > LARGEST_JSON:
        raise BadFdeepFile(f"has more than {LARGEST_JSON} bytes, too many for the JSON of a network")
    said = parsed(content)
    if not isinstance(said, dict) or "architecture" not in said:
        raise BadFdeepFile("is no file of frugally-deep: it has no architecture")
    architecture = architecture_of(said["architecture"])
    found = recognised(architecture)
    stored = _stored_layers(architecture, _mapping(said, "trainable_params"))
    _check_hash(said.get("hash"), architecture, stored)
    weights = weights_by_name(found.shape, found.names, stored)
    _check_shapes(said, found.shape)
    tests = _check_tests(said.get("tests"), found.shape, weights)
    is_keras_3 = any("batch_shape" in layer.config for layer in architecture.layers.values())
    notes = () if tests else ("The file has no test jets, so its scores could not be checked.",)
    return StoredNetwork(
        found.shape,
        weights,
        f"frugally-deep JSON for version {'0.20 and later' if is_keras_3 else '0.15'}, {tests} test jets",
        tuple(architecture.layers),
        found.dropout_is_said,
        notes,
    )


def _mapping(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = holder.get(key)
    if not isinstance(found, dict):
        raise BadFdeepFile(f"has no {key}")
    return found


def _stored_layers(architecture: Architecture, parameters: Mapping[str, Any]) -> dict[str, StoredLayer]:
    """The weights of all layers as Keras keeps them: the library turns the axes of a convolution's kernel round."""
    stored = {}
    for name, content in parameters.items():
        layer = architecture.layers.get(name)
        if layer is None or layer.kind not in _KEYS:
            raise BadWeightsFile(f"holds weights of a layer {name!r:.80}, which the network does not have")
        keys, width = _KEYS[layer.kind], layer.config["units" if layer.kind != "Conv1D" else "filters"]
        if not isinstance(content, dict) or content.keys() != set(keys):
            there = sorted(content) if isinstance(content, dict) else content
            raise BadWeightsFile(f"layer {name!r} has the weights {there!r:.80}, expected {sorted(keys)}")
        try:
            flat = [decoded_floats(content[key]) for key in keys]
            arrays = tuple(_shaped(layer.kind, key, values, width) for key, values in zip(keys, flat, strict=True))
        except (BadFloats, ValueError) as error:
            raise BadWeightsFile(f"layer {name!r}: {error}") from error
        stored[name] = StoredLayer(layer.kind, name, "trainable_params", arrays)
    return stored


def _shaped(kind: str, key: str, values: FloatArray, width: int) -> FloatArray:
    if key == "bias":
        return values
    if kind == "Conv1D":
        return np.ascontiguousarray(np.moveaxis(values.reshape(width, 1, -1), 0, 2))
    return values.reshape(-1, width if kind == "Dense" else 4 * width)


def _check_hash(said: Any, architecture: Architecture, stored: Mapping[str, StoredLayer]) -> None:
    """The library's hash runs over all layers in the file's order: the weights as Keras keeps them, then the name."""
    digest = hashlib.sha256()
    for name in architecture.layers:
        for array in stored[name].arrays if name in stored else ():
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        digest.update(name.encode())
    if said != digest.hexdigest():
        raise BadFdeepFile(
            f"its weights and layer names have the hash {digest.hexdigest()}, but it says {said!r:.80}: the file was "
            "damaged or changed"
        )


def _check_shapes(said: Mapping[str, Any], shape: NetworkShape) -> None:
    constituents = [[branch.slots, branch.inputs + shape.masses] for branch in shape.branches]
    expected = {
        "input_shapes": [*constituents, [shape.jet_inputs]],
        "output_shapes": [[OUTPUTS]],
        "image_data_format": "channels_last",
    }
    for key, value in expected.items():
        if said.get(key, value) != value:
            raise BadFdeepFile(f"{key} is {said[key]!r:.120}, expected {value!r}")


def _check_tests(tests: Any, shape: NetworkShape, weights: Weights) -> int:
    """Scores the test jets of a file; returns how many there are."""
    if tests in (None, []):
        return 0
    if not isinstance(tests, list) or len(tests) > _MOST_TESTS:
        raise BadFdeepFile(f"tests is no list of at most {_MOST_TESTS} jets")
    inputs, expected = zip(*(_test(test, shape) for test in tests), strict=True)
    try:
        scores = evaluate(graph_of(shape, weights), [np.stack(arrays) for arrays in zip(*inputs, strict=True)])
    except BadGraph as error:
        raise BadFdeepFile(f"its test jets cannot be scored: {error}") from error
    differences = np.abs(scores - np.stack(expected)).max(axis=1)
    if not (differences <= TEST_TOLERANCE).all():
        raise BadFdeepFile(
            f"its network gives other scores for {int((differences > TEST_TOLERANCE).sum())} of its {len(tests)} test "
            f"jets, by up to {differences.max():.3g}: the file was damaged or changed"
        )
    return len(tests)


def _test(test: Any, shape: NetworkShape) -> tuple[list[FloatArray], FloatArray]:
    wanted = [(branch.slots, branch.inputs + shape.masses) for branch in shape.branches]
    inputs = _tensors(test, "inputs", [*wanted, (shape.jet_inputs,)])
    (outputs,) = _tensors(test, "outputs", [(OUTPUTS,)])
    return inputs, outputs


def _tensors(test: Any, key: str, wanted: list[tuple[int, ...]]) -> list[FloatArray]:
    tensors = test.get(key) if isinstance(test, dict) else None
    if not isinstance(tensors, list) or len(tensors) != len(wanted):
        raise BadFdeepFile(f"a test jet has no {len(wanted)} {key}")
    return [_tensor(tensor, shape) for tensor, shape in zip(tensors, wanted, strict=True)]


def _tensor(tensor: Any, shape: tuple[int, ...]) -> FloatArray:
    try:
        values = decoded_floats(tensor["values"]) if isinstance(tensor, dict) else None
    except (BadFloats, KeyError) as error:
        raise BadFdeepFile(f"a test jet: {error}") from error
    if values is None or tensor.get("shape") != list(shape) or values.size != np.prod(shape):
        raise BadFdeepFile(f"a test jet has a tensor that is not of shape {list(shape)}")
    if not np.isfinite(values).all():
        raise BadFdeepFile("a test jet holds numbers that are not finite")
    return values.reshape(shape)

"""frugally-deep's JSON, written without Keras: the network as DiVertAnalysis reads it.

The same weights and test jets always give the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_ratio_trainer.formats.checked_weights import checked_weights
from cal_ratio_trainer.formats.fdeep_config import Flavour, architecture
from cal_ratio_trainer.formats.fdeep_floats import FloatArray, encoded_floats
from cal_ratio_trainer.formats.layers import Layer, classifier_layers
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

PARAMETER_NAMES = {
    "Conv1D": ("weights", "bias"),
    "Dense": ("weights", "bias"),
    "LSTM": ("weights", "recurrent_weights", "bias"),
}
"""What the library calls the weights of each class of layers, in Keras' order."""


@dataclass(frozen=True)
class LoadTest:
    """A jet with its scores; the library computes them when it loads the file, and refuses it where they differ.

    Attributes:
        inputs: an array for each input of the network, without the batch.
        scores: [3].
    """

    inputs: tuple[np.ndarray[Any, Any], ...]
    scores: np.ndarray[Any, Any]


def fdeep_bytes(
    shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]], flavour: Flavour, tests: Sequence[LoadTest]
) -> bytes:
    """The content of a file.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, shaped as `shape.weight_shapes()` says; stored as float32.
        flavour: which versions of the library are to read it.
        tests: jets that the library tries the network on when it loads it.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight holds NaN or infinities.
    """
    layers = classifier_layers(shape)
    stored = checked_weights(shape, weights)
    content = {
        "architecture": architecture(shape, flavour),
        "image_data_format": "channels_last",
        "input_shapes": input_shapes(shape),
        "output_shapes": [[OUTPUTS]],
        "tests": [_test(test) for test in tests],
        "trainable_params": {layer.name: _parameters(layer, stored) for layer in layers if layer.weights},
        "hash": layers_hash([(layer.name, [stored[name] for name in layer.weights]) for layer in layers]),
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def input_shapes(shape: NetworkShape) -> list[list[int]]:
    """The shapes of the inputs for one jet: those of the branches, then the jet's own numbers."""
    return [*([branch.slots, branch.inputs + shape.masses] for branch in shape.branches), [shape.jet_inputs]]


def layers_hash(layers: Sequence[tuple[str, Sequence[FloatArray]]]) -> str:
    """The hash of a network: SHA-256 over the layers in order, of each the bytes of its weights, then its name.

    Args:
        layers: name and float32 weights, in Keras' layout, of all layers, those without weights too.
    """
    digest = hashlib.sha256()
    for name, weights in layers:
        for values in weights:
            digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
        digest.update(name.encode("ascii"))
    return digest.hexdigest()


def _parameters(layer: Layer, weights: Mapping[str, FloatArray]) -> dict[str, list[str]]:
    kernel, *others = (weights[name] for name in layer.weights)
    # The library goes through a convolution's kernel output by output; for one of width 1 that is the transposed.
    values = [kernel.T if layer.kind == "Conv1D" else kernel, *others]
    names = PARAMETER_NAMES[layer.kind]
    return {name: encoded_floats(array) for name, array in zip(names, values, strict=True)}


def _test(test: LoadTest) -> dict[str, Any]:
    return {"inputs": [_tensor(array) for array in test.inputs], "outputs": [_tensor(test.scores)]}


def _tensor(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"shape": list(array.shape), "values": encoded_floats(array)}

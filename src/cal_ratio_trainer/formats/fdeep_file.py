"""frugally-deep's JSON files, written in both flavours, with the jets of the library's check on loading.

Arrays are float32, little endian, base64, cut into strings. The library allows a difference of 1e-4 in a score when it
checks the jets. A jet whose scores are 0 and 1 to that precision checks nothing: with random numbers as inputs even
exchanged gates of a recurrence pass.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.formats.keras_file import MODEL_NAME, functional_config
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, Layer, checked_weights, classifier_layers, input_names
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape

_CHARACTERS_PER_STRING = 1024

PARAMETER_NAMES = {
    "Conv1D": ("weights", "bias"),
    "Dense": ("weights", "bias"),
    "LSTM": ("weights", "recurrent_weights", "bias"),
}
"""Names of the weights of each class of layers in the library, in Keras' order."""

_WANTED_SCORE = 0.6
"""High enough that a class is favoured, low enough that the softmax still moves."""

_SATURATED = 0.95
"""With a larger score than this the others hardly move: the check would see only what changes the network a lot."""

_DIGITS = 6
"""Scores are rounded to this: further ones would depend on the machine, and the bytes of a file with them."""


class BadFloats(ValueError):
    """An entry is not an array in frugally-deep's form."""


def encoded_floats(values: np.ndarray[Any, Any]) -> list[str]:
    """The numbers of an array in C order, as strings of at most 1024 characters.

    >>> encoded_floats(np.float32([1, -2]))
    ['AACAPwAAAMA=']
    """
    text = base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")
    return [text[start : start + _CHARACTERS_PER_STRING] for start in range(0, len(text), _CHARACTERS_PER_STRING)]


def decoded_floats(strings: Any) -> FloatArray:
    """The numbers [n] in what `encoded_floats` gave; a list of plain numbers is one too.

    Raises:
        BadFloats: it is neither, or no whole number of floats.
    """
    if not isinstance(strings, list):
        raise BadFloats(f"{type(strings).__name__} where a list of strings was expected")
    if strings and all(type(each) in (int, float) for each in strings):
        try:
            return np.asarray(strings, dtype=np.float32)
        except OverflowError as error:
            raise BadFloats("a whole number that is too large") from error
    if not all(isinstance(each, str) for each in strings):
        raise BadFloats("a list that holds other things than strings")
    try:
        content = base64.b64decode("".join(strings), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadFloats(f"no base64: {error}") from error
    if len(content) % 4:
        raise BadFloats(f"{len(content)} bytes are no whole number of floats")
    return np.frombuffer(content, dtype="<f4").astype(np.float32)


class Flavour(StrEnum):
    """Versions of the library that read a file. Those from 0.16 to 0.19 do not support LSTM and read neither."""

    KERAS_2 = "fdeep"
    """0.15, the version that DiVertAnalysis uses."""
    KERAS_3 = "fdeep-keras3"
    """0.20 and later."""

    @property
    def shape_key(self) -> str:
        """Key of the shape in the config of an input layer."""
        return "batch_input_shape" if self is Flavour.KERAS_2 else "batch_shape"


def architecture(shape: NetworkShape, flavour: Flavour) -> dict[str, Any]:
    """The network without its weights: the config of a functional model of Keras 2 or 3.

    Initialisers, penalties and constraints, which mean nothing any more once there are weights, are left out.
    """
    layers = classifier_layers(shape)
    if flavour is Flavour.KERAS_3:
        return functional_config(layers, input_names(shape), OUTPUT_LAYER)
    return {
        "class_name": "Functional",
        "config": {
            "name": MODEL_NAME,
            "trainable": True,
            "layers": [_keras_2_entry(layer) for layer in layers],
            "input_layers": [[name, 0, 0] for name in input_names(shape)],
            "output_layers": [[OUTPUT_LAYER, 0, 0]],
        },
    }


def _keras_2_entry(layer: Layer) -> dict[str, Any]:
    if layer.kind == "InputLayer":
        own: dict[str, Any] = {"batch_input_shape": [None, *layer.output], "dtype": "float32", "sparse": False}
        own["ragged"] = False
    else:
        own = {"trainable": True, "dtype": "float32", **layer.settings}
    nodes = [[[source, 0, 0, {}] for source in layer.sources]]
    return {
        "module": "keras.layers",
        "class_name": layer.kind,
        "config": {"name": layer.name, **own},
        "registered_name": None,
        "name": layer.name,
        "inbound_nodes": nodes if layer.sources else [],
    }


def fdeep_bytes(
    shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]], flavour: Flavour, tests: KnownScores | None
) -> bytes:
    """The content of a file.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, in the shapes of `shape.weight_shapes()`; stored as float32.
        flavour: versions of the library that read it.
        tests: jets whose scores the library computes when it loads the file, which it refuses if they differ; or None.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight contains NaN or infinities.
    """
    layers = classifier_layers(shape)
    stored = checked_weights(shape, weights)
    inputs, scores = ((), ()) if tests is None else (tests.inputs.arrays, tests.scores)
    content = {
        "architecture": architecture(shape, flavour),
        "image_data_format": "channels_last",
        "input_shapes": input_shapes(shape),
        "output_shapes": [[OUTPUTS]],
        "tests": [
            {"inputs": [_tensor(array[jet]) for array in inputs], "outputs": [_tensor(scores[jet])]}
            for jet in range(len(scores))
        ],
        "trainable_params": {layer.name: _parameters(layer, stored) for layer in layers if layer.weights},
        "hash": layers_hash([(layer.name, [stored[name] for name in layer.weights]) for layer in layers]),
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def input_shapes(shape: NetworkShape) -> list[list[int]]:
    """Shapes of the inputs for one jet: one per branch, then the shape of the jet's own numbers."""
    return [*([branch.slots, branch.inputs + shape.masses] for branch in shape.branches), [shape.jet_inputs]]


def layers_hash(layers: Sequence[tuple[str, Sequence[FloatArray]]]) -> str:
    """The hash of a network: SHA-256 over the layers in order, of each the bytes of its weights, then its name.

    Args:
        layers: name and float32 weights, in Keras' layout, of all layers, also of layers without weights.
    """
    digest = hashlib.sha256()
    for name, weights in layers:
        for values in weights:
            digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
        digest.update(name.encode())
    return digest.hexdigest()


def _parameters(layer: Layer, weights: Mapping[str, FloatArray]) -> dict[str, list[str]]:
    kernel, *others = (weights[name] for name in layer.weights)
    # The library stores a convolution's kernel output by output: for width 1 that is the transposed kernel.
    values = [kernel.T if layer.kind == "Conv1D" else kernel, *others]
    names = PARAMETER_NAMES[layer.kind]
    return {name: encoded_floats(array) for name, array in zip(names, values, strict=True)}


def _tensor(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"shape": list(array.shape), "values": encoded_floats(array)}


def is_sensitive(scores: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """For each jet whether its scores [jets, outputs] still move with what the network computes: none is near 1."""
    sensitive: NDArray[np.bool_] = scores.max(axis=1) <= _SATURATED
    return sensitive


def chosen_load_tests(inputs: PaddedJets, fillings: NDArray[np.integer], scores: NDArray[np.float64]) -> KnownScores:
    """For each filling and each output the jet whose score there is nearest to 0.6, each jet once; scores are rounded.

    If all jets of a filling are saturated, others take their places, and saturated ones only if nothing else is left.

    Args:
        inputs: the jets to choose from.
        fillings: [jets], number of the filling of each.
        scores: [jets, outputs] in double precision.
    """
    distances = np.abs(scores - _WANTED_SCORE)
    sensitive = is_sensitive(scores)
    chosen: list[int] = []
    vacant: list[int] = []
    for filling in np.unique(fillings):
        for output in range(scores.shape[1]):
            jet = _nearest(distances[:, output], (fillings == filling) & sensitive, chosen)
            chosen += [] if jet is None else [jet]
            vacant += [output] if jet is None else []
    for output in vacant:
        jet = _nearest(distances[:, output], sensitive, chosen)
        jet = _nearest(distances[:, output], ~sensitive, chosen) if jet is None else jet
        chosen += [] if jet is None else [jet]
    jets = np.array(chosen, dtype=np.intp)
    return KnownScores(inputs.take(jets), np.round(scores[jets], _DIGITS).astype(np.float32))


def _nearest(distances: NDArray[np.float64], allowed: NDArray[np.bool_], taken: list[int]) -> int | None:
    """Position of the smallest distance of a jet that is allowed and not taken yet."""
    free = np.flatnonzero(allowed)
    free = free[~np.isin(free, taken)]
    return int(free[np.argmin(distances[free])]) if len(free) else None

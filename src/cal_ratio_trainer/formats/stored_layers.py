"""A network as it was read from a file: its weights layer by layer, and given to the layers of a known network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.formats.graph import WEIGHT_NAMES
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.layers import Layer
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.shape import NetworkShape

Weights = dict[str, FloatArray]


class BadNetworkFile(ValueError):
    """A file is no network of a supported form, or a damaged one; the message tells why."""


class BadWeightsFile(BadNetworkFile):
    """The weights in a file are those of another network, or damaged; names the layer."""


@dataclass(frozen=True)
class StoredLayer:
    """One layer with weights as a file holds it.

    Attributes:
        kind: the Keras class.
        name: in the file; None where the file does not say.
        place: position of its weights in the file, for messages.
        arrays: kernel, recurrent kernel (LSTM), bias, as Keras stores them.
    """

    kind: str
    name: str | None
    place: str
    arrays: tuple[FloatArray, ...]


def weights_by_name(shape: NetworkShape, names: Mapping[str, str], stored: Mapping[str, StoredLayer]) -> Weights:
    """The weights of a network under our names.

    Args:
        shape: of the network.
        names: our name of each layer -> the file's.
        stored: the file's layers with weights, by the file's names.

    Raises:
        BadWeightsFile: a layer is missing or left over, or a weight has another shape or is not finite.
    """
    weights: Weights = {}
    left_over, shapes = dict(stored), shape.weight_shapes()
    for layer in keras_layers(shape):
        if not layer.weights:
            continue
        name = names[layer.name]
        if name not in left_over:
            raise BadWeightsFile(f"the weights of layer {name!r} are missing")
        weights |= weights_of_layer(layer, left_over.pop(name), shapes)
    if left_over:
        raise BadWeightsFile(f"holds weights of a layer {next(iter(left_over))!r}, which the network does not have")
    return weights


def check_number_of_weights(layer: Layer, stored: StoredLayer) -> None:
    """Raises BadWeightsFile where a layer of a file is of another class than ours, or has more or fewer weights."""
    if stored.kind != layer.kind or len(stored.arrays) != len(layer.weights):
        raise BadWeightsFile(
            f"layer {stored.name or layer.name!r} ({stored.place}): {len(stored.arrays)} weights of a {stored.kind} "
            f"layer, expected {len(layer.weights)} of a {layer.kind} layer"
        )


def weights_of_layer(layer: Layer, stored: StoredLayer, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """The weights of one layer under our names.

    Args:
        layer: ours.
        stored: the same layer in the file.
        shapes: shape of each weight, by this program's names.

    Raises:
        BadWeightsFile: it is of another class, or a weight has another shape or is not finite.
    """
    check_number_of_weights(layer, stored)
    where = f"layer {stored.name or layer.name!r} ({stored.place})"
    weights = {}
    for name, array in zip(layer.weights, stored.arrays, strict=True):
        # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel one more axis, [1, in, out].
        wanted = (1, *shapes[name]) if layer.kind == "Conv1D" and len(shapes[name]) == 2 else shapes[name]
        if array.shape != wanted:
            raise BadWeightsFile(f"{where}: {_part(name)} has shape {array.shape}, expected {wanted}")
        if bad := int(np.count_nonzero(~np.isfinite(array))):
            raise BadWeightsFile(f"{where}: {_part(name)} holds {bad} values that are not finite")
        weights[name] = array.reshape(shapes[name])
    return weights


def paired_by_class(layers: Sequence[tuple[str, str]], stored: Sequence[StoredLayer]) -> dict[str, StoredLayer]:
    """Stored layers for layers that are told apart by their class and their place among those of their class.

    Args:
        layers: (class, name) of the network's layers with weights, in Keras' order.
        stored: the file's, in order of the number within each class.

    Raises:
        BadWeightsFile: the file has another number of layers of a class, or says that one belongs to another layer.
    """
    pairs = {}
    for kind in WEIGHT_NAMES:
        names = [name for its_kind, name in layers if its_kind == kind]
        there = [layer for layer in stored if layer.kind == kind]
        if len(names) != len(there):
            raise BadWeightsFile(
                f"holds weights of {len(there)} layers of class {kind}, expected {len(names)} ({', '.join(names)})"
            )
        for name, layer in zip(names, there, strict=True):
            if layer.name not in (None, name):
                raise BadWeightsFile(f"{layer.place} holds the weights of layer {layer.name!r}, expected {name!r}")
            pairs[name] = layer
    return pairs


def _part(name: str) -> str:
    return name.rpartition(".")[2]


@dataclass(frozen=True)
class StoredNetwork:
    """Content of a file.

    Attributes:
        shape: of the network.
        weights: float32 by name, as `shape.weight_shapes` says.
        form: type of the file, e.g. 'HDF5 of Keras 2.11.0, with architecture'.
        layer_names: names of all layers in the file, in its order; empty where it has none.
        dropout_is_said: false where the file does not tell the dropout rate; the shape then has the default.
        notes: notes for the user, one sentence each.
        run: id of the run that wrote it (`id` of run.json); None where the file does not say it.
        epoch: of the weights; None where the file does not say it.
    """

    shape: NetworkShape
    weights: Mapping[str, FloatArray]
    form: str
    layer_names: tuple[str, ...] = ()
    dropout_is_said: bool = True
    notes: tuple[str, ...] = ()
    run: str | None = None
    epoch: int | None = None

"""A network as it was read from a file, and the check of its weights against the layers of a known network."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.formats.hdf5_reader import StoredLayer
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.layers import Layer
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.network.shape import NetworkShape

Weights = dict[str, FloatArray]


class BadNetworkFile(ValueError):
    """A file is no network of a supported form, or a damaged one; the message says why."""


class BadWeightsFile(BadNetworkFile):
    """The weights in a file belong to another network, or are damaged; names the layer."""


@dataclass(frozen=True)
class StoredNetwork:
    """Content of a network file.

    Attributes:
        shape: shape of the network.
        weights: float32 arrays by name, shaped as `shape.weight_shapes` says.
        form: type of the file, e.g. 'HDF5 of Keras 2.11.0, with architecture'.
        layer_names: names of all layers in the file, in its order; empty if it has none.
        dropout_is_said: false if the file does not contain the dropout rate; the shape then has the default.
        notes: notes for the user, one sentence each.
        run: id of the run that wrote it (`id` of run.json); None if the file does not contain it.
        epoch: epoch of the weights; None if the file does not contain it.
    """

    shape: NetworkShape
    weights: Weights
    form: str
    layer_names: tuple[str, ...] = ()
    dropout_is_said: bool = True
    notes: tuple[str, ...] = ()
    run: str | None = None
    epoch: int | None = None


def weights_by_name(shape: NetworkShape, names: Mapping[str, str], stored: Mapping[str, StoredLayer]) -> Weights:
    """The weights of a network under our names.

    Args:
        shape: shape of the network.
        names: our name of each layer -> the name in the file.
        stored: layers with weights in the file, by their names there.

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
    """Raises BadWeightsFile if a layer of a file is of another class than ours, or has another number of weights."""
    if stored.kind != layer.kind or len(stored.arrays) != len(layer.weights):
        raise BadWeightsFile(
            f"layer {stored.name or layer.name!r} ({stored.place}): {len(stored.arrays)} weights of a {stored.kind} "
            f"layer, expected {len(layer.weights)} of a {layer.kind} layer"
        )


def weights_of_layer(layer: Layer, stored: StoredLayer, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """The weights of one layer under our names.

    Args:
        layer: layer of our network.
        stored: the same layer in the file.
        shapes: shape of each weight, by our names.

    Raises:
        BadWeightsFile: it is of another class, or a weight has another shape or is not finite.
    """
    check_number_of_weights(layer, stored)
    where = f"layer {stored.name or layer.name!r} ({stored.place})"
    weights: Weights = {}
    for name, array in zip(layer.weights, stored.arrays, strict=True):
        part = name.rpartition(".")[2]
        if array.shape != shapes[name]:
            raise BadWeightsFile(f"{where}: {part} has shape {array.shape}, expected {shapes[name]}")
        if bad := int(np.count_nonzero(~np.isfinite(array))):
            raise BadWeightsFile(f"{where}: {part} holds {bad} values that are not finite")
        weights[name] = array
    return weights

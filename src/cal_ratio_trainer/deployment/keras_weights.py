"""The model.weights.h5 of a Keras 3 file: where each weight lies, writing it, and reading it with care."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.deployment.layers import Layer
from cal_ratio_trainer.errors import did_you_mean

FloatArray = NDArray[np.float32]


class BadWeights(ValueError):
    """The HDF5 part of a Keras file lacks a weight or holds something else in its place; names the layer."""


def weight_groups(layers: Sequence[Layer]) -> dict[str, str]:
    """Where Keras keeps each layer: layer name -> group, e.g. 'constit_final_conv1d' -> 'layers/conv1d_8'.

    Args:
        layers: all layers in Keras' order. A group is numbered by its layer's place among those of the same class,
            which is not the number in the layer's name.
    """
    counts: dict[str, int] = {}
    groups: dict[str, str] = {}
    for layer in layers:
        stem = layer.kind.lower()
        number = counts.get(stem, 0)
        counts[stem] = number + 1
        groups[layer.name] = f"layers/{stem}_{number}" if number else f"layers/{stem}"
    return groups


def weights_bytes(layers: Sequence[Layer], weights: Mapping[str, FloatArray]) -> bytes:
    """An HDF5 file with the weights of all layers; the same weights give the same bytes.

    Args:
        layers: all layers in Keras' order.
        weights: float32 arrays by name, kernels [in, out].
    """
    groups = weight_groups(layers)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file.create_group("vars")  # Keras 3.5 looks for it even where the model itself has no variables
        for layer in layers:
            file.create_group(f"{groups[layer.name]}/vars").attrs["name"] = layer.name
            for i, name in enumerate(layer.weights):
                values = weights[name].reshape(_stored_shape(layer, weights[name].shape))
                file.create_dataset(f"{_weight_group(groups, layer)}/{i}", data=values, track_times=False)
    return buffer.getvalue()


def read_weights(
    content: bytes, layers: Sequence[Layer], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, FloatArray]:
    """The weights of all layers, by name.

    Args:
        content: an HDF5 file.
        layers: all layers in Keras' order.
        shapes: what shape each weight must have, by name; nothing is read before it is known to have it.

    Raises:
        BadWeights: a weight is missing, of another shape or type, not finite or of another layer, or the file damaged.
    """
    groups = weight_groups(layers)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return {
                name: _read(file, f"{_weight_group(groups, layer)}/{i}", layer, shapes[name]).reshape(shapes[name])
                for layer in layers
                if layer.weights and _is_owner(file, groups[layer.name], layer)
                for i, name in enumerate(layer.weights)
            }
    except (OSError, RuntimeError, KeyError) as error:
        raise BadWeights(f"the HDF5 data is damaged: {error}") from error


def _weight_group(groups: Mapping[str, str], layer: Layer) -> str:
    return f"{groups[layer.name]}/cell/vars" if layer.kind == "LSTM" else f"{groups[layer.name]}/vars"


def _stored_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A kernel-1 convolution is a dense layer on rows; Keras gives its kernel one more axis, [1, in, out]."""
    return (1, *shape) if layer.kind == "Conv1D" and len(shape) == 2 else shape


def _is_owner(file: h5py.File, group: str, layer: Layer) -> bool:
    # Keras does not look at this name, so that layers of equal shape can swap unnoticed there.
    owner = _plain(file, f"{group}/vars", layer).attrs.get("name", layer.name)
    if owner != layer.name:
        raise BadWeights(f"{group} holds the weights of layer {owner!r}, expected those of {layer.name!r}")
    return True


def _read(file: h5py.File, place: str, layer: Layer, shape: tuple[int, ...]) -> FloatArray:
    data = _plain(file, place, layer)
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise BadWeights(f"{place} of layer {layer.name!r} is no plain data")
    wanted = _stored_shape(layer, shape)
    if data.dtype != np.float32 or data.shape != wanted:
        raise BadWeights(f"{place} of layer {layer.name!r} is {data.dtype} {data.shape}, expected float32 {wanted}")
    values: FloatArray = data[()]
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise BadWeights(f"{place} of layer {layer.name!r} holds {bad} values that are not finite")
    return values


def _plain(file: h5py.File, place: str, layer: Layer) -> Any:
    """What lies at a place that is reached without soft or external links: those could lead to other files."""
    found: Any = file
    for name in place.split("/"):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            near = did_you_mean(name, found) if isinstance(found, h5py.Group) else ""
            raise BadWeights(f"{place} of layer {layer.name!r} is missing{near}")
        found = found[name]
    return found

"""The model.weights.h5 of a Keras 3 file: place of each weight, writing, and reading of files by this program."""

import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import h5py
import numpy as np

from cal_ratio_trainer.formats.layers import Layer, classifier_layers
from cal_ratio_trainer.formats.stored_layers import FloatArray, StoredLayer
from cal_ratio_trainer.network.shape import NetworkShape


def weight_groups(layers: Sequence[Layer]) -> dict[str, str]:
    """Group of each layer by its name, as Keras has it, e.g. 'constit_final_conv1d' -> 'layers/conv1d_8'.

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
                values = weights[name]
                if layer.kind == "Conv1D" and values.ndim == 2:
                    # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel an axis: [1, in, out].
                    values = values[np.newaxis]
                file.create_dataset(f"{_weight_group(groups, layer)}/{i}", data=values, track_times=False)
    return buffer.getvalue()


def layers_as_written(content: bytes, shape: NetworkShape) -> dict[str, StoredLayer] | None:
    """The layers of an HDF5 file that `weights_bytes` wrote for a network, by name; None for any other file.

    Such a file differs only in its weights from one with all weights 0. It is read without the HDF5 library, which a
    few wrong bytes can crash, and ten times faster than by the process that `read_hdf5` starts for all other files.

    Args:
        content: of the file.
        shape: of the network; untrusted, so a small file must not lead to a large allocation.
    """
    if 4 * sum(map(math.prod, shape.weight_shapes().values())) > len(content):
        return None
    zeros, places = _file_of_zeros(shape)
    if len(content) != len(zeros):
        return None
    blank = bytearray(content)
    arrays = {}
    for name, (start, wanted) in places.items():
        stop = start + 4 * math.prod(wanted)
        blank[start:stop] = bytes(stop - start)
        arrays[name] = np.frombuffer(content[start:stop], np.float32).reshape(wanted).copy()
    if blank != zeros:
        return None
    layers = classifier_layers(shape)
    groups = weight_groups(layers)
    return {
        layer.name: StoredLayer(
            layer.kind, layer.name, groups[layer.name], tuple(arrays[name] for name in layer.weights)
        )
        for layer in layers
        if layer.weights
    }


@lru_cache(maxsize=4)
def _file_of_zeros(shape: NetworkShape) -> tuple[bytes, dict[str, tuple[int, tuple[int, ...]]]]:
    """A file with all weights 0, and by name of a weight its first byte and its shape there."""
    layers = classifier_layers(shape)
    content = weights_bytes(layers, {name: np.zeros(size, np.float32) for name, size in shape.weight_shapes().items()})
    groups = weight_groups(layers)
    with h5py.File(io.BytesIO(content), "r") as file:
        return content, {
            name: (data.id.get_offset(), data.shape)
            for layer in layers
            for name, data in zip(layer.weights, file[_weight_group(groups, layer)].values(), strict=True)
        }


def _weight_group(groups: Mapping[str, str], layer: Layer) -> str:
    return f"{groups[layer.name]}/cell/vars" if layer.kind == "LSTM" else f"{groups[layer.name]}/vars"

"""A minimal loader of the earlier program's trained weights, for tests only: legacy HDF5, layers matched by order."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.formats.layers import classifier_layers
from cal_ratio_trainer.network.shape import NetworkShape


def legacy_weights(path: Path, shape: NetworkShape) -> dict[str, NDArray[np.float32]]:
    """Weights of a Keras 2 HDF5 file under this program's names.

    Raises:
        ValueError: The weights of the file do not match the shape.
    """
    expected = shape.weight_shapes()
    wanted = [layer.weights for layer in classifier_layers(shape) if layer.weights]
    with h5py.File(path, "r") as file:
        stored = [[group[name][()] for name in group.attrs["weight_names"]] for group in _groups(file)]
    arrays = [array for layer in stored if layer for array in layer]
    names = [name for layer in wanted for name in layer]
    if len(arrays) != len(names):
        raise ValueError(f"{path}: {len(arrays)} weights, expected {len(names)}")
    weights = {}
    for name, array in zip(names, arrays, strict=True):
        weights[name] = array[0] if array.ndim == 3 else array
        if weights[name].shape != expected[name]:
            raise ValueError(f"{path}: {name} has shape {weights[name].shape}, expected {expected[name]}")
    return weights


def _groups(file: h5py.File) -> list[h5py.Group]:
    top = file.get("model_weights", file)
    return [top[name] for name in top.attrs["layer_names"]]

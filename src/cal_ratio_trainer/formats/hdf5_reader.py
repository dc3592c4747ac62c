"""HDF5 data of Keras, read by a process of its own: `read_hdf5` starts it, `main` is what it runs.

A file with a few wrong bytes can make the HDF5 library run for ever, take all memory or crash. In a process with limits
that harms no other. The process reads the file from standard input, and writes with `numpy.savez` to standard output: a
JSON text that lists the content, and the arrays. It imports nothing but h5py and numpy, so that it starts fast.
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

MAX_NUMBERS = 1 << 24
"""Limit on the numbers of all weights of a file: 280 times the 2019 network."""

LEGACY = "legacy"
"""Form of `model.save` and `model.save_weights` in Keras 2: layers by name."""

_READER = ("-P", "-m", "cal_ratio_trainer.formats.hdf5_reader")
"""Without -P a file of the current folder could replace a module."""

_TIMEOUT_S = 60.0
_MAX_NAMES = 4096
_MAX_NAME_CHARACTERS = 1024
_MAX_CONFIG_CHARACTERS = 1 << 23
_CPU_S = 10
_MEMORY_BYTES = 4 << 30
_CONTAINERS = ("_layer_checkpoint_dependencies", "layers")
"""Groups in which Keras 2.12 to 2.15 and Keras 3 keep the layers of a model in files of their newer form."""

_PARTS = ("kernel", "recurrent_kernel", "bias")
"""Keras' names of the weights of a layer, in its order."""

_KINDS = {
    **{"conv1d": "Conv1D", "dense": "Dense", "lstm": "LSTM"},
    **{"dropout": "Dropout", "concatenate": "Concatenate", "input_layer": "InputLayer"},
    "layer_normalization": "LayerNormalization",
}
_GROUP = re.compile(r"([a-z0-9_]*?[a-z0-9])(?:_(\d{1,6}))?")


class BadHdf5(ValueError):
    """HDF5 data is damaged, not written by Keras, or contains something that is not read; names the place."""


@dataclass(frozen=True)
class StoredLayer:
    """One layer of a file, with its weights.

    Attributes:
        kind: Keras class; empty if the file does not contain it, for a layer without weights.
        name: name in the file; None if the file does not contain it.
        place: position of its weights in the file, for messages.
        arrays: kernel [in, out] (of a convolution too: it is one slot wide), recurrent kernel of an LSTM, bias.
    """

    kind: str
    name: str | None
    place: str
    arrays: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Hdf5Content:
    """Content of HDF5 data of Keras.

    Attributes:
        form: `LEGACY`, or the group that contains the layers in the newer form.
        keras_version: version of Keras that wrote it, if the file contains it.
        config: architecture as JSON text, if the file contains one.
        layers: all layers, in the file's order (legacy) or by class and number (newer).
    """

    form: str
    keras_version: str | None
    config: str | None
    layers: tuple[StoredLayer, ...]


def read_hdf5(content: bytes) -> Hdf5Content:
    """Reads HDF5 data of Keras in either form.

    Raises:
        BadHdf5: it is damaged, none of Keras', or contains something that is not read; names the layer.
    """
    try:
        answer, status = _run_reader(content)
    except subprocess.TimeoutExpired as error:
        raise BadHdf5("the HDF5 data is damaged: reading it does not end") from error
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as parts:
            said, *arrays = (parts[name] for name in parts.files)
        listed: dict[str, Any] = json.loads(said.tobytes())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadHdf5(f"the HDF5 data is damaged: the library that reads it ended with {status}") from error
    if "error" in listed:
        raise BadHdf5(listed["error"])
    # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel one more axis, [1, in, out].
    arrays = [array[0] if array.ndim == 3 and len(array) == 1 else array for array in arrays]
    layers = (
        StoredLayer(kind, name, place, tuple(arrays[index] for index in indices))
        for kind, name, place, indices in listed["layers"]
    )
    return Hdf5Content(listed["form"], listed["keras_version"], listed["config"], tuple(layers))


def _run_reader(content: bytes) -> tuple[bytes, int]:
    """Returns the standard output and the exit status of the reader's process."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
    command, environment = [sys.executable, *_READER], {**os.environ, **one_thread}
    done = subprocess.run(command, input=content, capture_output=True, timeout=_TIMEOUT_S, env=environment)
    return done.stdout, done.returncode


def main() -> None:
    """Reads the file on standard input, and writes the answer to standard output."""
    content = sys.stdin.buffer.read()
    _limit_resources()
    arrays: list[NDArray[Any]] = []
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            is_legacy = "layer_names" in file.attrs or "model_weights" in file
            said: dict[str, Any] = _legacy(file, arrays) if is_legacy else _newer(file, arrays)
    except BadHdf5 as error:
        said = {"error": str(error)}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, RecursionError) as error:
        said = {"error": f"the HDF5 data is damaged: {' '.join(str(error).split())[:200]}"}
    if "error" in said:
        # The error is printed on a terminal, and may contain names from the file.
        said = {"error": said["error"] if said["error"].isprintable() else ascii(said["error"])}
        arrays = []
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(said).encode(), dtype=np.uint8)
    np.savez(buffer, text, *arrays)
    sys.stdout.buffer.write(buffer.getvalue())


def _limit_resources() -> None:
    try:
        import resource
    except ImportError:
        return  # on a system without limits there is still the time that the caller waits
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + _CPU_S
    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_AS: _MEMORY_BYTES, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(limit, (allowed, hard))
        except (ValueError, OSError):
            continue


def _legacy(file: h5py.File, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    """`model.save_weights` and `model.save` of Keras 2: one group per layer, named in attributes."""
    top = _plain(file, "model_weights") if "model_weights" in file else file
    config = _text(file, "model_config", _MAX_CONFIG_CHARACTERS) if "model_config" in file.attrs else None
    layers = []
    for name in _names(top, "layer_names"):
        group = _plain(top, name)
        weights = _names(group, "weight_names")
        _check_order(weights, name)
        indices = [_keep(arrays, _plain(group, weight), f"{name}/{weight}") for weight in weights]
        kind = _kind([arrays[index] for index in indices], name)
        layers.append((kind, name, name, indices))
    return {"form": LEGACY, "keras_version": _name(file, "keras_version"), "config": config, "layers": layers}


def _newer(file: h5py.File, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    """`model.weights.h5` of Keras 2.12 and later: groups that are numbered by the class of the layer."""
    containers = [name for name in _CONTAINERS if name in file]
    if len(containers) != 1:
        raise BadHdf5("is no HDF5 file of Keras: it has neither layer_names nor a group of layers")
    groups = _plain(file, containers[0])
    if len(groups) > _MAX_NAMES:
        raise BadHdf5(f"has {len(groups)} layers; files with at most {_MAX_NAMES} are read")
    numbered: list[tuple[str, int, str]] = []
    for name in groups:
        match = _GROUP.fullmatch(name)
        if match is None:
            raise BadHdf5(f"has a group {name!r:.80} where one of a layer was expected")
        numbered.append((match[1], int(match[2] or 0), name))
    layers = []
    for stem, _, name in sorted(numbered):
        place = f"{containers[0]}/{name}"
        inside = _plain(groups, f"{name}/cell/vars" if stem == "lstm" else f"{name}/vars")
        places = sorted(inside, key=lambda key: (len(key), key))
        indices = [_keep(arrays, _plain(inside, key), f"{place}/{key}") for key in places]
        owner = _name(_plain(groups, f"{name}/vars"), "name")
        layers.append((_KINDS.get(stem, stem), owner, place, indices))
    return {"form": containers[0], "keras_version": None, "config": None, "layers": layers}


def _check_order(weights: list[str], name: str) -> None:
    """Keras goes by the order alone; the two kernels of an LSTM can have one shape."""
    said = [weight.rpartition("/")[2].partition(":")[0] for weight in weights]
    known = [part for part in _PARTS if part in said]
    if said != known and set(said) <= set(_PARTS):
        raise BadHdf5(f"layer {name!r} has its weights in the order {', '.join(said)}, expected {', '.join(known)}")


def _kind(arrays: list[NDArray[Any]], name: str) -> str:
    """The class of a layer by its weights: the older form does not contain it."""
    axes = [array.ndim for array in arrays]
    known = {(): "", (3, 1): "Conv1D", (2, 1): "Dense", (2, 2, 1): "LSTM"}
    if tuple(axes) not in known:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise BadHdf5(f"layer {name!r} has weights of shapes {shapes}, which no layer of the network has")
    return known[tuple(axes)]


def _keep(arrays: list[NDArray[Any]], data: Any, place: str) -> int:
    """Reads an array and returns its position."""
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise BadHdf5(f"{place} is no plain data")
    if data.dtype != np.float32:
        raise BadHdf5(f"{place} is {data.dtype}, expected float32")
    if data.ndim > 3 or data.size is None or sum(array.size for array in arrays) + data.size > MAX_NUMBERS:
        raise BadHdf5(f"{place} has shape {data.shape}; files with at most {MAX_NUMBERS} numbers are read")
    arrays.append(data[()])
    return len(arrays) - 1


def _names(holder: Any, attribute: str) -> list[str]:
    if attribute not in holder.attrs:
        raise BadHdf5(f"{holder.name} has no attribute {attribute}")
    there = holder.attrs.get_id(attribute)
    if there.shape == (0,):
        return []
    if len(there.shape) != 1 or there.shape[0] > _MAX_NAMES or not _is_text(there.dtype):
        raise BadHdf5(f"{attribute} of {holder.name} is {there.dtype} {there.shape}, expected a list of names")
    return [_decoded(name, attribute, _MAX_NAME_CHARACTERS) for name in holder.attrs[attribute]]


def _name(holder: Any, attribute: str) -> str | None:
    return _text(holder, attribute, _MAX_NAME_CHARACTERS) if attribute in holder.attrs else None


def _text(holder: Any, attribute: str, longest: int) -> str:
    there = holder.attrs.get_id(attribute)
    if there.shape != () or not _is_text(there.dtype):
        raise BadHdf5(f"{attribute} of {holder.name} is {there.dtype} {there.shape}, expected a text")
    return _decoded(holder.attrs[attribute], attribute, longest)


def _is_text(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "S" or h5py.check_string_dtype(dtype) is not None


def _decoded(text: Any, attribute: str, longest: int) -> str:
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    if not isinstance(decoded, str) or len(decoded) > longest:
        raise BadHdf5(f"{attribute} holds a {type(text).__name__}, expected a text of at most {longest} characters")
    if longest == _MAX_NAME_CHARACTERS and not decoded.isprintable():
        # The caller's messages contain names.
        raise BadHdf5(f"{attribute} holds {decoded!a:.80}, expected a name")
    return decoded.encode("utf-8").decode("utf-8")  # bytes that are no UTF-8 come as half characters, refused here


def _plain(holder: Any, place: str) -> Any:
    """Object at a path without soft or external links, which could lead to other files."""
    found = holder
    for name in place.split("/"):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise BadHdf5(f"{place} of {holder.name} is missing")
        found = found[name]
    return found


if __name__ == "__main__":
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    main()

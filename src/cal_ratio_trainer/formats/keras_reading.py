"""Keras files, read with care: HDF5 of Keras 2, zip files of Keras 2.12 to 2.15 and of Keras 3, weights alone too.

Files of this program and of the earlier one go through the same reader, and so does the check of written files. It
shares nothing with the writer but the names of the parts; `layers_as_written` alone does, to read the program's own
files fast.
"""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.graph import WEIGHT_NAMES, Graph
from cal_ratio_trainer.formats.hdf5_content import LEGACY, BadHdf5, Hdf5Content, read_hdf5
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.keras_file import (
    CONFIG,
    METADATA,
    SCHEMA,
    SHAPE,
    WEIGHTS,
    BadArchitecture,
    architecture_of,
    functional_config,
    weight_group,
    weight_groups,
    weights_bytes,
    with_weights,
)
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, Layer, in_keras_order, input_names
from cal_ratio_trainer.formats.recognition import Recognised, network_from_weights, recognised
from cal_ratio_trainer.formats.safetensors_file import shape_of_description
from cal_ratio_trainer.formats.stored_layers import (
    BadNetworkFile,
    BadWeightsFile,
    StoredLayer,
    StoredNetwork,
    paired_by_class,
    weights_by_name,
)
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.shape import NetworkShape

_MAX_PARTS = 1000
_OF_ENCODERS = ("Dot", "Multiply", "Rescaling")
"""Layers that stand in the networks of this program with another encoder than the LSTM alone."""

_NO_NETWORK = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of making a network from a description that is none."""

_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that Keras and numpy write; memory for unpacking others would depend on the file."""


class BadZip(ValueError):
    """A zip file lacks a required part, or a part is too large; the message names the part."""


class DamagedZip(BadZip):
    """Not a zip file, or a damaged one; the message describes the damage."""


def read_parts(source: Path | bytes, largest: Mapping[str, int]) -> dict[str, bytes]:
    """Reads some parts of a zip file without following paths inside it.

    Args:
        source: the file or its content.
        largest: names of the parts, and how many bytes each may have once it is unpacked.

    Raises:
        FileNotFoundError: there is no such file.
        BadZip: a part is missing, there twice, encrypted, too large or neither stored nor deflated, or there are over
            1000 parts.
        DamagedZip: the file is no zip file, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            if len(archive.infolist()) > _MAX_PARTS:
                raise BadZip(f"holds {len(archive.infolist())} parts, expected {len(largest)}")
            return {name: _part(archive, name, most) for name, most in largest.items()}
    except (BadZip, FileNotFoundError):
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError, RuntimeError) as error:
        # The library quotes as much of the file as it takes for a name.
        raise DamagedZip(f"{error!s:.200}") from error


def _part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    found = [item for item in archive.infolist() if item.filename == name]
    if len(found) != 1:
        raise BadZip(f"holds {len(found)} parts named {name}, expected 1")
    if found[0].flag_bits & 1:
        raise BadZip(f"its part {name} is encrypted")
    if found[0].compress_type not in _PACKINGS:
        raise BadZip(f"its part {name} is packed by method {found[0].compress_type}; stored and deflated ones are read")
    if found[0].file_size > most:
        raise BadZip(f"its part {name} unpacks to {found[0].file_size} bytes; at most {most} are read")
    with archive.open(found[0]) as part:
        content = part.read(most + 1)
    if len(content) > most:
        raise BadZip(f"its part {name} unpacks to more than the {most} bytes that are read")
    return content


MAX_PART_BYTES = {METADATA: 1 << 20, CONFIG: 1 << 23, WEIGHTS: 1 << 28}
"""The parts of a file, and how many bytes each may have."""

HDF5_BEGINNING = b"\x89HDF\r\n\x1a\n"
_EARLIER = "is a file of Keras 2, as the earlier program left them; 'cr_trainer import' makes a run of it"
_WEIGHTS_ALONE = "The file holds weights alone: activations and slots are taken to be those of the 2019 network."


class BadKerasFile(BadNetworkFile):
    """A file is no Keras file, or a damaged one; names the part."""


def read_keras(path: Path) -> tuple[NetworkShape, dict[str, FloatArray]]:
    """The shape and the weights of a classifier that `write_keras` wrote; Keras 3 may have saved it again since.

    Returns:
        The shape, and float32 weights by name as `shape.weight_shapes()` says.

    Raises:
        InputFileError: no such file, no zip, parts missing, too large or damaged, another network, or a weight of
            another shape, type or layer, or one that is not finite; names the layer.
    """
    try:
        parts = read_parts(path, MAX_PART_BYTES)
    except FileNotFoundError as error:
        raise InputFileError(path, "no such file") from error
    except DamagedZip as error:
        reason = _EARLIER if _is_hdf5(path) else f"is no Keras 3 file, or a damaged one: {error}"
        raise InputFileError(path, reason) from error
    except BadZip as error:
        raise InputFileError(path, str(error)) from error
    if (_version(parts) or "").startswith("2."):
        raise InputFileError(path, _EARLIER)
    try:
        network = _network_in(parts)
    except BadNetworkFile as error:
        raise InputFileError(path, str(error)) from error
    return network.shape, dict(network.weights)


def network_from_zip(content: bytes) -> StoredNetwork:
    """The network in a `.keras` zip file.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or holds another network; names the part and the layer.
    """
    parts = _parts(content)
    return replace(_network_in(parts), form=f"zip of Keras {_version(parts) or '?':.20}, with architecture")


def graph_from_zip(content: bytes) -> Graph:
    """The graph in a `.keras` zip file with its weights, as Keras pairs them; it may be any network.

    Raises:
        BadNetworkFile: the file is of another kind, or damaged; names the part and the layer.
    """
    parts = _parts(content)
    graph = _architecture(parts)
    return with_weights(graph, _paired(graph, _hdf5(parts)))


def network_from_hdf5(content: bytes, architecture: Graph | None = None) -> StoredNetwork:
    """The network in an HDF5 file of Keras.

    Args:
        content: the file.
        architecture: of another file of the same training, for a file that has weights only. Without it the network is
            found from the order and the shapes of the weights.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or holds another network; names the layer.
    """
    try:
        stored = read_hdf5(content)
        own = architecture_of(parsed(stored.config)) if stored.config is not None else None
        known = own or architecture
        found = recognised(known) if known else None
    except (BadHdf5, BadJson, BadArchitecture) as error:
        raise BadKerasFile(str(error)) from error
    form = f"HDF5 of Keras {stored.keras_version or '?':.20}"
    if known is not None and found is not None:
        network = _recognised_network(known, found, _paired(known, stored))
        return replace(network, form=f"{form}, {'with architecture' if own else 'weights only'}")
    shape, weights = network_from_weights(stored.layers, by_class=stored.form != LEGACY)
    names = tuple(layer.name for layer in stored.layers if layer.name) if stored.form == LEGACY else ()
    return StoredNetwork(shape, weights, f"{form}, weights only", names, dropout_is_said=False, notes=(_WEIGHTS_ALONE,))


def architecture_in(content: bytes) -> Graph | None:
    """The architecture that a file of either kind holds; None for weights alone.

    Raises:
        BadKerasFile: the file is no Keras file, or damaged.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return _architecture(_parts(content))
        config = read_hdf5(content).config
        return architecture_of(parsed(config)) if config is not None else None
    except (BadHdf5, BadJson, BadArchitecture) as error:
        raise BadKerasFile(str(error)) from error


def _network_in(parts: Mapping[str, bytes]) -> StoredNetwork:
    if (own := _own_shape(parts)) is not None:
        return _with_encoder(parts, own)
    architecture, schema = _architecture(parts), _schema(parts)
    if any(layer.kind in _OF_ENCODERS for layer in architecture.layers.values()):
        raise BadKerasFile(
            f"{CONFIG}: is a network without LSTM, and {METADATA} does not describe it: it is read as this program "
            "wrote it, not as Keras saved it again"
        )
    try:
        found = recognised(architecture, schema)
    except BadArchitecture as error:
        raise BadKerasFile(f"{CONFIG}: {error}") from error
    try:
        stored = layers_as_written(parts[WEIGHTS], found.shape) if _is_as_written(architecture, found) else None
        return _recognised_network(architecture, found, stored or _paired(architecture, _hdf5(parts)))
    except BadWeightsFile as error:
        raise BadKerasFile(f"{WEIGHTS}: {error}") from error


def _own_shape(parts: Mapping[str, bytes]) -> NetworkShape | None:
    """The shape in the metadata of a network whose encoder is not the LSTM; None for others."""
    try:
        said = parsed(parts[METADATA])
        content = said.get(SHAPE) if isinstance(said, dict) else None
        if content is None:
            return None
        return shape_of_description(content)
    except _NO_NETWORK as error:
        raise BadKerasFile(f"{METADATA}: holds no shape of a network: {error!s:.400}") from error


def _with_encoder(parts: Mapping[str, bytes], shape: NetworkShape) -> StoredNetwork:
    """A network with another encoder than the LSTM, in a file as this program writes it."""
    try:
        layers = keras_layers(shape)
        config = functional_config(layers, input_names(shape), OUTPUT_LAYER)
        if parsed(parts[CONFIG]) != parsed(json.dumps(config).encode()):
            raise BadKerasFile(f"{CONFIG}: is not that of the network that {METADATA} describes")
        stored = layers_as_written(parts[WEIGHTS], shape)
        if stored is None:
            raise BadKerasFile(f"{WEIGHTS}: is not as this program writes the weights of such a network")
        weights = weights_by_name(shape, {layer.name: layer.name for layer in layers}, stored)
    except BadKerasFile:
        raise
    except _NO_NETWORK as error:
        raise BadKerasFile(f"is no network of this program: {error!s:.400}") from error
    return StoredNetwork(shape, weights, "", tuple(layer.name for layer in layers))


def _is_as_written(architecture: Graph, found: Recognised) -> bool:
    """True where layers have our names and order, so that Keras pairs the weights as the writer does."""
    ours = [layer.name for layer in keras_layers(found.shape)]
    return ours == list(architecture.layers) and all(name == theirs for name, theirs in found.names.items())


def _recognised_network(architecture: Graph, found: Recognised, stored: Mapping[str, StoredLayer]) -> StoredNetwork:
    weights = weights_by_name(found.shape, found.names, stored)
    return StoredNetwork(found.shape, weights, "", tuple(architecture.layers), found.dropout_is_said)


def _architecture(parts: Mapping[str, bytes]) -> Graph:
    try:
        return architecture_of(parsed(parts[CONFIG]))
    except (BadJson, BadArchitecture) as error:
        raise BadKerasFile(f"{CONFIG}: {error}") from error


def _hdf5(parts: Mapping[str, bytes]) -> Hdf5Content:
    try:
        return read_hdf5(parts[WEIGHTS])
    except BadHdf5 as error:
        raise BadKerasFile(f"{WEIGHTS}: {error}") from error


def _version(parts: Mapping[str, bytes]) -> str | None:
    """The version of Keras that wrote a file; None where it does not say it."""
    try:
        said = parsed(parts[METADATA])
    except BadJson:
        return None
    version = said.get("keras_version") if isinstance(said, dict) else None
    return version if isinstance(version, str) else None


def _schema(parts: Mapping[str, bytes]) -> Schema:
    """The features that a network reads; those of 2019 where its file does not say."""
    try:
        said = parsed(parts[METADATA])
        content = said.get(SCHEMA) if isinstance(said, dict) else None
        return CALRATIO_2019 if content is None else Schema.model_validate(content)
    except (BadJson, ValidationError) as error:
        raise BadKerasFile(f"{METADATA}: holds no schema of features: {error}") from error


def _paired(architecture: Graph, stored: Hdf5Content) -> dict[str, StoredLayer]:
    """The layers with weights by the architecture's names, as Keras pairs them."""
    if stored.form != LEGACY:
        return paired_by_class(_ordered(architecture), stored.with_weights)
    by_name: dict[str, StoredLayer] = {}
    for layer in stored.with_weights:
        if layer.name in by_name:
            raise BadWeightsFile(f"holds the weights of layer {layer.name!r} twice")
        by_name[layer.name or ""] = layer
    return by_name


def _ordered(architecture: Graph) -> list[tuple[str, str]]:
    """Class and name of the layers with weights as Keras numbers them; the config's order must say the same."""
    plain = [Layer(layer.kind, layer.name, layer.sources, ()) for layer in architecture.layers.values()]
    by_depth = [layer for layer in in_keras_order(plain, architecture.output) if layer.kind in WEIGHT_NAMES]
    as_written = [layer for layer in plain if layer.kind in WEIGHT_NAMES]
    for kind in WEIGHT_NAMES:
        for ours, theirs in zip(
            [each.name for each in by_depth if each.kind == kind],
            [each.name for each in as_written if each.kind == kind],
            strict=True,
        ):
            if ours != theirs:
                raise BadWeightsFile(f"layer {theirs!r} stands in the order of the config where {ours!r} was expected")
    return [(layer.kind, layer.name) for layer in by_depth]


def _parts(content: bytes) -> dict[str, bytes]:
    try:
        return read_parts(content, MAX_PART_BYTES)
    except DamagedZip as error:
        raise BadKerasFile(f"is a damaged zip file: {error}") from error
    except BadZip as error:
        raise BadKerasFile(str(error)) from error


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_BEGINNING)) == HDF5_BEGINNING
    except OSError:
        return False


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
    layers = keras_layers(shape)
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
    layers = keras_layers(shape)
    content = weights_bytes(layers, {name: np.zeros(size, np.float32) for name, size in shape.weight_shapes().items()})
    groups = weight_groups(layers)
    with h5py.File(io.BytesIO(content), "r") as file:
        return content, {
            name: (data.id.get_offset(), data.shape)
            for layer in layers
            if layer.weights
            for name, data in zip(layer.weights, file[weight_group(groups, layer)].values(), strict=True)
        }

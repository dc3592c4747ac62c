"""Keras files, read with care: HDF5 of Keras 2, zip files of Keras 2.12 to 2.15 and of Keras 3, weights alone too.

Files of this program and of the earlier one are read in the same way, and so are written files when they are checked.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.formats.architecture import BadArchitecture, architecture_of
from cal_ratio_trainer.formats.graph import Graph
from cal_ratio_trainer.formats.hdf5_reader import LEGACY, BadHdf5, Hdf5Content, StoredLayer, read_hdf5
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.keras_file import CONFIG, METADATA, SCHEMA, SHAPE, WEIGHTS, functional_config
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, WEIGHT_NAMES, in_keras_order, input_names
from cal_ratio_trainer.formats.recognition import recognised
from cal_ratio_trainer.formats.safetensors_file import shape_of_description
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, BadWeightsFile, StoredNetwork, weights_by_name
from cal_ratio_trainer.formats.weights_alone import network_from_weights
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.shape import NetworkShape

MAX_PART_BYTES = {METADATA: 1 << 20, CONFIG: 1 << 23, WEIGHTS: 1 << 28}
"""Parts of a zip file, and the limit on the bytes of each."""

ZIP_BEGINNING = b"PK\x03\x04"
HDF5_BEGINNING = b"\x89HDF\r\n\x1a\n"

_MAX_PARTS = 1000
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that Keras and numpy write; memory for unpacking others would depend on the file."""

_OF_ENCODERS = ("Dot", "Multiply", "Rescaling")
"""Layers that occur in the networks of this program with another encoder than the LSTM only."""

_NO_NETWORK = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of making a network from a description that is none."""

_EARLIER = "is a file of Keras 2, as the earlier program left them; 'cr_trainer import' makes a run of it"
_WEIGHTS_ALONE = "The file holds weights alone: activations and slots are taken to be those of the 2019 network."


class BadKerasFile(BadNetworkFile):
    """A file is no Keras file, or a damaged one; names the part."""


def network_from_zip(content: bytes, own: bool = False) -> StoredNetwork:
    """The network in a `.keras` zip file.

    Args:
        content: content of the file.
        own: refuses files of the earlier program, which have to be imported.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or contains another network; a weight has another shape,
            type or layer, or is not finite. Names the part and the layer.
    """
    if own and content.startswith(HDF5_BEGINNING):
        raise BadKerasFile(_EARLIER)
    parts = read_parts(content, MAX_PART_BYTES)
    try:
        metadata = parsed(parts[METADATA])
    except BadJson as error:
        raise BadKerasFile(f"{METADATA}: {error}") from error
    metadata = metadata if isinstance(metadata, dict) else {}
    version = metadata.get("keras_version")
    if own and str(version).startswith("2."):
        raise BadKerasFile(_EARLIER)
    shape, schema = _shape_and_schema(metadata)
    network = _lstm_network(parts, schema) if shape is None else _network_of_shape(parts, shape)
    shown = version if isinstance(version, str) and version else "?"
    return replace(network, form=f"zip of Keras {shown:.20}, with architecture")


def graph_from_zip(content: bytes) -> Graph:
    """The graph in a `.keras` zip file with its weights, as Keras pairs them; it may be any network.

    Raises:
        BadNetworkFile: the file is of another kind, or damaged; names the part and the layer.
    """
    parts = read_parts(content, MAX_PART_BYTES)
    return _with_weights(_architecture(parts), _hdf5(parts[WEIGHTS], WEIGHTS))


def network_from_hdf5(content: bytes, architecture: Graph | None = None) -> StoredNetwork:
    """The network in an HDF5 file of Keras.

    Args:
        content: content of the file.
        architecture: architecture from another file of the same training, for a file that has weights only. Without it
            the network is found from the order and the shapes of the weights.

    Raises:
        BadNetworkFile: the file is of another kind, damaged, or contains another network; names the layer.
    """
    stored = _hdf5(content)
    own = _architecture_in(stored)
    known = own or architecture
    form = f"HDF5 of Keras {stored.keras_version or '?':.20}"
    if known is not None:
        kind = "with architecture" if own else "weights only"
        return replace(recognised(known).network(_with_weights(known, stored)), form=f"{form}, {kind}")
    shape, weights = network_from_weights(stored.layers, by_class=stored.form != LEGACY)
    names = tuple(layer.name for layer in stored.layers if layer.name) if stored.form == LEGACY else ()
    return StoredNetwork(shape, weights, f"{form}, weights only", names, dropout_is_said=False, notes=(_WEIGHTS_ALONE,))


def architecture_in(content: bytes) -> Graph | None:
    """The architecture in a file of either kind; None for weights alone.

    Raises:
        BadKerasFile: the file is no Keras file, or damaged.
    """
    if zipfile.is_zipfile(io.BytesIO(content)):
        return _architecture(read_parts(content, MAX_PART_BYTES))
    return _architecture_in(_hdf5(content))


def read_parts(content: bytes, largest: Mapping[str, int]) -> dict[str, bytes]:
    """Reads some parts of a zip file without following paths inside it.

    Args:
        content: content of the file.
        largest: names of the parts, with the limit on the bytes of each when it is unpacked.

    Raises:
        BadKerasFile: the file is no zip file, or damaged; a part is missing, there twice, encrypted, too large, or
            neither stored nor deflated; or there are over 1000 parts. Names the part.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > _MAX_PARTS:
                raise BadKerasFile(f"holds {len(archive.infolist())} parts, expected {len(largest)}")
            return {name: _part(archive, name, most) for name, most in largest.items()}
    except BadKerasFile:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError, RuntimeError) as error:
        # The library quotes as much of the file as it takes for a name.
        kind = "is a damaged zip file" if content.startswith(ZIP_BEGINNING) else "is no Keras 3 file"
        raise BadKerasFile(f"{kind}: {error!s:.200}") from error


def _part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    found = [item for item in archive.infolist() if item.filename == name]
    if len(found) != 1:
        raise BadKerasFile(f"holds {len(found)} parts named {name}, expected 1")
    if found[0].flag_bits & 1:
        raise BadKerasFile(f"its part {name} is encrypted")
    if found[0].compress_type not in _PACKINGS:
        method = found[0].compress_type
        raise BadKerasFile(f"its part {name} is packed by method {method}; stored and deflated ones are read")
    if found[0].file_size > most:
        raise BadKerasFile(f"its part {name} unpacks to {found[0].file_size} bytes; at most {most} are read")
    with archive.open(found[0]) as part:
        content = part.read(most + 1)
    if len(content) > most:
        raise BadKerasFile(f"its part {name} unpacks to more than the {most} bytes that are read")
    return content


def _shape_and_schema(metadata: Mapping[str, Any]) -> tuple[NetworkShape | None, Schema]:
    """The shape of a network whose encoder is not the LSTM, and the features that a network reads (default: 2019)."""
    try:
        described = metadata.get(SHAPE)
        shape = None if described is None else shape_of_description(described)
    except _NO_NETWORK as error:
        raise BadKerasFile(f"{METADATA}: holds no shape of a network: {error!s:.400}") from error
    try:
        described = metadata.get(SCHEMA)
        return shape, CALRATIO_2019 if described is None else Schema.model_validate(described)
    except ValidationError as error:
        raise BadKerasFile(f"{METADATA}: holds no schema of features: {error}") from error


def _lstm_network(parts: Mapping[str, bytes], schema: Schema) -> StoredNetwork:
    architecture = _architecture(parts)
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
        return found.network(_with_weights(architecture, _hdf5(parts[WEIGHTS], WEIGHTS)))
    except BadWeightsFile as error:
        raise BadKerasFile(f"{WEIGHTS}: {error}") from error


def _network_of_shape(parts: Mapping[str, bytes], shape: NetworkShape) -> StoredNetwork:
    """A network with another encoder than the LSTM: its config must be as this program writes it."""
    try:
        layers = keras_layers(shape)
        config = functional_config(layers, input_names(shape), OUTPUT_LAYER)
        if parsed(parts[CONFIG]) != parsed(json.dumps(config).encode()):
            raise BadKerasFile(f"{CONFIG}: is not that of the network that {METADATA} describes")
        graph = _with_weights(_architecture(parts), _hdf5(parts[WEIGHTS], WEIGHTS))
        weights = weights_by_name(shape, {layer.name: layer.name for layer in layers}, graph.weights)
    except BadKerasFile:
        raise
    except _NO_NETWORK as error:
        raise BadKerasFile(f"is no network of this program: {error!s:.400}") from error
    return StoredNetwork(shape, weights, "", tuple(layer.name for layer in layers))


def _architecture(parts: Mapping[str, bytes]) -> Graph:
    try:
        return architecture_of(parsed(parts[CONFIG]))
    except (BadJson, BadArchitecture) as error:
        raise BadKerasFile(f"{CONFIG}: {error}") from error


def _architecture_in(stored: Hdf5Content) -> Graph | None:
    try:
        return None if stored.config is None else architecture_of(parsed(stored.config))
    except BadJson as error:
        raise BadKerasFile(str(error)) from error


def _hdf5(content: bytes, part: str | None = None) -> Hdf5Content:
    try:
        return read_hdf5(content)
    except BadHdf5 as error:
        raise BadKerasFile(f"{part}: {error}" if part else str(error)) from error


def _with_weights(graph: Graph, stored: Hdf5Content) -> Graph:
    """The graph with the weights of its layers, paired as Keras does: by name, or by class and number within it."""
    weights: dict[str, StoredLayer] = {}
    with_weights = [layer for layer in stored.layers if layer.arrays]
    if stored.form == LEGACY:
        for layer in with_weights:
            if layer.name in weights:
                raise BadWeightsFile(f"holds the weights of layer {layer.name!r} twice")
            weights[layer.name or ""] = layer
        return replace(graph, weights=weights)
    in_order = in_keras_order(graph.layers.values(), graph.output)
    for kind in WEIGHT_NAMES:
        names = [layer.name for layer in in_order if layer.kind == kind]
        as_written = [name for name in graph.layers if name in names]
        if wrong := [pair for pair in zip(names, as_written, strict=True) if pair[0] != pair[1]]:
            ours, theirs = wrong[0]
            raise BadWeightsFile(f"layer {theirs!r} stands in the order of the config where {ours!r} was expected")
        there = [layer for layer in with_weights if layer.kind == kind]
        if len(names) != len(there):
            raise BadWeightsFile(
                f"holds weights of {len(there)} layers of class {kind}, expected {len(names)} ({', '.join(names)})"
            )
        for name, layer in zip(names, there, strict=True):
            if layer.name not in (None, name):
                raise BadWeightsFile(f"{layer.place} holds the weights of layer {layer.name!r}, expected {name!r}")
            weights[name] = layer
    return replace(graph, weights=weights)

"""Keras files: HDF5 of Keras 2, zip files of Keras 2.12 to 2.15 and of Keras 3, weights alone too."""

import io
import zipfile
from dataclasses import replace

from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.files.zip_parts import BadZip, DamagedZip, read_parts
from cal_ratio_trainer.formats.architecture import BadArchitecture, architecture_of
from cal_ratio_trainer.formats.graph import Graph
from cal_ratio_trainer.formats.hdf5_content import LEGACY, BadHdf5, Hdf5Content, read_hdf5
from cal_ratio_trainer.formats.keras_file import CONFIG, LARGEST, METADATA, WEIGHTS
from cal_ratio_trainer.formats.layers import Layer, in_keras_order
from cal_ratio_trainer.formats.recognition import Recognised, network_from_weights, recognised
from cal_ratio_trainer.formats.stored_layers import (
    WEIGHTS_OF,
    BadNetworkFile,
    BadWeightsFile,
    StoredLayer,
    StoredNetwork,
    paired_by_class,
    weights_by_name,
)

_LARGEST = {**LARGEST, WEIGHTS: 1 << 27}
"""As for our own files, but fewer weights: twice the numbers that are read of them."""

_WEIGHTS_ALONE = "The file holds weights alone: activations and slots are taken to be those of the 2019 network."


class BadKerasFile(BadNetworkFile):
    """A file is none of Keras', or a damaged one; says which part."""


def network_from_zip(content: bytes) -> StoredNetwork:
    """The network in a `.keras` zip file.

    Raises:
        BadKerasFile, BadWeightsFile: it is none, damaged, or another network; names the part and the layer.
    """
    parts = _parts(content)
    try:
        version = parsed(parts[METADATA])
        architecture = architecture_of(parsed(parts[CONFIG]))
        found = recognised(architecture)
    except (BadJson, BadArchitecture) as error:
        raise BadKerasFile(f"{CONFIG} {error}") from error
    try:
        stored = read_hdf5(parts[WEIGHTS])
    except BadHdf5 as error:
        raise BadKerasFile(f"{WEIGHTS}: {error}") from error
    network = _with_architecture(architecture, found, stored)
    said = version.get("keras_version") if isinstance(version, dict) else None
    return replace(network, form=f"zip of Keras {said if isinstance(said, str) else '?':.20}, with architecture")


def network_from_hdf5(content: bytes, architecture: Graph | None = None) -> StoredNetwork:
    """The network in an HDF5 file of Keras.

    Args:
        content: the file.
        architecture: of another file of the same training, for a file that has weights only. Without it the network is
            found from the order and the shapes of the weights.

    Raises:
        BadKerasFile, BadWeightsFile: it is none, damaged, or another network; names the layer.
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
        network = _with_architecture(known, found, stored)
        return replace(network, form=f"{form}, {'with architecture' if own else 'weights only'}")
    shape, weights = network_from_weights(stored.layers, by_class=stored.form != LEGACY)
    names = tuple(layer.name for layer in stored.layers if layer.name) if stored.form == LEGACY else ()
    return StoredNetwork(shape, weights, f"{form}, weights only", names, dropout_is_said=False, notes=(_WEIGHTS_ALONE,))


def architecture_in(content: bytes) -> Graph | None:
    """The architecture that a file of either kind holds; None for weights alone.

    Raises:
        BadKerasFile: it is none of Keras', or damaged.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return architecture_of(parsed(_parts(content)[CONFIG]))
        config = read_hdf5(content).config
        return architecture_of(parsed(config)) if config is not None else None
    except (BadHdf5, BadJson, BadArchitecture) as error:
        raise BadKerasFile(str(error)) from error


def _with_architecture(architecture: Graph, found: Recognised, stored: Hdf5Content) -> StoredNetwork:
    if stored.form == LEGACY:
        by_name: dict[str, StoredLayer] = {}
        for layer in stored.with_weights:
            if layer.name in by_name:
                raise BadWeightsFile(f"holds the weights of layer {layer.name!r} twice")
            by_name[layer.name or ""] = layer
    else:
        by_name = paired_by_class(_ordered(architecture), stored.with_weights)
    weights = weights_by_name(found.shape, found.names, by_name)
    return StoredNetwork(found.shape, weights, "", tuple(architecture.layers), found.dropout_is_said)


def _ordered(architecture: Graph) -> list[tuple[str, str]]:
    """Class and name of the layers with weights as Keras numbers them; the config's order must say the same."""
    plain = [Layer(layer.kind, layer.name, layer.sources, ()) for layer in architecture.layers.values()]
    by_depth = [layer for layer in in_keras_order(plain, architecture.output) if layer.kind in WEIGHTS_OF]
    as_written = [layer for layer in plain if layer.kind in WEIGHTS_OF]
    for kind in WEIGHTS_OF:
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
        return read_parts(content, _LARGEST)
    except DamagedZip as error:
        raise BadKerasFile(f"is a damaged zip file: {error}") from error
    except BadZip as error:
        raise BadKerasFile(str(error)) from error

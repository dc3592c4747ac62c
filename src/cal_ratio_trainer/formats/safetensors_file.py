"""The program's own network files: weights as safetensors, with shape, encoder, feature schema, run, epoch and digest.

They can contain a network of any encoder and schema. The same network always gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cal_ratio_trainer.config.learning import MAX_LAYERS, MAX_UNITS
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.formats.layers import checked_weights
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, StoredNetwork
from cal_ratio_trainer.jets.schema import CALRATIO_2019, MASS_INPUTS
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

SUFFIX = ".safetensors"
FORMAT_VERSION = 1
_NETWORK, _DIGEST = "cal_ratio_trainer_network", "sha256"
_SHAPE = TypeAdapter(NetworkShape)
_NOT_OURS = (SafetensorError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Errors of reading a header or arrays that are not as this program writes them."""


def safetensors_bytes(
    shape: NetworkShape,
    weights: Mapping[str, np.ndarray[Any, Any]],
    run: str | None = None,
    epoch: int | None = None,
) -> bytes:
    """The content of a file.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, in the shapes of `shape.weight_shapes()`; stored as float32.
        run, epoch: see `StoredNetwork`.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight contains NaN or infinities.
    """
    stored = checked_weights(shape, weights)
    said = {"format_version": FORMAT_VERSION, "run": run, "epoch": epoch}
    text = json.dumps({**said, "shape": described_shape(shape)})
    content: bytes = save(stored, metadata={_NETWORK: text, _DIGEST: _digest(text, stored)})
    return content


def described_shape(shape: NetworkShape) -> dict[str, Any]:
    """A shape as plain JSON."""
    # Networks of the 2019 schema are nearly all: it is left out of their files.
    unsaid: dict[str, Any] = {"schema": True} if shape.schema == CALRATIO_2019 else {}
    if not any(branch.options for branch in shape.branches):
        unsaid["branches"] = {"__all__": {"options"}}
    described: dict[str, Any] = _SHAPE.dump_python(shape, mode="json", exclude=unsaid)
    return described


def shape_of_description(said: Any) -> NetworkShape:
    """The inverse of `described_shape`, for descriptions from untrusted files.

    Raises:
        ValueError: it describes no network of this program, or one with more than `MAX_LAYERS` layers or `MAX_UNITS`
            units; names the part.
        UnknownEncoder: its encoder is not registered.
    """
    try:
        shape = _SHAPE.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'shape'}: {first['msg']}") from error
    kinds = [(kind.name, kind.limit, len(kind.inputs)) for kind in shape.schema.constituents]
    if [(branch.name, branch.slots, branch.inputs) for branch in shape.branches] != kinds:
        raise ValueError("its branches are not those of its features")
    layers = {"LSTM layers": shape.lstm_layers, "hidden layers": len(shape.hidden) or 1}
    units = [*shape.hidden]
    encoder = encoder_named(shape.encoder)
    for branch in shape.branches:
        layers[f"dense layers of {branch.name}"] = len(branch.dense)
        units += [*branch.dense, branch.lstm_units]
        try:
            encoder.checked_options([f"{name}={number}" for name, number in branch.options])
        except ConfigError as error:
            raise ValueError(str(error)) from error
    for part, number in layers.items():
        if not 1 <= number <= MAX_LAYERS:
            raise ValueError(f"has {number} {part}, expected 1 to {MAX_LAYERS}")
    if wrong := [width for width in units if not 1 <= width <= MAX_UNITS]:
        raise ValueError(f"has a layer of {wrong[0]} units, expected 1 to {MAX_UNITS}")
    if not (0 <= shape.masses <= len(MASS_INPUTS) and 0 <= shape.dropout < 1):
        raise ValueError(
            f"has {shape.masses} masses and dropout {shape.dropout:g}, expected 0 to {len(MASS_INPUTS)}, and below 1"
        )
    return shape


def is_safetensors(content: bytes) -> bool:
    """True if a content begins as a safetensors file does: the length of its header, and JSON."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content)


def network_from_safetensors(content: bytes) -> StoredNetwork:
    """The network in a file.

    Raises:
        BadNetworkFile: the file is no network of this program, damaged, or of a later version.
        UnknownEncoder: its encoder is not registered.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        text, digest = metadata[_NETWORK], metadata[_DIGEST]
        said, weights = json.loads(text), load(content)
        version, run, epoch = int(said["format_version"]), said["run"], said["epoch"]
    except _NOT_OURS as error:
        raise BadNetworkFile(f"is no network file of this program, or a damaged one ({error!s:.200})") from error
    if version > FORMAT_VERSION:
        raise BadNetworkFile(f"has format version {version}; this program reads up to {FORMAT_VERSION}")
    if digest != _digest(text, weights):
        raise BadNetworkFile("is damaged or was changed: its content does not have the digest that stands in it")
    try:
        shape = shape_of_description(said["shape"])
        form = f"safetensors of this program, encoder {shape.encoder}"
        return StoredNetwork(shape, checked_weights(shape, weights), form, run=run, epoch=epoch)
    except (ValueError, LookupError, RecursionError) as error:
        raise BadNetworkFile(f"holds no network of this program: {error!s:.400}") from error


def _digest(text: str, weights: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()

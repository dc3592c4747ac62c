"""Whole-model `.keras` files that Keras 3 opens, written and read without Keras.

The same weights always give the same bytes. Files of Keras 2 are not read here.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import write_bytes
from cal_ratio_trainer.files.json_text import BadJson, parsed
from cal_ratio_trainer.files.zip_parts import BadZip, DamagedZip, read_parts
from cal_ratio_trainer.formats.hdf5_content import BadHdf5, read_hdf5
from cal_ratio_trainer.formats.keras_config import NotOurNetwork, functional_config, network_shape
from cal_ratio_trainer.formats.keras_weights import layers_as_written, weights_bytes
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, FloatArray, checked_weights, classifier_layers, input_names
from cal_ratio_trainer.formats.stored_layers import BadWeightsFile, paired_by_class, weights_by_name
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.shape import NetworkShape

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
LARGEST = {METADATA: 1 << 20, CONFIG: 1 << 23, WEIGHTS: 1 << 30}
"""The parts of a file, and how many bytes each may have when it is read."""

HDF5_BEGINNING = b"\x89HDF\r\n\x1a\n"
_EARLIER = "is a file of Keras 2, as the earlier program left them; 'cr_trainer import' makes a run of it"

# Keras writes its version and the time here. The form of the config is that of 3.0, which all later versions read; a
# fixed time keeps the bytes the same.
_METADATA_CONTENT = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}
_SCHEMA = "cal_ratio_trainer_schema"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def write_keras(path: Path, shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes a classifier as a `.keras` file, complete or not at all. Arguments and errors as `keras_model_bytes`."""
    write_bytes(path, keras_model_bytes(shape, weights))


def keras_model_bytes(shape: NetworkShape, weights: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The content of a `.keras` file: a functional model that gives scores [jets, 3] in the order QCD, signal, BIB.

    Its inputs are, for each branch, [jets, slots, inputs + masses], then the jets themselves, [jets, jet inputs
    + masses]. Features other than those of 2019 are described in its metadata.

    Args:
        shape: the classifier's shape.
        weights: every weight by name, shaped as `shape.weight_shapes()` says; stored as float32.

    Raises:
        ValueError: a weight is missing, unknown or of another shape.
        NonFiniteWeights: a weight holds NaN or infinities.
    """
    layers = classifier_layers(shape)
    config = functional_config(layers, input_names(shape), OUTPUT_LAYER)
    metadata: dict[str, Any] = dict(_METADATA_CONTENT)
    if shape.schema != CALRATIO_2019:
        metadata[_SCHEMA] = shape.schema.model_dump(mode="json", exclude_defaults=True)
    parts = {
        METADATA: json.dumps(metadata).encode(),
        CONFIG: json.dumps(config).encode(),
        WEIGHTS: weights_bytes(layers, checked_weights(shape, weights)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content)
    return buffer.getvalue()


def read_keras(path: Path) -> tuple[NetworkShape, dict[str, FloatArray]]:
    """The shape and the weights of a classifier that `write_keras` wrote; Keras 3 may have saved it again since.

    Returns:
        The shape, and float32 weights by name as `shape.weight_shapes()` says.

    Raises:
        InputFileError: no such file, no zip, parts missing, too large or damaged, another network, or a weight of
            another shape, type or layer, or one that is not finite; names the layer.
    """
    parts = _parts(path)
    if _is_of_keras_2(parts[METADATA]):
        raise InputFileError(path, _EARLIER)
    try:
        shape = network_shape(parsed(parts[CONFIG]), _schema_in(path, parts[METADATA]))
        return shape, _weights(parts[WEIGHTS], shape)
    except (BadJson, NotOurNetwork) as error:
        raise InputFileError(path, f"{CONFIG}: {error}") from error
    except (BadHdf5, BadWeightsFile) as error:
        raise InputFileError(path, f"{WEIGHTS}: {error}") from error


def _schema_in(path: Path, metadata: bytes) -> Schema:
    """The features that a network reads; those of 2019 where its file does not say."""
    try:
        said = parsed(metadata)
        content = said.get(_SCHEMA) if isinstance(said, dict) else None
        return CALRATIO_2019 if content is None else Schema.model_validate(content)
    except (BadJson, ValidationError) as error:
        raise InputFileError(path, f"{METADATA}: holds no schema of features: {error}") from error


def _weights(content: bytes, shape: NetworkShape) -> dict[str, FloatArray]:
    stored = layers_as_written(content, shape)
    if stored is None:
        names = [(layer.kind, layer.name) for layer in classifier_layers(shape) if layer.weights]
        stored = paired_by_class(names, read_hdf5(content).with_weights)
    return weights_by_name(shape, {name: name for name in stored}, stored)


def _parts(path: Path) -> dict[str, bytes]:
    try:
        return read_parts(path, LARGEST)
    except FileNotFoundError as error:
        raise InputFileError(path, "no such file") from error
    except DamagedZip as error:
        reason = _EARLIER if _is_hdf5(path) else f"is no Keras 3 file, or a damaged one: {error}"
        raise InputFileError(path, reason) from error
    except BadZip as error:
        raise InputFileError(path, str(error)) from error


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_BEGINNING)) == HDF5_BEGINNING
    except OSError:
        return False


def _is_of_keras_2(metadata: bytes) -> bool:
    try:
        said = parsed(metadata)
    except BadJson:
        return False
    return isinstance(said, dict) and str(said.get("keras_version", "")).startswith("2.")

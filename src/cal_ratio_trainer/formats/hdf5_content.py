"""The HDF5 data of a Keras file, read by a process of its own (see `hdf5_reader`) that may hang or crash."""

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_ratio_trainer.formats.stored_layers import StoredLayer

LEGACY = "legacy"
"""The form of `model.save` and `model.save_weights` in Keras 2: layers by name."""

_READER = ("-P", "-m", "cal_ratio_trainer.formats.hdf5_reader")
"""Without -P a file of the current folder could stand in for a module."""
_TIMEOUT_S = 60.0


class BadHdf5(ValueError):
    """HDF5 data that cannot be read; the message tells why."""


@dataclass(frozen=True)
class Hdf5Content:
    """Content of HDF5 data of Keras.

    Attributes:
        form: `LEGACY`, or the group that holds the layers in the newer form.
        keras_version: of the program that wrote it, if the file has it.
        config: the architecture as JSON text, where there is one.
        layers: in the file's order (legacy) or by class and number (newer). Those without weights are among them; the
            class of such a layer is empty where the file does not say it.
    """

    form: str
    keras_version: str | None
    config: str | None
    layers: tuple[StoredLayer, ...]

    @property
    def with_weights(self) -> tuple[StoredLayer, ...]:
        """The layers that have weights."""
        return tuple(layer for layer in self.layers if layer.arrays)


def read_hdf5(content: bytes) -> Hdf5Content:
    """Reads HDF5 data of Keras in either form.

    Raises:
        BadHdf5: it is damaged, none of Keras', or holds something that is not read; names the layer.
    """
    try:
        answer, status = _run_reader(content)
    except subprocess.TimeoutExpired as error:
        raise BadHdf5("the HDF5 data is damaged: reading it does not end") from error
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as parts:
            said, *arrays = (parts[name] for name in parts.files)
        told: dict[str, Any] = json.loads(said.tobytes())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadHdf5(f"the HDF5 data is damaged: the library that reads it ended with {status}") from error
    if "error" in told:
        raise BadHdf5(told["error"])
    layers = tuple(
        StoredLayer(each["kind"], each["name"], each["place"], tuple(arrays[index] for index in each["arrays"]))
        for each in told["layers"]
    )
    return Hdf5Content(told["form"], told["keras_version"], told["config"], layers)


def _run_reader(content: bytes) -> tuple[bytes, int]:
    """Returns the standard output and the exit status of the reader's process."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
    command, environment = [sys.executable, *_READER], {**os.environ, **one_thread}
    done = subprocess.run(command, input=content, capture_output=True, timeout=_TIMEOUT_S, env=environment)
    return done.stdout, done.returncode

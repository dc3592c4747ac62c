"""One file of a network, of whatever kind, told by its content."""

from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.json_text import BadJson
from cal_ratio_trainer.formats.architecture import Architecture, BadArchitecture
from cal_ratio_trainer.formats.fdeep_network import BadFdeepFile, network_from_fdeep
from cal_ratio_trainer.formats.keras_file import HDF5_BEGINNING, read_keras
from cal_ratio_trainer.formats.keras_network import (
    BadKerasFile,
    architecture_in,
    network_from_hdf5,
    network_from_zip,
)
from cal_ratio_trainer.formats.safetensors_file import SUFFIX, read_safetensors
from cal_ratio_trainer.formats.stored_layers import BadWeightsFile, StoredNetwork

MAX_BYTES = 1 << 28
"""How many bytes a file may have: 700 times those of the 2019 network."""

LARGEST_JSON = 1 << 25
"""Of JSON: 80 times that of the 2019 network. As objects a text can take 25 times its size in memory."""

_LONGEST_BLANK = 1024
_ZIP = b"PK\x03\x04"
_BAD = (BadArchitecture, BadFdeepFile, BadJson, BadKerasFile, BadWeightsFile)


def read_network(path: Path, architecture: Architecture | None = None) -> StoredNetwork:
    """The network in a file: a zip or HDF5 file of Keras, or JSON of frugally-deep.

    Args:
        path: the file; its name does not matter.
        architecture: of another file of the same training, for HDF5 files that hold weights alone.

    Raises:
        InputFileError: no such file, of another kind, damaged, or another network; names the layer.
    """
    content = read_content(path)
    try:
        if content.startswith(_ZIP):
            return network_from_zip(content)
        if content.startswith(HDF5_BEGINNING):
            return network_from_hdf5(content, architecture)
        if content[:_LONGEST_BLANK].lstrip(b" \t\r\n")[:1] == b"{":
            if len(content) > LARGEST_JSON:
                raise BadJson(f"has more than {LARGEST_JSON} bytes, too many for the JSON of a network")
            return network_from_fdeep(content)
    except _BAD as error:
        raise InputFileError(path, str(error)) from error
    kinds = "a zip or HDF5 file of Keras, or JSON of frugally-deep"
    raise InputFileError(path, f"is no network file: expected {kinds}, found {'nothing' if not content else 'neither'}")


def read_own_network(file: Path) -> StoredNetwork:
    """The network in a file of this program, `.safetensors` or `.keras`. Raises InputFileError."""
    if file.suffix == SUFFIX:
        return read_safetensors(file)
    shape, weights = read_keras(file)
    return StoredNetwork(shape, weights, "keras")


def read_architecture(path: Path) -> Architecture | None:
    """The architecture in a Keras file; None where it holds weights alone. Raises InputFileError as `read_network`."""
    try:
        return architecture_in(read_content(path))
    except _BAD as error:
        raise InputFileError(path, str(error)) from error


def read_content(path: Path, largest: int = MAX_BYTES) -> bytes:
    """The bytes of a file. Raises InputFileError where it is none or has more than `largest`."""
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise InputFileError(path, reason) from error
    if len(content) > largest:
        raise InputFileError(path, f"has more than {largest} bytes, too many for a network")
    return content

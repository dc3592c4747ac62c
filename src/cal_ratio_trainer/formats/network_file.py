"""Network files of this program; `registry` reads those of all formats."""

from pathlib import Path

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.graph import Graph
from cal_ratio_trainer.formats.keras_reading import architecture_in, network_from_zip
from cal_ratio_trainer.formats.safetensors_file import SUFFIX, network_from_safetensors
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, StoredNetwork

MAX_BYTES = 1 << 28
"""Largest size of a file in bytes: 700 times the 2019 network."""


def read_own_network(file: Path) -> StoredNetwork:
    """The network in a file of this program, `.safetensors` or `.keras`; Keras 3 may have saved the latter again.

    Raises:
        InputFileError: no such file, or no network of this program; names the part and the layer.
    """
    content = read_content(file)
    try:
        return network_from_safetensors(content) if file.suffix == SUFFIX else network_from_zip(content, own=True)
    except BadNetworkFile as error:
        raise InputFileError(file, str(error)) from error


def read_architecture(path: Path) -> Graph | None:
    """The architecture in a Keras file; None for weights alone. Raises InputFileError as `read_network`."""
    try:
        return architecture_in(read_content(path))
    except BadNetworkFile as error:
        raise InputFileError(path, str(error)) from error


def read_content(path: Path, largest: int = MAX_BYTES) -> bytes:
    """The bytes of a file. Raises InputFileError if there is no such file or it has more than `largest`."""
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise InputFileError(path, reason) from error
    if len(content) > largest:
        raise InputFileError(path, f"has more than {largest} bytes, too many for a network")
    return content

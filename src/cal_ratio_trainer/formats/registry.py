"""The network formats by name: how each is written, read and checked.

A format from outside the package is known in a process that has called `register_format` with it: `export_networks`
writes it, `import_run` reads it, and every written file is checked with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.errors import InputFileError, UserError, did_you_mean
from cal_ratio_trainer.formats.fdeep_file import Flavour, chosen_load_tests, fdeep_bytes
from cal_ratio_trainer.formats.fdeep_reading import network_from_fdeep
from cal_ratio_trainer.formats.graph import Graph, evaluate, graph_of
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.keras_reading import HDF5_BEGINNING, ZIP_BEGINNING, network_from_hdf5, network_from_zip
from cal_ratio_trainer.formats.model_card import card_properties
from cal_ratio_trainer.formats.network_file import read_content
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.safetensors_file import (
    SUFFIX,
    is_safetensors,
    network_from_safetensors,
    safetensors_bytes,
)
from cal_ratio_trainer.formats.self_check import (
    NetworkToWrite,
    check_fdeep,
    check_keras,
    check_onnx,
    check_safetensors,
)
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, StoredNetwork
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER, encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

ALL = "all"
"""In place of a format: every one that another program reads."""

_MAX_BLANK = 1024


@dataclass(frozen=True)
class NetworkFormat:
    """A format of network files.

    Attributes:
        name: name of the format, as `--format` takes it.
        suffix: ending of its files.
        title: title for messages, e.g. 'JSON of frugally-deep'.
        write: makes the content of a file.
        check: compares the content of a written file with the network; returns the largest difference of a score, or
            raises an exception that says what differs.
        recognises: True for a content of this format; None if files are not read.
        read: reads the network in a content; raises BadNetworkFile if it is damaged or another network.
        holds_every_encoder: holds networks of any encoder; else the encoder says so (`Encoder.formats`).
        averages: a file can hold several networks and the mean of their scores.
        empty_slots_are_zeros: with other encoders than the LSTM, which reads empty slots like any other, slots of zeros
            are taken for empty ones.
        stem_end: end of the stem of its file when all formats are written.
        is_in_all: `--format all` writes it.
    """

    name: str
    suffix: str
    title: str
    write: Callable[[NetworkToWrite], bytes]
    check: Callable[[bytes, NetworkToWrite], float]
    recognises: Callable[[bytes], bool] | None = None
    read: Callable[[bytes], StoredNetwork] | None = None
    holds_every_encoder: bool = False
    averages: bool = False
    empty_slots_are_zeros: bool = False
    stem_end: str = ""
    is_in_all: bool = True

    def holds(self, shape: NetworkShape, padding: Mapping[str, Sequence[float]] | None = None) -> bool:
        """True if a file can hold a network.

        Args:
            shape: shape of the network.
            padding: for each branch the row [inputs] of an empty slot; None for zeros.
        """
        has_encoder = shape.encoder != DEFAULT_ENCODER
        if self.empty_slots_are_zeros and has_encoder and any(any(row) for row in (padding or {}).values()):
            return False
        return self.holds_every_encoder or self.name in encoder_named(shape.encoder).formats


class UnknownFormat(UserError):
    """No format of this name is registered."""

    def __init__(self, name: str) -> None:
        known = [*_formats, ALL]
        super().__init__(f"format is {name!r:.80}, expected one of {', '.join(known)}{did_you_mean(name, known)}")


class CannotHold(UserError):
    """A format cannot hold a network with this encoder."""

    def __init__(
        self, format_name: str, shape: NetworkShape, padding: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        able = ", ".join(each.name for each in formats().values() if each.holds(shape, padding))
        where = " whose empty slots are not zeros" if formats()[format_name].holds(shape) else ""
        super().__init__(
            f"a file of format {format_name} cannot hold a network with the encoder {shape.encoder}{where}; {able} can"
        )


class CannotAverage(UserError):
    """A format holds one network, not the average of several."""

    def __init__(self, format_name: str, count: int) -> None:
        able = " or ".join(each.name for each in formats().values() if each.averages)
        super().__init__(
            f"a file of format {format_name} holds one network, not the average of the {count} members of an ensemble: "
            f"--format {able} writes the average, --members writes each of them"
        )


def formats() -> Mapping[str, NetworkFormat]:
    """All formats by name."""
    return dict(_formats)


def formats_named(name: str) -> tuple[NetworkFormat, ...]:
    """The format of a name, or all formats that `ALL` means. Raises UnknownFormat."""
    if name == ALL:
        return tuple(each for each in _formats.values() if each.is_in_all)
    if name not in _formats:
        raise UnknownFormat(name)
    return (_formats[name],)


def register_format(new: NetworkFormat) -> NetworkFormat:
    """Makes a format known by its name; returns it."""
    _formats[new.name] = new
    return new


def _write_fdeep(network: NetworkToWrite, flavour: Flavour) -> bytes:
    shape, inputs = network.facts.shape, network.probes.scaled.inputs
    scores = evaluate(graph_of(shape, network.weights), inputs.arrays)
    return fdeep_bytes(shape, network.weights, flavour, chosen_load_tests(inputs, network.probes.fillings, scores))


def _write_onnx(network: NetworkToWrite) -> bytes:
    facts = network.facts
    preprocessing = facts.preprocessing if network.onnx_scales_jets else None
    properties = card_properties(facts, network.onnx_scales_jets)
    padding = facts.preprocessing.padding
    return onnx_bytes(
        facts.shape, network.weights, properties, network.opset, preprocessing, padding, network.averaged_with
    )


_BUILT_IN = (
    NetworkFormat(
        *("fdeep", ".json", "JSON of frugally-deep"),
        lambda network: _write_fdeep(network, Flavour.KERAS_2),
        check_fdeep,
        lambda content: content[:_MAX_BLANK].lstrip(b" \t\r\n")[:1] == b"{" and not is_safetensors(content),
        network_from_fdeep,
    ),
    NetworkFormat(
        *("fdeep-keras3", ".json", "JSON of frugally-deep"),
        lambda network: _write_fdeep(network, Flavour.KERAS_3),
        check_fdeep,
        stem_end="_keras3",
    ),
    NetworkFormat(
        *("keras", ".keras", "a zip or HDF5 file of Keras"),
        lambda network: keras_model_bytes(network.facts.shape, network.weights),
        check_keras,
        lambda content: content.startswith((ZIP_BEGINNING, HDF5_BEGINNING)),
        lambda content: network_from_zip(content) if content.startswith(ZIP_BEGINNING) else network_from_hdf5(content),
        empty_slots_are_zeros=True,
    ),
    NetworkFormat("onnx", ".onnx", "ONNX", _write_onnx, check_onnx, averages=True),
    NetworkFormat(
        *("safetensors", SUFFIX, "safetensors of this program"),
        lambda network: safetensors_bytes(network.facts.shape, network.weights),
        check_safetensors,
        is_safetensors,
        network_from_safetensors,
        holds_every_encoder=True,
        is_in_all=False,
    ),
)

_formats: dict[str, NetworkFormat] = {each.name: each for each in _BUILT_IN}


def read_network(path: Path, architecture: Graph | None = None) -> StoredNetwork:
    """The network in a file of any format that is read.

    Args:
        path: path of the file; its name does not matter.
        architecture: architecture in another file of the same training, for HDF5 files with weights alone.

    Raises:
        InputFileError: no such file, of another kind, damaged, or another network; names the layer.
    """
    content = read_content(path)
    try:
        if architecture is not None and content.startswith(HDF5_BEGINNING):
            return network_from_hdf5(content, architecture)
        for each in formats().values():
            if each.read is not None and each.recognises is not None and each.recognises(content):
                return each.read(content)
    except BadNetworkFile as error:
        raise InputFileError(path, str(error)) from error
    *kinds, last = dict.fromkeys(each.title for each in formats().values() if each.read is not None)
    found = "none of these" if content else "nothing"
    raise InputFileError(path, f"is no network file: expected {', '.join(kinds)} or {last}, found {found}")

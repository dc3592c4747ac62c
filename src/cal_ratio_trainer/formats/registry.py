"""The network formats by name: how each is written, read and checked; `export` writes several at once.

A format from outside the package is known in a process that has called `register_format` with it: `export` writes it,
`import_run` reads it, and every written file is checked with it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError, did_you_mean
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.formats.fdeep_file import Flavour, chosen_load_tests, fdeep_bytes
from cal_ratio_trainer.formats.fdeep_reading import network_from_fdeep
from cal_ratio_trainer.formats.graph import evaluate, graph_of
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.keras_reading import HDF5_BEGINNING, network_from_hdf5, network_from_zip
from cal_ratio_trainer.formats.model_card import (
    NetworkFacts,
    WrittenFile,
    card_json,
    card_markdown,
    card_properties,
    files_on_card,
)
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.onnx_graph import OLDEST_OPSET, require_onnx
from cal_ratio_trainer.formats.safetensors_file import (
    SUFFIX,
    is_safetensors,
    network_from_safetensors,
    safetensors_bytes,
)
from cal_ratio_trainer.formats.self_check import (
    Expected,
    KnownScores,
    check_fdeep,
    check_file,
    check_keras,
    check_onnx,
    check_safetensors,
)
from cal_ratio_trainer.formats.stored_layers import StoredNetwork
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER, encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

ALL = "all"
"""In place of a format: every one that another program reads."""

_ZIP = b"PK\x03\x04"
_MAX_BLANK = 1024


@dataclass(frozen=True)
class Probes:
    """Jets that files are tried on.

    Attributes:
        scaled: as `build` scales them, with the network's own scores.
        fillings: [jets], which of them have equally many slots filled; the jets in frugally-deep files are of each.
        converted: jets as `convert` writes them, with the scores that the network gives once they are scaled; None
            where no file takes such.
    """

    scaled: KnownScores
    fillings: NDArray[np.integer[Any]]
    converted: KnownScores | None = None


@dataclass(frozen=True)
class Source:
    """A network, or the average of several, from which files are written.

    Attributes:
        facts: the network's shape, its origin, and the preprocessing of its inputs.
        weights: every weight by name.
        probes: jets with the network's own scores.
        averaged_with: weights of further networks of this shape; the scores of a file are the mean over all.
        opset: version of the operators of an ONNX file.
        onnx_scales_jets: an ONNX file includes the preprocessing of its inputs.
    """

    facts: NetworkFacts
    weights: Mapping[str, np.ndarray[Any, Any]]
    probes: Probes
    averaged_with: tuple[Mapping[str, np.ndarray[Any, Any]], ...] = ()
    opset: int = OLDEST_OPSET
    onnx_scales_jets: bool = False


@dataclass(frozen=True)
class NetworkFormat:
    """A format of network files.

    Attributes:
        name: of the format, as `--format` takes it.
        suffix: ending of its files.
        title: for messages, e.g. 'JSON of frugally-deep'.
        write: content of a file.
        check: compares a written file with what it should hold; returns the largest difference of a score, or raises an
            exception that says what differs.
        recognises: whether a content is of this format; None where files are not read.
        read: the network in a content; raises BadNetworkFile where it is damaged or another network.
        holds_every_encoder: whether it holds networks of any encoder; else the encoder says so (`Encoder.formats`).
        averages: whether a file can hold several networks and the mean of their scores.
        empty_slots_are_zeros: whether its files take slots of zeros for empty ones, with other encoders than the LSTM,
            which reads empty slots like any other.
        stem_end: behind the stem of its file where all formats are written.
        is_in_all: whether `--format all` writes it.
    """

    name: str
    suffix: str
    title: str
    write: Callable[[Source], bytes]
    check: Callable[[bytes, Expected], float]
    recognises: Callable[[bytes], bool] | None = None
    read: Callable[[bytes], StoredNetwork] | None = None
    holds_every_encoder: bool = False
    averages: bool = False
    empty_slots_are_zeros: bool = False
    stem_end: str = ""
    is_in_all: bool = True

    def holds(self, shape: NetworkShape, padding: Mapping[str, Sequence[float]] | None = None) -> bool:
        """True where a file can hold a network.

        Args:
            shape: of the network.
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
    """The format of a name, or those that `ALL` stands for. Raises UnknownFormat."""
    if name == ALL:
        return tuple(each for each in _formats.values() if each.is_in_all)
    if name not in _formats:
        raise UnknownFormat(name)
    return (_formats[name],)


def register_format(new: NetworkFormat) -> NetworkFormat:
    """Makes a format known by its name; returns it."""
    _formats[new.name] = new
    return new


def _write_fdeep(source: Source, flavour: Flavour) -> bytes:
    shape, inputs = source.facts.shape, source.probes.scaled.inputs
    scores = evaluate(graph_of(shape, source.weights), inputs.arrays)
    return fdeep_bytes(shape, source.weights, flavour, chosen_load_tests(inputs, source.probes.fillings, scores))


def _write_onnx(source: Source) -> bytes:
    facts = source.facts
    preprocessing = facts.preprocessing if source.onnx_scales_jets else None
    properties = card_properties(facts, source.onnx_scales_jets)
    padding = facts.preprocessing.padding
    return onnx_bytes(
        facts.shape, source.weights, properties, source.opset, preprocessing, padding, source.averaged_with
    )


def _is_keras(content: bytes) -> bool:
    return content.startswith((_ZIP, HDF5_BEGINNING))


def _read_keras(content: bytes) -> StoredNetwork:
    return network_from_zip(content) if content.startswith(_ZIP) else network_from_hdf5(content)


def _is_json(content: bytes) -> bool:
    return content[:_MAX_BLANK].lstrip(b" \t\r\n")[:1] == b"{" and not is_safetensors(content)


_BUILT_IN = (
    NetworkFormat(
        *("fdeep", ".json", "JSON of frugally-deep"),
        lambda source: _write_fdeep(source, Flavour.KERAS_2),
        check_fdeep,
        _is_json,
        network_from_fdeep,
    ),
    NetworkFormat(
        *("fdeep-keras3", ".json", "JSON of frugally-deep"),
        lambda source: _write_fdeep(source, Flavour.KERAS_3),
        check_fdeep,
        stem_end="_keras3",
    ),
    NetworkFormat(
        *("keras", ".keras", "a zip or HDF5 file of Keras"),
        lambda source: keras_model_bytes(source.facts.shape, source.weights),
        check_keras,
        _is_keras,
        _read_keras,
        empty_slots_are_zeros=True,
    ),
    NetworkFormat("onnx", ".onnx", "ONNX", _write_onnx, check_onnx, averages=True),
    NetworkFormat(
        *("safetensors", SUFFIX, "safetensors of this program"),
        lambda source: safetensors_bytes(source.facts.shape, source.weights),
        check_safetensors,
        is_safetensors,
        network_from_safetensors,
        holds_every_encoder=True,
        is_in_all=False,
    ),
)

_formats: dict[str, NetworkFormat] = {each.name: each for each in _BUILT_IN}


@dataclass(frozen=True)
class Exported:
    """Written files: the networks, and the two cards beside them.

    Attributes:
        files: the network files.
        paths: path of each.
        cards: the card as JSON and as a page.
        without_card: names of files beside them that an earlier card of this name described and that no card describes
            now.
    """

    files: tuple[WrittenFile, ...]
    paths: tuple[Path, ...]
    cards: tuple[Path, Path]
    without_card: tuple[str, ...] = ()


def output_files(output: Path, format_name: str) -> dict[str, Path]:
    """Output file of each format.

    Args:
        output: the file that the user named; its ending, if it is one of a network file, gives way to the format's own.
        format_name: of a format, or `ALL`.

    Raises:
        UnknownFormat: there is none of this name.

    >>> {name: path.name for name, path in output_files(Path("model.json"), "all").items()}
    {'fdeep': 'model.json', 'fdeep-keras3': 'model_keras3.json', 'keras': 'model.keras', 'onnx': 'model.onnx'}
    >>> output_files(Path("model.json"), "onnx")["onnx"].name
    'model.onnx'
    """
    stem, together = _without_suffix(output), format_name == ALL
    return {
        each.name: stem.with_name(stem.name + (each.stem_end if together else "") + each.suffix)
        for each in formats_named(format_name)
    }


def output_of_set(output: Path, word: str, number: int) -> Path:
    """The file that one network of a set is written to.

    >>> output_of_set(Path("model.json"), "fold", 2).name
    'model_fold2.json'
    """
    stem = _without_suffix(output)
    return stem.with_name(f"{stem.name}_{word}{number}{output.name.removeprefix(stem.name)}")


@dataclass(frozen=True)
class NetworkToWrite:
    """A network, or the average of several, and the files to write.

    Attributes:
        files: path by name of the format (see `output_files`); existing files are replaced.
        source: content of the files.
        details: entries beside these files on the card.
    """

    files: Mapping[str, Path]
    source: Source
    details: Mapping[str, Any] = field(default_factory=dict)


def export_networks(networks: Sequence[NetworkToWrite], facts: NetworkFacts, output: Path) -> Exported:
    """Writes the networks of one set, checks the files, and moves them to their place with one card.

    Args:
        networks: each with its files.
        facts: facts for the card.
        output: the file that the user named, which the card is named after.

    Raises:
        ExportFailed: a file cannot be read back, or does not give the network's scores to 1e-5; then none is left, and
            what lay there before is untouched.
        MissingOnnx: an ONNX file is wanted, but the packages are not installed.
        BadOpset: the installed onnx does not know this version.
        NonFiniteWeights: a weight holds NaN or infinities.
        CannotHold, CannotAverage: a format cannot hold a network with this encoder, or the average of several.
    """
    for network in networks:
        shape, padding = network.source.facts.shape, network.source.facts.preprocessing.padding
        for name in network.files:
            if not formats()[name].holds(shape, padding):
                raise CannotHold(name, shape, padding)
            if network.source.averaged_with and not formats()[name].averages:
                raise CannotAverage(name, 1 + len(network.source.averaged_with))
    if any("onnx" in network.files for network in networks):
        require_onnx()
    written: list[WrittenFile] = []
    stem = _without_suffix(output)
    cards = stem.with_name(f"{stem.name}.card.json"), stem.with_name(f"{stem.name}.card.md")
    paths = tuple(path for network in networks for path in network.files.values())
    others = sorted(files_on_card(cards[0]) - {path.name for path in paths})
    with ExitStack() as stack:
        for network in networks:
            for format_name, path in network.files.items():
                temporary = stack.enter_context(replacing(path))
                kind = formats()[format_name]
                written.append(_write_and_check(temporary, path, kind, network.source, network.details))
        for path, text in zip(cards, (card_json(facts, written), card_markdown(facts, written)), strict=True):
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")
    return Exported(tuple(written), paths, cards, tuple(others))


def _write_and_check(
    temporary: Path, path: Path, kind: NetworkFormat, source: Source, details: Mapping[str, Any]
) -> WrittenFile:
    scales_jets = kind.name == "onnx" and source.onnx_scales_jets
    known = source.probes.converted if scales_jets else source.probes.scaled
    if known is None:
        raise ValueError("a file that scales jets itself needs converted jets to be tried on")
    content = kind.write(source)
    temporary.write_bytes(content)
    expected = Expected(source.facts.shape, source.weights, known)
    difference = check_file(temporary, kind.check, content, path, expected)
    return WrittenFile(
        file=path.name,
        format=kind.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        jets_checked=len(known.inputs),
        largest_difference=difference,
        details={**details, **({"opset": source.opset} if kind.name == "onnx" else {})},
        converted=scales_jets,
    )


def _without_suffix(output: Path) -> Path:
    return output.with_suffix("") if output.suffix in {each.suffix for each in formats().values()} else output

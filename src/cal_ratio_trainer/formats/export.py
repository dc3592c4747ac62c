"""Writes a network in the formats that other programs read: each file is checked, then all are handed over together."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.formats.fdeep_file import Flavour, chosen_load_tests, fdeep_bytes
from cal_ratio_trainer.formats.graph import evaluate, graph_of
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
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
from cal_ratio_trainer.formats.self_check import Expected, KnownScores, check_file

FORMATS = ("fdeep", "fdeep-keras3", "keras", "onnx")
ALL = "all"

_SUFFIXES = {"fdeep": ".json", "fdeep-keras3": ".json", "keras": ".keras", "onnx": ".onnx"}


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
class OnnxOptions:
    """How an ONNX file is written: the version of its operators, and whether it scales jets itself."""

    opset: int = OLDEST_OPSET
    with_preprocessing: bool = False


_AS_OLD_AS_CAN_BE = OnnxOptions()


@dataclass(frozen=True)
class Exported:
    """What was written: the network files, and the two cards beside them.

    Attributes:
        files: the network files.
        paths: where each of them lies.
        cards: the card as JSON and as a page.
        without_card: names of files beside them that an earlier card of this name described and that no card describes
            now.
    """

    files: tuple[WrittenFile, ...]
    paths: tuple[Path, ...]
    cards: tuple[Path, Path]
    without_card: tuple[str, ...] = ()


def output_files(output: Path, format_name: str) -> dict[str, Path]:
    """Which file each format is written to.

    Args:
        output: the file that the user named; its ending, if it is one of a network file, gives way to the format's own.
        format_name: one of `FORMATS`, or `ALL`.

    >>> {name: path.name for name, path in output_files(Path("model.json"), "all").items()}
    {'fdeep': 'model.json', 'fdeep-keras3': 'model_keras3.json', 'keras': 'model.keras', 'onnx': 'model.onnx'}
    >>> output_files(Path("model.json"), "onnx")["onnx"].name
    'model.onnx'
    """
    stem = _without_suffix(output)
    if format_name != ALL:
        return {format_name: stem.with_name(stem.name + _SUFFIXES[format_name])}
    extra = {"fdeep-keras3": "_keras3"}
    return {name: stem.with_name(stem.name + extra.get(name, "") + _SUFFIXES[name]) for name in FORMATS}


def fold_output(output: Path, fold: int) -> Path:
    """The file that the network of a fold is written to.

    >>> fold_output(Path("model.json"), 2).name
    'model_fold2.json'
    """
    stem = _without_suffix(output)
    return stem.with_name(f"{stem.name}_fold{fold}{output.name.removeprefix(stem.name)}")


def export_network(
    files: Mapping[str, Path],
    facts: NetworkFacts,
    weights: Mapping[str, np.ndarray[Any, Any]],
    probes: Probes,
    onnx: OnnxOptions = _AS_OLD_AS_CAN_BE,
) -> Exported:
    """Write a network, check what was written, and hand it over with its cards.

    Args:
        files: format -> where it goes (see `output_files`); existing files are replaced.
        facts: the network's shape, where it comes from, and what it wants done to its inputs.
        weights: every weight by name.
        probes: jets with the network's own scores.
        onnx: how an ONNX file is written.

    Raises:
        ExportFailed: a file cannot be read back, or does not give the network's scores to 1e-5; then none is left, and
            what lay there before is untouched.
        MissingOnnx: an ONNX file is wanted, but the packages are not installed.
        BadOpset: the installed onnx does not know this version.
        NonFiniteWeights: a weight holds NaN or infinities.
    """
    network = NetworkToWrite(files, facts, weights, probes)
    return export_networks([network], facts, next(iter(files.values())), onnx)


@dataclass(frozen=True)
class NetworkToWrite:
    """A network and where it goes; see `export_network`. `details` stand beside its files on the card."""

    files: Mapping[str, Path]
    facts: NetworkFacts
    weights: Mapping[str, np.ndarray[Any, Any]]
    probes: Probes
    details: Mapping[str, Any] = field(default_factory=dict)


def export_networks(
    networks: Sequence[NetworkToWrite], facts: NetworkFacts, output: Path, onnx: OnnxOptions = _AS_OLD_AS_CAN_BE
) -> Exported:
    """Write several networks that belong together, check what was written, and hand all over with one card.

    Args:
        networks: each with its files.
        facts: what the card says of all of them.
        output: the file that the user named, which the card is named after.
        onnx: how ONNX files are written.

    Raises:
        ExportFailed, MissingOnnx, BadOpset, NonFiniteWeights: as `export_network`.
    """
    if any("onnx" in network.files for network in networks):
        require_onnx()
    written: list[WrittenFile] = []
    cards = _card_files(output)
    paths = tuple(path for network in networks for path in network.files.values())
    others = sorted(files_on_card(cards[0]) - {path.name for path in paths})
    with ExitStack() as stack:
        for network in networks:
            source = _Source(network.facts, network.weights, network.probes, onnx, network.details)
            for format_name, path in network.files.items():
                temporary = stack.enter_context(replacing(path))
                written.append(_write_and_check(temporary, path, format_name, source))
        for path, text in zip(cards, (card_json(facts, written), card_markdown(facts, written)), strict=True):
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")
    return Exported(tuple(written), paths, cards, tuple(others))


@dataclass(frozen=True)
class _Source:
    """What files are made of; see `export_network`."""

    facts: NetworkFacts
    weights: Mapping[str, np.ndarray[Any, Any]]
    probes: Probes
    onnx: OnnxOptions
    details: Mapping[str, Any]

    def scales_jets(self, format_name: str) -> bool:
        """Whether a file of this format takes jets as converted."""
        return format_name == "onnx" and self.onnx.with_preprocessing

    def content(self, format_name: str) -> bytes:
        """The bytes of a file."""
        shape = self.facts.shape
        if format_name == "keras":
            return keras_model_bytes(shape, self.weights)
        if format_name == "onnx":
            converted = self.scales_jets(format_name)
            preprocessing = self.facts.preprocessing if converted else None
            properties = card_properties(self.facts, converted)
            return onnx_bytes(shape, self.weights, properties, self.onnx.opset, preprocessing)
        scores = evaluate(graph_of(shape, self.weights), self.probes.scaled.inputs.arrays)
        tests = chosen_load_tests(self.probes.scaled.inputs, self.probes.fillings, scores)
        return fdeep_bytes(shape, self.weights, Flavour(format_name), tests)

    def known(self, format_name: str) -> KnownScores:
        """The jets that a file of this format is tried on."""
        if not self.scales_jets(format_name):
            return self.probes.scaled
        if self.probes.converted is None:
            raise ValueError("a file that scales jets itself needs converted jets to be tried on")
        return self.probes.converted


def _write_and_check(temporary: Path, path: Path, format_name: str, source: _Source) -> WrittenFile:
    content, known = source.content(format_name), source.known(format_name)
    temporary.write_bytes(content)
    expected = Expected(graph_of(source.facts.shape, source.weights), known)
    difference = check_file(temporary, format_name, content, path, expected)
    return WrittenFile(
        file=path.name,
        format=format_name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        jets_checked=len(known.inputs),
        largest_difference=difference,
        details={**source.details, **({"opset": source.onnx.opset} if format_name == "onnx" else {})},
        converted=source.scales_jets(format_name),
    )


def _card_files(output: Path) -> tuple[Path, Path]:
    stem = _without_suffix(output)
    return stem.with_name(f"{stem.name}.card.json"), stem.with_name(f"{stem.name}.card.md")


def _without_suffix(output: Path) -> Path:
    return output.with_suffix("") if output.suffix in set(_SUFFIXES.values()) else output

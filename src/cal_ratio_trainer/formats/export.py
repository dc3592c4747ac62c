"""Writes a network in the formats that other programs read: each file is checked, then all are handed over together."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.formats.model_card import NetworkFacts, WrittenFile, card_json, card_markdown, files_on_card
from cal_ratio_trainer.formats.onnx_graph import require_onnx
from cal_ratio_trainer.formats.registry import (
    ALL,
    CannotAverage,
    CannotHold,
    NetworkFormat,
    OnnxOptions,
    Probes,
    Source,
    formats,
    formats_named,
)
from cal_ratio_trainer.formats.self_check import Expected, check_file


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
    """A network, or the average of several, and its files.

    Attributes:
        files: format -> where it goes (see `output_files`); existing files are replaced.
        facts: the network's shape, where it comes from, and what it wants done to its inputs.
        weights: every weight by name.
        probes: jets with the network's own scores.
        details: stand beside its files on the card.
        averaged_with: weights of further networks; the files hold the mean of the scores of all.
    """

    files: Mapping[str, Path]
    facts: NetworkFacts
    weights: Mapping[str, np.ndarray[Any, Any]]
    probes: Probes
    details: Mapping[str, Any] = field(default_factory=dict)
    averaged_with: tuple[Mapping[str, np.ndarray[Any, Any]], ...] = ()


def export_networks(
    networks: Sequence[NetworkToWrite], facts: NetworkFacts, output: Path, onnx: OnnxOptions | None = None
) -> Exported:
    """Writes the networks of one set, checks the files, and moves them to their place with one card.

    Args:
        networks: each with its files.
        facts: facts for the card.
        output: the file that the user named, which the card is named after.
        onnx: options of ONNX files.

    Raises:
        ExportFailed: a file cannot be read back, or does not give the network's scores to 1e-5; then none is left, and
            what lay there before is untouched.
        MissingOnnx: an ONNX file is wanted, but the packages are not installed.
        BadOpset: the installed onnx does not know this version.
        NonFiniteWeights: a weight holds NaN or infinities.
        CannotHold, CannotAverage: a format cannot hold a network with this encoder, or the average of several.
    """
    for network in networks:
        for name in network.files:
            if not formats()[name].holds(network.facts.shape):
                raise CannotHold(name, network.facts.shape)
            if network.averaged_with and not formats()[name].averages:
                raise CannotAverage(name, 1 + len(network.averaged_with))
    if any("onnx" in network.files for network in networks):
        require_onnx()
    written: list[WrittenFile] = []
    stem = _without_suffix(output)
    cards = stem.with_name(f"{stem.name}.card.json"), stem.with_name(f"{stem.name}.card.md")
    paths = tuple(path for network in networks for path in network.files.values())
    others = sorted(files_on_card(cards[0]) - {path.name for path in paths})
    with ExitStack() as stack:
        for network in networks:
            source = Source(
                network.facts, network.weights, network.probes, onnx or OnnxOptions(), network.averaged_with
            )
            for format_name, path in network.files.items():
                temporary = stack.enter_context(replacing(path))
                written.append(_write_and_check(temporary, path, formats()[format_name], source, network.details))
        for path, text in zip(cards, (card_json(facts, written), card_markdown(facts, written)), strict=True):
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")
    return Exported(tuple(written), paths, cards, tuple(others))


def _write_and_check(
    temporary: Path, path: Path, kind: NetworkFormat, source: Source, details: Mapping[str, Any]
) -> WrittenFile:
    scales_jets = kind.name == "onnx" and source.onnx.with_preprocessing
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
        details={**details, **({"opset": source.onnx.opset} if kind.name == "onnx" else {})},
        converted=scales_jets,
    )


def _without_suffix(output: Path) -> Path:
    return output.with_suffix("") if output.suffix in {each.suffix for each in formats().values()} else output

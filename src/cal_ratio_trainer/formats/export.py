"""Networks written in the chosen formats, each file checked, with one card for all: `export_networks`."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.formats.model_card import NetworkFacts, WrittenFile, card_json, card_markdown, files_on_card
from cal_ratio_trainer.formats.onnx_graph import require_onnx
from cal_ratio_trainer.formats.registry import ALL, CannotAverage, CannotHold, formats, formats_named
from cal_ratio_trainer.formats.self_check import NetworkToWrite, check_file


@dataclass(frozen=True)
class Exported:
    """Written files: networks, and the two cards beside them.

    Attributes:
        files: network files.
        paths: path of each of them.
        cards: files of the card as JSON and as a page.
        without_card: names of files beside them that only an earlier card of this name described.
    """

    files: tuple[WrittenFile, ...]
    paths: tuple[Path, ...]
    cards: tuple[Path, Path]
    without_card: tuple[str, ...] = ()


def output_files(output: Path, format_name: str) -> dict[str, Path]:
    """Output file of each format.

    Args:
        output: the file that the user named; its ending, if it is one of a network file, gives way to the format's own.
        format_name: name of a format, or `ALL`.

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
        NonFiniteWeights: a weight contains NaN or infinities.
        CannotHold, CannotAverage: a format cannot hold a network with this encoder, or the average of several.
    """
    for network in networks:
        shape, padding = network.facts.shape, network.facts.preprocessing.padding
        for name in network.files:
            if not formats()[name].holds(shape, padding):
                raise CannotHold(name, shape, padding)
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
            for name, path in network.files.items():
                scales_jets = name == "onnx" and network.onnx_scales_jets
                jets_checked = len(network.known_scores(scales_jets).inputs)
                temporary = stack.enter_context(replacing(path))
                content = formats()[name].write(network)
                temporary.write_bytes(content)
                difference = check_file(temporary, formats()[name].check, content, path, network)
                sha256 = hashlib.sha256(content).hexdigest()
                details = {**network.details, **({"opset": network.opset} if name == "onnx" else {})}
                written.append(
                    WrittenFile(
                        *(path.name, name, len(content), sha256, jets_checked, difference, details, scales_jets)
                    )
                )
        for path, text in zip(cards, (card_json(facts, written), card_markdown(facts, written)), strict=True):
            stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")
    return Exported(tuple(written), paths, cards, tuple(others))


def _without_suffix(output: Path) -> Path:
    return output.with_suffix("") if output.suffix in {each.suffix for each in formats().values()} else output

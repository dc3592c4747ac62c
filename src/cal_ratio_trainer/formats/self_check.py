"""A written network file is read back and tried on jets: it is kept only if it gives the network's scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.graph import Graph, evaluate, graph_of
from cal_ratio_trainer.formats.keras_reading import graph_from_zip
from cal_ratio_trainer.formats.layers import WEIGHT_NAMES
from cal_ratio_trainer.formats.model_card import NetworkFacts
from cal_ratio_trainer.formats.onnx_graph import OLDEST_OPSET
from cal_ratio_trainer.formats.probe_jets import TOLERANCE, KnownScores, PaddedJets
from cal_ratio_trainer.formats.safetensors_file import network_from_safetensors
from cal_ratio_trainer.network.encoders.base import encoder_named

ONNX_BATCHES = (1, 7, 1000)
_FILLED_ALONE = 64
"""Minimum number of jets whose empty slots are left out."""


class ExportFailed(UserError):
    """A written file does not give the network's scores, or cannot be read back; nothing of it is kept."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file.name} was written but failed its check, so nothing was kept: {reason}")


@dataclass(frozen=True)
class Probes:
    """Jets on which files are tried.

    Attributes:
        scaled: jets as `build` scales them, with the network's own scores.
        fillings: [jets], number of the filling of each (see `probe_jets.Filling`); frugally-deep files contain some of
            each.
        converted: jets as `convert` writes them, with the scores that the network gives once they are scaled; None if
            no file takes such jets.
    """

    scaled: KnownScores
    fillings: NDArray[np.integer[Any]]
    converted: KnownScores | None = None


@dataclass(frozen=True)
class NetworkToWrite:
    """A network, or the average of several, whose files are written and checked.

    Attributes:
        facts: shape of the network, its origin, and the preprocessing of its inputs.
        weights: every weight by name.
        probes: jets with the network's own scores.
        files: path by name of the format (see `export.output_files`); existing files are replaced.
        details: entries on the card beside these files.
        averaged_with: weights of further networks of this shape; the scores of a file are the mean over all.
        opset: version of the operators of an ONNX file.
        onnx_scales_jets: an ONNX file includes the preprocessing of its inputs.
    """

    facts: NetworkFacts
    weights: Mapping[str, np.ndarray[Any, Any]]
    probes: Probes
    files: Mapping[str, Path] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    averaged_with: tuple[Mapping[str, np.ndarray[Any, Any]], ...] = ()
    opset: int = OLDEST_OPSET
    onnx_scales_jets: bool = False

    def known_scores(self, scales_jets: bool = False) -> KnownScores:
        """Jets and scores for a file that takes scaled jets, or for one that scales them itself."""
        if scales_jets and self.probes.converted is None:
            raise ValueError("a file that scales jets itself needs converted jets to be tried on")
        return self.probes.converted if scales_jets and self.probes.converted is not None else self.probes.scaled


def check_fdeep(content: bytes, network: NetworkToWrite) -> float:
    """Checks a frugally-deep file: its hash, its own load tests, its scores, and every weight to the last bit.

    Args:
        content: the file, read back.
        network: expected network.

    Returns:
        The largest difference of a score.

    Raises:
        ValueError: it differs; names the place and the difference.
    """
    found = read_fdeep(content)
    if found.hash != found.computed_hash:
        raise ValueError("the hash in it is not that of its weights")
    if found.tests is None:
        raise ValueError("it has no jets for the check on loading")
    _largest_difference(evaluate(found.graph, found.tests.inputs.arrays), found.tests.scores, "its own load tests")
    return _check_graph(found.graph, network)


def check_keras(content: bytes, network: NetworkToWrite) -> float:
    """Checks a `.keras` file: scores and weights; arguments, result and errors as `check_fdeep`."""
    return _check_graph(graph_from_zip(content), network)


def check_onnx(content: bytes, network: NetworkToWrite) -> float:
    """Checks the scores of an ONNX file with onnxruntime, in batches of 1, 7 and 1000 too; else as `check_fdeep`.

    A file that takes any number of slots also gets single jets without their empty slots.
    """
    known, score = network.known_scores(network.onnx_scales_jets), _onnx_scorer(content)
    differences = []
    for batch in ONNX_BATCHES:
        jets = np.arange(batch) % len(known.inputs)
        found = score(known.inputs.take(jets))
        differences.append(_largest_difference(found, known.scores[jets], f"a batch of {batch}"))
    if encoder_named(network.facts.shape.encoder).any_length:
        for jet in range(0, len(known.inputs), max(1, len(known.inputs) // _FILLED_ALONE)):
            found = score(_without_empty_slots(known.inputs, jet))
            differences.append(
                _largest_difference(found, known.scores[jet : jet + 1], f"jet {jet} without empty slots")
            )
    found = score(known.inputs)
    return max(*differences, _largest_difference(found, known.scores, "the jets of the check"))


def _without_empty_slots(jets: PaddedJets, jet: int) -> PaddedJets:
    """One jet with the slots up to its last constituent. The first jet has none, so its slots are empty ones."""
    *branches, own = jets.arrays
    trimmed = []
    for padded in branches:
        filled = np.flatnonzero((padded[jet] != padded[0, -1]).any(axis=1))
        trimmed.append(padded[jet : jet + 1, : filled.max(initial=-1) + 1])
    return PaddedJets((*trimmed, own[jet : jet + 1]))


def check_safetensors(content: bytes, network: NetworkToWrite) -> float:
    """Checks shape and weights of the program's own file to the last bit; arguments and errors as `check_fdeep`."""
    found = network_from_safetensors(content)
    if found.shape != network.facts.shape:
        raise ValueError("it has another shape than the network")
    for name, values in found.weights.items():
        if not np.array_equal(values, network.weights[name]):
            raise ValueError(f"weight {name} is not the network's")
    return 0.0


def check_file(
    file: Path, check: Callable[[bytes, NetworkToWrite], float], written: bytes, named: Path, network: NetworkToWrite
) -> float:
    """Reads a file back and checks it.

    Args:
        file: path of the file for now.
        check: check of its format.
        written: expected content.
        named: final path, for messages.
        network: expected network.

    Returns:
        The largest difference of a score.

    Raises:
        ExportFailed: it contains something else, cannot be read, or gives other scores.
    """
    content = file.read_bytes()
    if content != written:
        raise ExportFailed(named, "the disk gives back other bytes than were written")
    try:
        return check(content, network)
    except Exception as error:
        raise ExportFailed(named, str(error)) from error


def _check_graph(found: Graph, network: NetworkToWrite) -> float:
    known = network.known_scores()
    difference = _largest_difference(evaluate(found, known.inputs.arrays), known.scores, "the jets of the check")
    # What no jet of the check sees: the last bits of a weight, a setting that happens not to matter for them.
    wanted = graph_of(network.facts.shape, network.weights)
    if found.inputs != wanted.inputs or found.output != wanted.output or found.layers.keys() != wanted.layers.keys():
        raise ValueError("it has other layers, inputs or outputs than the network")
    for name, layer in wanted.layers.items():
        other = found.layers[name]
        if (other.kind, other.sources) != (layer.kind, layer.sources):
            raise ValueError(f"layer {name!r} is a {other.kind} that reads {other.sources}")
        for setting, value in layer.settings.items():
            if other.settings.get(setting) != value:
                raise ValueError(f"layer {name!r}: {setting} is {other.settings.get(setting)!r}, expected {value!r}")
    for name, stored in wanted.weights.items():
        parts = zip(WEIGHT_NAMES[stored.kind], found.weights[name].arrays, stored.arrays, strict=True)
        for part, values, expected in parts:
            if not np.array_equal(values, expected):
                raise ValueError(f"layer {name!r}: its {part} is not the network's")
    return difference


def _largest_difference(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], where: str) -> float:
    if found.shape != wanted.shape:
        raise ValueError(f"{where} give scores of shape {found.shape}, expected {wanted.shape}")
    difference = float(np.abs(found - wanted).max())
    # Written this way round, a NaN fails too.
    if not difference <= TOLERANCE:
        raise ValueError(f"scores of {where} are off by up to {difference:.2g}, allowed are {TOLERANCE:g}")
    return difference


def _onnx_scorer(content: bytes) -> Callable[[PaddedJets], NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def score(jets: PaddedJets) -> NDArray[np.float32]:
        (scores,) = session.run(None, dict(zip(names, jets.arrays, strict=True)))
        result: NDArray[np.float32] = scores
        return result

    return score

"""A written network file read back and tried on jets: it is handed over only where it gives the network's scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.graph import Graph, evaluate, graph_of
from cal_ratio_trainer.formats.keras_reading import graph_from_zip
from cal_ratio_trainer.formats.probe_jets import PaddedJets
from cal_ratio_trainer.formats.safetensors_file import network_from_safetensors
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

TOLERANCE = 1e-5
"""Largest difference of a score of a file from that of the network."""

ONNX_BATCHES = (1, 7, 1000)
_FILLED_ALONE = 64
"""Number of jets whose empty slots are left out, at least."""


class ExportFailed(UserError):
    """A written file does not give the network's scores, or cannot be read back; nothing of it is kept."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file.name} was written but failed its check, so nothing was kept: {reason}")


@dataclass(frozen=True)
class KnownScores:
    """Jets with the scores that the network itself gives for them.

    Attributes:
        inputs: the jets, in the form that the file takes.
        scores: [jets, 3].
    """

    inputs: PaddedJets
    scores: NDArray[np.float32]

    def followed_by(self, others: "KnownScores") -> "KnownScores":
        """These jets, then others of the same network."""
        return KnownScores(self.inputs.followed_by(others.inputs), np.concatenate([self.scores, others.scores]))


@dataclass(frozen=True)
class Expected:
    """Expected content of a file: the network with its weights, and its scores."""

    shape: NetworkShape
    weights: Mapping[str, np.ndarray[Any, Any]]
    known: KnownScores

    @property
    def graph(self) -> Graph:
        """The network as a graph of layers, where Keras can hold it."""
        return graph_of(self.shape, self.weights)


def check_fdeep(content: bytes, expected: Expected) -> float:
    """Checks a frugally-deep file: its hash, its own load tests, its scores, and every weight to the last bit.

    Args:
        content: the file, read back.
        expected: expected content and scores.

    Returns:
        The largest difference of a score.

    Raises:
        ValueError: it differs; says where and by how much.
    """
    found = read_fdeep(content)
    if found.hash != found.computed_hash:
        raise ValueError("the hash in it is not that of its weights")
    if not found.tests:
        raise ValueError("it has no jets for the check on loading")
    inputs, scores = found.test_arrays()
    _largest_difference(evaluate(found.graph, inputs), scores, "its own load tests")
    return _check_graph(found.graph, expected)


def check_keras(content: bytes, expected: Expected) -> float:
    """Checks a `.keras` file: scores and weights; arguments, result and errors as `check_fdeep`."""
    return _check_graph(graph_from_zip(content), expected)


def check_onnx(content: bytes, expected: Expected) -> float:
    """Checks the scores of an ONNX file with onnxruntime, in batches of 1, 7 and 1000 too; else as `check_fdeep`.

    Where it takes any number of slots, it also gets single jets without their empty ones.
    """
    known, score = expected.known, _onnx_scorer(content)
    differences = []
    for batch in ONNX_BATCHES:
        jets = np.arange(batch) % len(known.inputs)
        found = score(known.inputs.take(jets))
        differences.append(_largest_difference(found, known.scores[jets], f"a batch of {batch}"))
    if encoder_named(expected.shape.encoder).any_length:
        for jet in range(0, len(known.inputs), max(1, len(known.inputs) // _FILLED_ALONE)):
            found = score(_without_empty_slots(known.inputs, jet))
            differences.append(
                _largest_difference(found, known.scores[jet : jet + 1], f"jet {jet} without empty slots")
            )
    found = score(known.inputs)
    return max(*differences, _largest_difference(found, known.scores, "the jets of the check"))


def _without_empty_slots(jets: PaddedJets, jet: int) -> PaddedJets:
    """One jet with the slots up to its last constituent; the first jet, which has none, tells what is an empty slot."""
    *branches, own = jets.arrays
    trimmed = []
    for padded in branches:
        filled = np.flatnonzero((padded[jet] != padded[0, -1]).any(axis=1))
        trimmed.append(padded[jet : jet + 1, : filled.max(initial=-1) + 1])
    return PaddedJets((*trimmed, own[jet : jet + 1]))


def check_safetensors(content: bytes, expected: Expected) -> float:
    """Checks shape and weights of the program's own file to the last bit; arguments and errors as `check_fdeep`."""
    found = network_from_safetensors(content)
    if found.shape != expected.shape:
        raise ValueError("it has another shape than the network")
    for name, values in found.weights.items():
        if not np.array_equal(values, expected.weights[name]):
            raise ValueError(f"weight {name} is not the network's")
    return 0.0


def check_file(
    file: Path, check: Callable[[bytes, Expected], float], written: bytes, named: Path, expected: Expected
) -> float:
    """Reads a file back and checks it.

    Args:
        file: current path.
        check: of its format.
        written: expected content.
        named: final name, for messages.
        expected: expected content and scores.

    Returns:
        The largest difference of a score.

    Raises:
        ExportFailed: it holds something else, cannot be read, or gives other scores.
    """
    content = file.read_bytes()
    if content != written:
        raise ExportFailed(named, "the disk gives back other bytes than were written")
    try:
        return check(content, expected)
    except Exception as error:
        raise ExportFailed(named, str(error)) from error


def _check_graph(found: Graph, expected: Expected) -> float:
    known = expected.known
    difference = _largest_difference(evaluate(found, known.inputs.arrays), known.scores, "the jets of the check")
    # What no jet of the check sees: the last bits of a weight, a setting that happens not to matter for them.
    _check_same_network(found, expected.graph)
    return difference


def _check_same_network(found: Graph, wanted: Graph) -> None:
    if found.inputs != wanted.inputs or found.output != wanted.output or found.layers.keys() != wanted.layers.keys():
        raise ValueError("it has other layers, inputs or outputs than the network")
    for name, layer in wanted.layers.items():
        other = found.layers[name]
        if (other.kind, other.sources) != (layer.kind, layer.sources):
            raise ValueError(f"layer {name!r} is a {other.kind} that reads {other.sources}")
        for setting, value in layer.config.items():
            if other.config.get(setting) != value:
                raise ValueError(f"layer {name!r}: {setting} is {other.config.get(setting)!r}, expected {value!r}")
        for part, values in layer.weights.items():
            if not np.array_equal(other.weights[part], values):
                raise ValueError(f"layer {name!r}: its {part} is not the network's")


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

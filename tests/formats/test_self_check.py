"""Check of written files: correct ones pass, and all kinds of errors are detected."""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cal_ratio_trainer.formats.fdeep_file import Flavour, decoded_floats, encoded_floats, fdeep_bytes
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.graph import evaluate
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.probe_jets import KnownScores
from cal_ratio_trainer.formats.self_check import (
    ExportFailed,
    NetworkToWrite,
    check_fdeep,
    check_file,
    check_keras,
    check_onnx,
    check_safetensors,
)
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.damage import all_damages, entry
from tests.formats.expected import expected_of
from tests.formats.numpy_network import random_weights
from tests.formats.shapes import ANY_LENGTH
from tests.formats.test_keras_file import with_config_changed, with_weights_changed

WEIGHTS = random_weights(DEFAULT_SHAPE, seed=1)
DAMAGES = [what for what, _ in all_damages(json.loads(fdeep_bytes(DEFAULT_SHAPE, WEIGHTS, Flavour.KERAS_2, None)))]


@pytest.fixture(scope="module")
def expected() -> NetworkToWrite:
    """Expected content and scores of files of the network."""
    return expected_of(DEFAULT_SHAPE, WEIGHTS)


@pytest.fixture(scope="module")
def content(expected: NetworkToWrite) -> dict[str, Any]:
    """A good frugally-deep file as JSON."""
    known = expected.known_scores()
    jets = np.arange(0, len(known.inputs), 12)
    tests = KnownScores(known.inputs.take(jets), known.scores[jets])
    said: dict[str, Any] = json.loads(fdeep_bytes(DEFAULT_SHAPE, WEIGHTS, Flavour.KERAS_2, tests))
    return said


def in_bytes(content: dict[str, Any]) -> bytes:
    """Bytes of the file."""
    return json.dumps(content, separators=(",", ":")).encode()


def test_good_files_pass_and_the_largest_difference_is_told(expected: NetworkToWrite, content: dict[str, Any]) -> None:
    assert 0 < check_fdeep(in_bytes(content), expected) < 1e-6
    assert 0 < check_keras(keras_model_bytes(DEFAULT_SHAPE, WEIGHTS), expected) < 1e-6
    assert 0 < check_onnx(onnx_bytes(DEFAULT_SHAPE, WEIGHTS, {}), expected) < 1e-5


def test_files_of_any_length_must_know_the_row_of_an_empty_slot() -> None:
    shape = ANY_LENGTH["deep_sets"]
    weights = random_weights(shape, seed=1)
    expected = expected_of(shape, weights)
    assert 0 < check_onnx(onnx_bytes(shape, weights, {}), expected) < 1e-5
    with pytest.raises(ValueError, match="are off by up to"):
        check_onnx(onnx_bytes(shape, weights, {}, padding={"tracks": [0.1] * 10}), expected)


@pytest.mark.parametrize("what", DAMAGES)
def test_each_damage_of_a_frugally_deep_file_is_caught_by_the_scores_alone(
    what: str, expected: NetworkToWrite, content: dict[str, Any]
) -> None:
    damaged = dict(all_damages(content))[what](copy.deepcopy(content))
    damaged["hash"] = _hash_of(damaged)
    with pytest.raises(ValueError, match="are off by up to"):
        check_fdeep(in_bytes(damaged), expected)
    damaged["tests"] = [_right_test(damaged)]
    with pytest.raises(ValueError, match="scores of the jets of the check are off by up to"):
        check_fdeep(in_bytes(damaged), expected)


def _hash_of(content: dict[str, Any]) -> str:
    return read_fdeep(in_bytes(content)).computed_hash


def _right_test(content: dict[str, Any]) -> dict[str, Any]:
    """First load test with the scores of the damaged network, so that it does not detect the damage."""
    test = content["tests"][0]
    found = read_fdeep(in_bytes({**content, "tests": [test]}))
    assert found.tests is not None
    scores = encoded_floats(evaluate(found.graph, found.tests.inputs.arrays)[0])
    return {**test, "outputs": [{"shape": [3], "values": scores}]}


def test_any_bit_of_any_weight_is_seen(expected: NetworkToWrite, content: dict[str, Any]) -> None:
    draw = random.Random(1)
    for layer, parameters in content["trainable_params"].items():
        for name in (draw.choice(list(parameters)),):
            damaged = copy.deepcopy(content)
            values = decoded_floats(parameters[name]).copy()
            values.view(np.uint32)[draw.randrange(len(values))] ^= 1  # the lowest bit changes no score
            damaged["trainable_params"][layer][name] = encoded_floats(values)
            with pytest.raises(ValueError, match="the hash in it is not that of its weights"):
                check_fdeep(in_bytes(damaged), expected)
            damaged["hash"] = _hash_of(damaged)
            with pytest.raises(ValueError, match=f"layer '{layer}': its .* is not the network's"):
                check_fdeep(in_bytes(damaged), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(tests=[]), "it has no jets for the check on loading"),
        (lambda c: c.update(hash=""), "the hash in it is not that"),
        (
            lambda c: entry(c, "lstm")["config"].update(go_backwards=True),
            "'lstm': go_backwards is True, expected False",
        ),
        (lambda c: entry(c, "dropout_3")["config"].update(rate=0.9), "'dropout_3': rate is 0.9, expected 0.2"),
        (
            lambda c: c["tests"][3]["outputs"][0].update(values=encoded_floats(np.array([0.3, 0.3, 0.4]))),
            "its own load tests are off by",
        ),
    ],
)
def test_what_the_jets_do_not_show_is_seen_too(
    change: Callable[[Any], None], said: str, expected: NetworkToWrite, content: dict[str, Any]
) -> None:
    damaged = copy.deepcopy(content)
    change(damaged)
    with pytest.raises(ValueError, match=said):
        check_fdeep(in_bytes(damaged), expected)


def swap_gates(file: h5py.File) -> None:
    """Exchanges forget and cell gate of a recurrence."""
    for i in range(3):
        values = file[f"layers/lstm_1/cell/vars/{i}"]
        gates = values[()].reshape(-1, 4, 10)
        values[...] = gates[:, [0, 2, 1, 3]].reshape(values.shape)


def change_lowest_bit(file: h5py.File) -> None:
    """Changes the lowest bit of one weight."""
    values = file["layers/dense_2/vars/0"]
    changed = values[()]
    changed.view(np.uint32)[0, 0] ^= 1
    values[...] = changed


def test_a_wrong_keras_file_is_caught(expected: NetworkToWrite, tmp_path: Path) -> None:
    path = tmp_path / "network.keras"
    path.write_bytes(keras_model_bytes(DEFAULT_SHAPE, WEIGHTS))
    with pytest.raises(ValueError, match="are off by up to"):
        check_keras(with_weights_changed(path, swap_gates), expected)
    with pytest.raises(ValueError, match="layer 'main_output': its kernel is not the network's"):
        check_keras(with_weights_changed(path, change_lowest_bit), expected)
    backwards = with_config_changed(path, lambda c: c["lstm"]["config"].update(go_backwards=True))
    with pytest.raises(ValueError, match="go_backwards is True, expected False"):
        check_keras(backwards, expected)


def test_an_onnx_file_with_keras_order_of_gates_is_caught(
    expected: NetworkToWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.formats.onnx_file._KERAS_GATE_OF", (0, 1, 2, 3))
    with pytest.raises(ValueError, match="scores of a batch of 1 are off by up to"):
        check_onnx(onnx_bytes(DEFAULT_SHAPE, WEIGHTS, {}), expected)


def test_an_error_names_the_file_and_a_file_that_reads_back_otherwise_is_refused(
    expected: NetworkToWrite, content: dict[str, Any], tmp_path: Path
) -> None:
    good, file, named = in_bytes(content), tmp_path / ".model.part.json", Path("model.json")
    file.write_bytes(good)
    assert check_file(file, check_fdeep, good, named, expected) < 1e-6
    file.write_bytes(good[:-1] + b" ")
    with pytest.raises(ExportFailed, match=r"^model\.json was written .* the disk gives back other bytes"):
        check_file(file, check_fdeep, good, named, expected)
    file.write_bytes(b"no network")
    for check in (check_fdeep, check_keras, check_onnx, check_safetensors):
        with pytest.raises(ExportFailed, match=r"^model\.json was written but failed its check, so nothing was kept: "):
            check_file(file, check, b"no network", named, expected)


def test_scores_that_are_no_numbers_do_not_pass(expected: NetworkToWrite) -> None:
    known = expected.known_scores()
    scores = KnownScores(known.inputs, np.full_like(known.scores, np.nan))
    unknown = replace(expected, probes=replace(expected.probes, scaled=scores))
    with pytest.raises(ValueError, match="are off by up to nan"):
        check_keras(keras_model_bytes(DEFAULT_SHAPE, WEIGHTS), unknown)

"""Jets in a frugally-deep file for the library's check on loading."""

import json

import numpy as np
import pytest

from cal_ratio_trainer.formats.fdeep_file import Flavour, chosen_load_tests, fdeep_bytes
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.graph import evaluate, graph_of
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets
from tests.formats.damage import all_damages
from tests.formats.expected import probe_inputs
from tests.formats.numpy_network import random_weights
from tests.formats.shapes import SHAPES

LIBRARY_TOLERANCE = 1e-4
"""Largest difference of a score that the library accepts when it loads a file."""


def load_tests(name: str) -> KnownScores:
    """Jets in a file of a network with random weights."""
    inputs, fillings = probe_inputs(SHAPES[name])
    graph = graph_of(SHAPES[name], random_weights(SHAPES[name], seed=1))
    return chosen_load_tests(inputs, fillings, evaluate(graph, inputs.arrays))


@pytest.mark.parametrize("name", SHAPES)
def test_twelve_different_jets_are_chosen_and_none_is_saturated(name: str) -> None:
    tests = load_tests(name)
    assert len({b"".join(array[jet].tobytes() for array in tests.inputs.arrays) for jet in range(12)}) == 12
    assert len(tests.scores) == 12
    assert tests.scores.max() <= 0.95
    np.testing.assert_allclose(tests.scores.sum(axis=1), 1, rtol=0, atol=3e-6)


def test_for_each_filling_and_output_the_jet_nearest_to_the_wanted_score_is_taken_once() -> None:
    first = np.array([0.9, 0.61, 0.59, 0.1, 0.7, 0.2])
    scores = np.stack([first, 1 - first, np.zeros(6)], axis=1)
    inputs = PaddedJets((np.arange(6, dtype=np.float32)[:, None],))
    tests = chosen_load_tests(inputs, np.array([0, 0, 0, 0, 1, 1]), scores)
    assert tests.inputs.arrays[0][:, 0].tolist() == [1, 2, 0, 4, 5, 3]


def test_in_place_of_saturated_jets_others_are_taken_and_they_themselves_only_where_none_is_left() -> None:
    first = np.array([0.99, 0.98, 0.7, 0.55, 0.4])
    scores = np.stack([first, 1 - first], axis=1)
    inputs = PaddedJets((np.arange(5, dtype=np.float32)[:, None],))
    tests = chosen_load_tests(inputs, np.array([0, 0, 1, 1, 1]), scores)
    assert tests.inputs.arrays[0][:, 0].tolist() == [3, 4, 2, 1]


def test_scores_are_rounded_so_that_the_bytes_do_not_depend_on_the_machine() -> None:
    for name in ("default", "two_lstm_layers"):
        found = load_tests(name).scores
        np.testing.assert_array_equal(found, np.round(found.astype(np.float64), 6).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "flavour"),
    [
        ("default", Flavour.KERAS_2),
        ("default", Flavour.KERAS_3),
        ("other_widths", Flavour.KERAS_2),
        ("two_lstm_layers", Flavour.KERAS_2),
    ],
)
def test_everything_that_can_be_wrong_in_a_file_moves_a_score_by_more_than_the_library_allows(
    name: str, flavour: Flavour
) -> None:
    weights = random_weights(SHAPES[name], seed=1)
    content = json.loads(fdeep_bytes(SHAPES[name], weights, flavour, load_tests(name)))
    moved = {}
    for what, damaged in all_damages(content):
        found = read_fdeep(json.dumps(damaged(content)).encode())
        assert found.tests is not None
        moved[what] = np.abs(evaluate(found.graph, found.tests.inputs.arrays) - found.tests.scores).max()
    assert len(moved) > 10
    assert {what: by for what, by in moved.items() if by < 10 * LIBRARY_TOLERANCE} == {}

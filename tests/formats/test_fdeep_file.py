"""frugally-deep files: their content, read by code that follows the library only."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.formats.fdeep_file import Flavour, fdeep_bytes
from cal_ratio_trainer.formats.fdeep_reading import BadFdeepFile, network_from_fdeep, read_fdeep
from cal_ratio_trainer.formats.graph import evaluate
from cal_ratio_trainer.formats.layers import NonFiniteWeights
from cal_ratio_trainer.formats.probe_jets import KnownScores, PaddedJets
from cal_ratio_trainer.formats.stored_network import BadNetworkFile
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats import damage
from tests.formats.numpy_network import random_inputs, random_weights, scores
from tests.formats.shapes import SHAPES

FILLED = (0, 1, 5, 30)


def load_tests() -> KnownScores:
    """Two jets with made-up scores."""
    constituents, jets = random_inputs(DEFAULT_SHAPE, (1, 30), seed=3)
    return KnownScores(PaddedJets((*constituents, jets)), np.array([[0.2, 0.3, 0.5]] * 2, dtype=np.float32))


def written(flavour: Flavour = Flavour.KERAS_2) -> bytes:
    """A file of the default network with random weights."""
    return fdeep_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), flavour, load_tests())


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("name", SHAPES)
def test_a_file_read_as_the_library_does_gives_the_network_s_scores(name: str, flavour: Flavour) -> None:
    shape, weights = SHAPES[name], random_weights(SHAPES[name], seed=1)
    found = read_fdeep(fdeep_bytes(shape, weights, flavour, None))
    constituents, jets = random_inputs(shape, FILLED, seed=2)
    expected = scores(shape, weights, constituents, jets)
    np.testing.assert_allclose(evaluate(found.graph, [*constituents, jets]), expected, rtol=0, atol=1e-12)
    assert found.flavour is flavour
    assert found.hash == found.computed_hash


@pytest.mark.parametrize("flavour", Flavour)
def test_the_shapes_of_inputs_and_output_stand_in_the_file(flavour: Flavour) -> None:
    content = json.loads(written(flavour))
    assert content["input_shapes"] == [[30, 12], [20, 10], [30, 6], [3]]
    assert content["output_shapes"] == [[3]]
    assert content["image_data_format"] == "channels_last"


def test_jets_of_the_load_check_come_back_as_they_were() -> None:
    found, expected = read_fdeep(written()).tests, load_tests()
    assert found is not None
    np.testing.assert_array_equal(found.scores, expected.scores)
    for array, wanted in zip(found.inputs.arrays, expected.inputs.arrays, strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("flavour", Flavour)
def test_the_same_weights_give_the_same_bytes_and_other_weights_do_not(flavour: Flavour) -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    first = fdeep_bytes(DEFAULT_SHAPE, weights, flavour, load_tests())
    time.sleep(1.1)  # it may not contain a time
    backwards = dict(reversed(weights.items()))
    assert fdeep_bytes(DEFAULT_SHAPE, backwards, flavour, load_tests()) == first
    weights["output.bias"][0] += 1
    assert fdeep_bytes(DEFAULT_SHAPE, weights, flavour, load_tests()) != first


def test_weights_of_a_diverged_training_are_refused() -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    weights["output.bias"][0] = np.inf
    with pytest.raises(NonFiniteWeights, match=r"output\.bias holds 1 values"):
        fdeep_bytes(DEFAULT_SHAPE, weights, Flavour.KERAS_2, None)


@pytest.mark.parametrize("flavour", Flavour)
def test_a_file_that_does_not_give_the_recurrent_activation_is_refused(flavour: Flavour) -> None:
    content = json.loads(written(flavour))
    del damage.entry(content, "lstm_1")["config"]["recurrent_activation"]
    with pytest.raises(BadNetworkFile, match="layer 'lstm_1': recurrent_activation is None, expected 'sigmoid'"):
        network_from_fdeep(json.dumps(content).encode())


def drop(*path: str) -> Callable[[Any], None]:
    """Change that removes an entry."""

    def change(content: Any) -> None:
        *outer, last = path
        for name in outer:
            content = content[name]
        del content[last]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("architecture"), "is no file of frugally-deep: it has no architecture"),
        (drop("trainable_params", "lstm"), "the weights of layer 'lstm' are missing"),
        (
            drop("trainable_params", "lstm", "bias"),
            "layer 'lstm' has the weights ['recurrent_weights', 'weights'], ex",
        ),
        (lambda c: c["trainable_params"]["lstm"].update(bias=["AA"]), "layer 'lstm': no base64"),
        (
            lambda c: c["trainable_params"]["dense_1"].update(weights=["AAAAAA=="]),
            "layer 'dense_1': 1 weights do not fit",
        ),
        (lambda c: damage.entry(c, "conv1d")["config"].update(kernel_size=[2]), "layer 'conv1d': kernel_size is [2]"),
        (lambda c: damage.entry(c, "conv1d").update(inbound_nodes=[1]), "layer 'conv1d' has a connection"),
        (lambda c: c["architecture"]["config"].update(output_layers=[]), "gives out the layers [], expected one"),
        (
            lambda c: c["architecture"]["config"].update(layers=[]),
            "names the inputs ['constit_input_cr', 'track_input_cr', 'MSeg_input_cr', 'jet_input_cr'], but",
        ),
    ],
)
def test_a_damaged_file_is_refused_by_the_name_of_its_layer(change: Callable[[Any], None], said: str) -> None:
    content = json.loads(written())
    change(content)
    with pytest.raises(BadNetworkFile, match=re.escape(said)):
        network_from_fdeep(json.dumps(content).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"[1]", b"null", b"\xff\xfe\x00"])
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadFdeepFile):
        read_fdeep(content)

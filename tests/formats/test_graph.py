"""Evaluation of plain graphs, compared with the slot-by-slot network of the tests."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.formats.graph import BadGraph, Graph, evaluate, graph_of
from cal_ratio_trainer.formats.hdf5_reader import StoredLayer
from cal_ratio_trainer.formats.layers import Layer
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.numpy_network import random_inputs, random_weights, scores
from tests.formats.shapes import SHAPES

FILLED = (0, 1, 5, 30)


@pytest.mark.parametrize("name", SHAPES)
def test_the_graph_of_a_network_gives_its_scores(name: str) -> None:
    shape, weights = SHAPES[name], random_weights(SHAPES[name], seed=1)
    constituents, jets = random_inputs(shape, FILLED, seed=2)
    found = evaluate(graph_of(shape, weights), [*constituents, jets])
    np.testing.assert_allclose(found, scores(shape, weights, constituents, jets), rtol=0, atol=1e-12)


def default_graph() -> Graph:
    """The graph of the default network."""
    return graph_of(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))


def with_layer(name: str, **changes: Any) -> Graph:
    """The default network's graph with one layer changed."""
    graph = default_graph()
    return replace(graph, layers={**graph.layers, name: replace(graph.layers[name], **changes)})


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (with_layer("lstm", kind="GRU"), "layer 'lstm': layers of class 'GRU' are not known"),
        (with_layer("lstm", sources=("nowhere",)), "there is no layer 'nowhere'"),
        (with_layer("dense_1", sources=("dropout_12",)), "reads its own output"),
        (with_layer("conv1d", sources=("track_input_cr",)), "layer 'conv1d': "),
        (
            with_layer("dense_1", settings={"activation": "gelu", "use_bias": True}),
            "the activation 'gelu' is not known",
        ),
        (with_layer("dense_1", settings={"activation": "relu"}), "use_bias is None, expected True"),
        (with_layer("lstm", settings={"use_bias": True}), "layer 'lstm': 'activation'"),
    ],
)
def test_what_is_not_understood_is_refused_by_the_name_of_its_layer(graph: Graph, said: str) -> None:
    constituents, jets = random_inputs(DEFAULT_SHAPE, FILLED, seed=2)
    with pytest.raises(BadGraph, match=said):
        evaluate(graph, [*constituents, jets])


def test_a_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(BadGraph, match="takes 4 inputs, but 1 were given"):
        evaluate(default_graph(), [np.zeros((1, 30, 12))])


def test_activations_are_those_of_the_libraries() -> None:
    values = np.array([[-10.0, -2.5, -1.0, 0.0, 1.0, 2.5, 10.0]])
    expected = {
        "relu": np.maximum(values, 0),
        "tanh": np.tanh(values),
        "sigmoid": 1 / (1 + np.exp(-values)),
        "hard_sigmoid": np.array([[0, 0, 0.3, 0.5, 0.7, 1, 1]]),
    }
    for name, wanted in expected.items():
        stored = StoredLayer("Dense", "dense", "", (np.eye(7, dtype=np.float32), np.zeros(7, dtype=np.float32)))
        layer = Layer("Dense", "dense", ("input",), settings={"activation": name, "use_bias": True})
        layers = {"input": Layer("InputLayer", "input", ()), "dense": layer}
        graph = Graph(layers, ("input",), "dense", {"dense": stored})
        np.testing.assert_allclose(evaluate(graph, [values]), wanted, rtol=0, atol=1e-12)

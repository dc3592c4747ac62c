"""ONNX files that scale jets themselves, compared with `build`."""

from collections.abc import Callable

import numpy as np
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.formats.layers import input_name, input_names
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.onnx_graph import OnnxGraph, Preprocessing, add_preprocessing
from cal_ratio_trainer.formats.probe_jets import drawn_jets, padded_inputs, probes_of
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from tests.formats.numpy_network import random_weights, scores
from tests.formats.onnx_scores import run, session_of
from tests.formats.shapes import ANY_LENGTH, SHAPES

USUAL = Scaling(min_jet_pt=0, max_jet_pt=500)


def converted_jets() -> Jets:
    """Jets with all numbers of filled slots, as `convert` writes them."""
    jets, _ = probes_of(drawn_jets(40), 40)
    return jets


def preprocessed(jets: Jets, preprocessing: Preprocessing, shape: NetworkShape = DEFAULT_SHAPE) -> list[np.ndarray]:
    """Output of the preprocessing nodes for each input of the network."""
    inputs = padded_inputs(jets, shape).arrays
    found = []
    for name in input_names(shape):
        graph = OnnxGraph()
        tensor = add_preprocessing(graph, shape, preprocessing)[name]
        branch = next((branch for branch in shape.branches if input_name(branch) == name), None)
        size = (branch.slots, branch.inputs) if branch else (shape.jet_inputs,)
        found.append(run(graph.model_bytes(tensor, size, 11, {}), inputs))
    return found


def built(jets: Jets, scaling: Scaling) -> tuple[np.ndarray, ...]:
    """The same jets as `build` and the loading for training prepare them."""
    cleaned, _ = clean_for_training(scale(jets, scaling).jets)
    return padded_inputs(cleaned, DEFAULT_SHAPE).arrays


@pytest.mark.parametrize("scaling", [USUAL, Scaling(min_jet_pt=40, max_jet_pt=300)])
def test_the_nodes_make_of_jets_what_build_does(scaling: Scaling) -> None:
    jets = converted_jets()
    for found, expected in zip(preprocessed(jets, Preprocessing(scaling)), built(jets, scaling), strict=True):
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0)


def test_clusters_without_energy_and_jets_without_constituents_are_among_those_jets() -> None:
    jets = converted_jets()
    layers = jets.constituents["clusters"].values[:, 3:11]
    assert (layers == 0).all(axis=1).any()
    for ragged in jets.constituents.values():
        assert {0, 1} <= set(ragged.lengths.tolist())


def with_cluster_values(jets: Jets, change: Callable[[np.ndarray], None]) -> Jets:
    """The jets after a change to their clusters [clusters, features]."""
    values = jets.constituents["clusters"].values.copy()
    change(values)
    lists = {**jets.constituents, "clusters": jets.constituents["clusters"].with_values(values)}
    return Jets(jets.scalars, lists)


def put(column: int, value: float) -> Callable[[np.ndarray], None]:
    """Change that writes a value to every fifth cluster."""

    def change(values: np.ndarray) -> None:
        values[::5, column] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 3, 11])
def test_numbers_that_are_none_become_zero_as_after_build(column: int, value: float) -> None:
    jets = with_cluster_values(converted_jets(), put(column, value))
    for found, expected in zip(preprocessed(jets, Preprocessing(USUAL)), built(jets, USUAL), strict=True):
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0)


def test_energies_that_sum_to_zero_give_no_fractions() -> None:
    def change(values: np.ndarray) -> None:
        values[:, 3:11] = 0
        values[:, 3], values[:, 4] = 500, -500

    jets = with_cluster_values(converted_jets(), change)
    assert not preprocessed(jets, Preprocessing(USUAL))[0][:, :, 3:11].any()


def test_segments_without_a_time_get_the_one_that_the_network_was_trained_with() -> None:
    jets = converted_jets()
    before = preprocessed(jets, Preprocessing(USUAL))[2]
    after = preprocessed(jets, Preprocessing(USUAL, missing_t0=-3))[2]
    missing = before[:, :, 5] == 99999
    assert missing.any()
    assert (after[:, :, 5][missing] == -3).all()
    before[:, :, 5][missing] = -3
    np.testing.assert_array_equal(after, before)


def test_empty_slots_hold_the_padding_row_that_the_network_was_trained_with() -> None:
    jets = converted_jets()
    row = tuple(float(np.float32(0.01 * i - 0.05)) for i in range(12))
    found = preprocessed(jets, Preprocessing(USUAL, padding={"clusters": row}))
    empty = np.arange(30) >= jets.constituents["clusters"].lengths[:, None]
    np.testing.assert_array_equal(found[0][empty], np.broadcast_to(np.array(row, dtype=np.float32), (empty.sum(), 12)))
    assert not found[1][np.arange(20) >= jets.constituents["tracks"].lengths[:, None]].any()


@pytest.mark.parametrize("name", SHAPES)
def test_whole_networks_of_every_shape_give_the_scores_of_built_jets(name: str) -> None:
    shape, weights = SHAPES[name], random_weights(SHAPES[name], seed=1)
    jets = converted_jets()
    masses = np.random.default_rng(1).uniform(0.05, 1, (len(jets), shape.masses)).astype(np.float32)
    *constituents, own = padded_inputs(scale(jets, USUAL).jets, shape, masses).arrays
    expected = scores(shape, weights, constituents, own)
    *raw, raw_own = padded_inputs(jets, shape).arrays
    raw_own = np.concatenate([raw_own, masses * np.float32(1000)], axis=1)
    content = onnx_bytes(shape, weights, {}, preprocessing=Preprocessing(USUAL))
    np.testing.assert_allclose(run(content, [*raw, raw_own]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ANY_LENGTH)
def test_encoders_of_any_length_take_converted_jets_with_or_without_empty_slots(name: str) -> None:
    shape, weights = ANY_LENGTH[name], random_weights(ANY_LENGTH[name], seed=1)
    jets = converted_jets()
    masses = np.random.default_rng(1).uniform(0.05, 1, (len(jets), shape.masses)).astype(np.float32)
    *constituents, own = padded_inputs(scale(jets, USUAL).jets, shape, masses).arrays
    expected = scores(shape, weights, constituents, own)
    *raw, raw_own = padded_inputs(jets, shape).arrays
    raw_own = np.concatenate([raw_own, masses * np.float32(1000)], axis=1)
    padding = {branch.name: tuple(np.linspace(-1, 2, branch.inputs).tolist()) for branch in shape.branches}
    session = session_of(onnx_bytes(shape, weights, {}, preprocessing=Preprocessing(USUAL, padding=padding)))
    np.testing.assert_allclose(session([*raw, raw_own]), expected, rtol=0, atol=1e-5)
    lengths = [jets.constituents[branch.name].lengths for branch in shape.branches]
    for jet in range(0, len(jets), 10):
        alone = [array[jet : jet + 1, : each[jet]] for array, each in zip(raw, lengths, strict=True)]
        found = session([*alone, raw_own[jet : jet + 1]])
        np.testing.assert_allclose(found, expected[jet : jet + 1], rtol=0, atol=1e-5)


def test_scaled_and_converted_inputs_have_different_names_so_that_one_is_never_taken_for_the_other() -> None:
    graph = OnnxGraph()
    tensors = add_preprocessing(graph, DEFAULT_SHAPE, Preprocessing(USUAL))
    assert tensors.keys() == set(input_names(DEFAULT_SHAPE))
    content = onnx_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, 1), {}, preprocessing=Preprocessing(USUAL))
    assert not any(name.encode() in content for name in input_names(DEFAULT_SHAPE))

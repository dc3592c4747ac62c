"""Networks that are trained on standardised constituents and kept for constituents as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.network.standardisation import Standardisation
from tests.factories.jets import synthetic_jets
from tests.network.sum_pooling import SumPooling

CPU = torch.device("cpu")
EVERY = np.arange(50)
SHAPES = [
    DEFAULT_SHAPE,
    replace(DEFAULT_SHAPE, lstm_layers=2, masses=2),
    replace(DEFAULT_SHAPE, encoder="deep_sets"),
    replace(DEFAULT_SHAPE, encoder="transformer", masses=1),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.encoder}, {shape.masses} masses")


def jets() -> Jets:
    return synthetic_jets(np.random.default_rng(1).integers(0, 3, len(EVERY)), 1)


def tensors(shape: NetworkShape) -> JetTensors:
    masses = np.random.default_rng(2).uniform(0.1, 1, (len(EVERY), shape.masses)).astype(np.float32)
    return JetTensors.from_jets([jets()], CPU, masses if shape.masses else None)


def standardised(shape: NetworkShape) -> Classifier:
    classifier = Classifier(shape, seed=3)
    classifier.standardise(tensors(shape), EVERY)
    return classifier


@each_shape
def test_a_network_with_its_weights_gives_the_same_scores_from_constituents_as_they_are(shape: NetworkShape) -> None:
    trained, kept = standardised(shape), Classifier(shape, seed=9)
    kept.set_weights(trained.weights())
    scores = scores_of(trained, tensors(shape))
    np.testing.assert_allclose(scores, scores_of(kept, tensors(shape)), atol=2e-5)
    assert np.abs(scores - scores_of(Classifier(shape, seed=3), tensors(shape))).max() > 1e-3


@each_shape
def test_it_starts_from_weights_of_a_network_that_reads_constituents_as_they_are(shape: NetworkShape) -> None:
    earlier, trained = Classifier(shape, seed=4), standardised(shape)
    trained.set_weights(earlier.weights())
    np.testing.assert_allclose(scores_of(trained, tensors(shape)), scores_of(earlier, tensors(shape)), atol=2e-5)
    for name, weight in trained.weights().items():
        np.testing.assert_allclose(weight, earlier.weights()[name], atol=1e-5)


def test_spreads_are_those_without_outliers_and_constant_inputs_keep_theirs() -> None:
    values = np.random.default_rng(3).normal([5, -2, 7], [3, 0.01, 0], (10_000, 3)).astype(np.float32)
    values[:20, 0] = 99999
    found = Standardisation.of_values(values, others=1)
    np.testing.assert_allclose(found.mean, [5, -2, 7, 0], rtol=0.03)
    np.testing.assert_allclose(found.spread, [3, 0.01, 1, 1], rtol=0.03)
    nothing = Standardisation.of_values(values[:0])
    torch.testing.assert_close(nothing(torch.from_numpy(values[:5])), torch.from_numpy(values[:5]))


def test_an_encoder_that_does_not_name_its_input_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder sum_pooling names no input_layer"):
        standardised(replace(DEFAULT_SHAPE, encoder=SumPooling.name))

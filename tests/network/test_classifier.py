"""The classifier on ragged jets against the same formulas on padded arrays."""

import dataclasses

import numpy as np
import pytest
import torch

from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from tests.factories.jets import synthetic_jets
from tests.formats.numpy_network import scores as numpy_scores
from tests.training.steps import assert_gradients_agree

CPU = torch.device("cpu")
SHAPES = {
    "the 2019 network": DEFAULT_SHAPE,
    "two LSTM layers": dataclasses.replace(DEFAULT_SHAPE, lstm_layers=2),
    "other widths": dataclasses.replace(DEFAULT_SHAPE, hidden=(40, 11)),
}


def jets() -> Jets:
    return synthetic_jets(np.random.default_rng(1).integers(0, 3, 50), 1)


def in_numpy(classifier: Classifier, table: Jets, masses: np.ndarray | None = None) -> np.ndarray:
    lists = []
    for kind in CONSTITUENTS:
        ragged = table.constituents[kind.name]
        values = ragged.padded(kind.limit)[:, :, list(kind.inputs)]
        if masses is not None:
            filled = np.arange(kind.limit) < ragged.lengths[:, None]
            own = np.where(filled[:, :, None], masses[:, None, :], 0.0)
            values = np.concatenate([values, own], axis=2)
        lists.append(values)
    own_numbers = np.stack([table[name] for name in ("jet_pt", "jet_eta", "jet_phi")], axis=1)
    jet = own_numbers if masses is None else np.concatenate([own_numbers, masses], axis=1)
    return numpy_scores(classifier.shape, classifier.weights(), lists, jet)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_scores_on_ragged_jets_are_those_on_padded_ones(shape: NetworkShape) -> None:
    table, classifier = jets(), Classifier(shape, seed=3)
    ragged = scores_of(classifier, JetTensors.from_jets([table], CPU))
    np.testing.assert_allclose(ragged, in_numpy(classifier, table), atol=1e-6)


@pytest.mark.parametrize("engine", ["reference", "torch", "numba"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_engine_gives_the_same_scores_and_gradients(shape: NetworkShape, engine: str) -> None:
    tensors = JetTensors.from_jets([jets()], CPU)
    precise = dataclasses.replace(
        tensors, values={name: values.double() for name, values in tensors.values.items()}, jet=tensors.jet.double()
    )
    gradients, logits = [], []
    for name, given in (("reference", precise), (engine, tensors)):
        classifier = Classifier(shape, seed=3, engine=name).to(given.jet.dtype)
        logits.append(classifier(given.batch(np.arange(len(given)))))
        logits[-1].square().mean().backward()
        gradients.append({weight: parameter.grad for weight, parameter in classifier.named_parameters()})
    torch.testing.assert_close(logits[1].double(), logits[0], rtol=1e-5, atol=1e-6)
    exact = {name: gradient for name, gradient in gradients[0].items() if gradient is not None}
    found = {name: gradient for name, gradient in gradients[1].items() if gradient is not None}
    assert_gradients_agree(found, exact, len(tensors))


def test_masses_stand_behind_every_constituent_and_the_jet_but_not_in_empty_slots() -> None:
    table = jets()
    masses = np.random.default_rng(1).uniform(0.06, 1.0, (len(table), 2)).astype(np.float32)
    classifier = Classifier(dataclasses.replace(DEFAULT_SHAPE, masses=2), seed=3)
    ragged = scores_of(classifier, JetTensors.from_jets([table], CPU, masses))
    np.testing.assert_allclose(ragged, in_numpy(classifier, table, masses), atol=1e-6)


def test_a_padding_row_that_is_not_zero_is_read_in_empty_slots() -> None:
    table = jets()
    clusters = table.constituents["clusters"]
    row = np.full(len(clusters.padding), -0.087, dtype=np.float32)
    table = Jets(table.scalars, {**table.constituents, "clusters": dataclasses.replace(clusters, padding=row)})
    classifier = Classifier(DEFAULT_SHAPE, seed=3)
    ragged = scores_of(classifier, JetTensors.from_jets([table], CPU))
    np.testing.assert_allclose(ragged, in_numpy(classifier, table), atol=1e-6)
    assert np.abs(ragged - scores_of(classifier, JetTensors.from_jets([jets()], CPU))).max() > 1e-4


def test_a_jets_score_does_not_depend_on_its_batch() -> None:
    tensors, classifier = JetTensors.from_jets([jets()], CPU), Classifier(DEFAULT_SHAPE, seed=3)
    chosen = np.array([7, 7, 30, 2])
    np.testing.assert_allclose(
        scores_of(classifier, tensors, chosen), scores_of(classifier, tensors)[chosen], atol=1e-6
    )


def test_no_jets_have_no_scores() -> None:
    tensors, classifier = JetTensors.from_jets([jets()], CPU), Classifier(DEFAULT_SHAPE)
    assert scores_of(classifier, tensors, np.zeros(0, dtype=np.int64)).shape == (0, 3)


def test_dropout_keeps_the_mean_of_the_logits_roughly_and_adds_noise() -> None:
    tensors, classifier = JetTensors.from_jets([jets()], CPU), Classifier(DEFAULT_SHAPE, seed=3)
    batch = tensors.batch(np.arange(len(tensors)))
    with torch.no_grad():
        draws = torch.stack([classifier(batch, DropoutSource(0.2, (1, n), CPU)) for n in range(300)])
        plain = classifier(batch)
    assert draws.std(dim=0).min() > 1e-4
    # After ReLUs the mean changes a little; the size of the logits must not.
    assert (draws.mean(dim=0) - plain).abs().mean() < 0.3 * plain.abs().mean()


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("shape", [DEFAULT_SHAPE, SHAPES["two LSTM layers"]], ids=["one", "two"])
def test_shares_of_a_mini_batch_have_the_logits_of_the_whole_one_with_dropout(shape: NetworkShape, engine: str) -> None:
    tensors, classifier = JetTensors.from_jets([jets()], CPU), Classifier(shape, seed=3, engine=engine)
    chosen = np.random.default_rng(4).permutation(len(tensors)).astype(np.int64)
    shares = [np.arange(0, 17), np.concatenate([np.arange(17, 30), np.arange(40, 50)]), np.arange(30, 40)]
    with torch.no_grad():
        whole = classifier(tensors.batch(chosen), DropoutSource(0.2, (1,), CPU))
        for share in shares:
            logits = classifier(tensors.batch(chosen, share), DropoutSource(0.2, (1,), CPU))
            torch.testing.assert_close(logits, whole[share])


def test_weights_go_out_and_in_by_name_and_wrong_ones_are_named() -> None:
    first, second = Classifier(DEFAULT_SHAPE, seed=1), Classifier(DEFAULT_SHAPE, seed=2)
    second.set_weights(first.weights())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    weights = first.weights()
    with pytest.raises(ValueError, match=r"tracks.dense.0.kernel has shape \(3, 64\), expected \(10, 64\)"):
        second.set_weights({**weights, "tracks.dense.0.kernel": np.zeros((3, 64), dtype=np.float32)})
    del weights["output.bias"]
    with pytest.raises(ValueError, match=r"output\.bias is missing"):
        second.set_weights(weights)


def test_the_2019_network_has_60067_weights_named_as_its_shape_says() -> None:
    classifier = Classifier(DEFAULT_SHAPE)
    assert sum(weight.numel() for weight in classifier.parameters()) == 60067
    shapes = {name: tuple(weight.shape) for name, weight in classifier.named_parameters()}
    assert shapes == DEFAULT_SHAPE.weight_shapes()

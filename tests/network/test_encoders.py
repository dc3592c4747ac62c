"""Encoders by name; one that is registered from outside the package."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.formats.probe_jets import padded_inputs, probes_of
from cal_ratio_trainer.jets import CONSTITUENTS, Ragged
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import BranchShape, UnknownEncoder, encoder_named
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.cuda_graph import DeviceJets
from tests.factories.jets import synthetic_jets
from tests.formats.numpy_network import random_weights, scores
from tests.network.sum_pooling import SumPooling

CPU, TORCH = torch.device("cpu"), Engine.TORCH
SHAPE = replace(DEFAULT_SHAPE, encoder=SumPooling.name)
ENCODERS = ["deep_sets", "transformer"]
SHAPES = [SHAPE, DEFAULT_SHAPE, *(replace(DEFAULT_SHAPE, encoder=name) for name in ENCODERS)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.encoder)
each_encoder = pytest.mark.parametrize("name", ENCODERS)
JETS = synthetic_jets(np.random.default_rng(1).integers(0, 3, 50), 1)


def test_constituents_of_a_batch_are_told_apart_by_their_jets() -> None:
    tensors = JetTensors.from_jets([JETS], CPU)
    chosen = np.array([7, 3, 11, 3, 40])
    for kind in CONSTITUENTS:
        branch = tensors.batch(chosen).branches[kind.name]
        sums = torch.zeros(len(chosen), branch.values.shape[1]).index_add(0, branch.owners(), branch.values[:-1])
        padded = JETS.constituents[kind.name].take(chosen).padded(kind.limit)[:, :, list(kind.inputs)]
        np.testing.assert_allclose(sums.numpy(), padded.sum(axis=1), rtol=1e-5, atol=1e-5)


@each_shape
def test_a_batch_of_fixed_shape_gives_the_same(shape: NetworkShape) -> None:
    tensors, classifier = JetTensors.from_jets([JETS], CPU), Classifier(shape, seed=2)
    chosen = np.array([7, 3, 11, 3, 40])
    room = {kind.name: 5 * kind.limit for kind in CONSTITUENTS}
    static = DeviceJets.of(tensors).batch(torch.from_numpy(chosen), room)
    torch.testing.assert_close(classifier(static), classifier(tensors.batch(chosen)))


def test_weights_are_named_by_branch_and_module() -> None:
    shapes = SHAPE.weight_shapes()
    assert shapes["tracks.kernel"] == (10, 10)
    assert shapes.keys() == Classifier(SHAPE).weights().keys()
    for shape in SHAPES:
        weights = {name: values.shape for name, values in Classifier(shape).weights().items()}
        assert weights == shape.weight_shapes()


@each_encoder
def test_scores_are_those_of_the_formula_for_jets_of_no_one_some_and_all_constituents(name: str) -> None:
    shape = replace(DEFAULT_SHAPE, encoder=name)
    jets, _ = probes_of(JETS, 10)
    lists = {name: Ragged(each.values, each.offsets, 0 * each.padding) for name, each in jets.constituents.items()}
    jets = replace(jets, constituents=lists)
    classifier, weights = Classifier(shape), random_weights(shape, seed=3)
    classifier.set_weights(weights)
    *constituents, own = padded_inputs(jets, shape).arrays
    found = scores_of(classifier, JetTensors.from_jets([jets], CPU))
    np.testing.assert_allclose(found, scores(shape, weights, constituents, own), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "matters"), [("lstm", True), *((name, False) for name in ENCODERS)])
def test_the_order_of_constituents_matters_to_the_lstm_alone(name: str, matters: bool) -> None:
    turned = {
        kind: Ragged(
            np.concatenate([part[::-1] for part in np.split(each.values, each.offsets[1:-1])]),
            each.offsets,
            each.padding,
        )
        for kind, each in JETS.constituents.items()
    }
    shape = replace(DEFAULT_SHAPE, encoder=name)
    classifier = Classifier(shape)
    classifier.set_weights(random_weights(shape, seed=3))
    one, other = (
        scores_of(classifier, JetTensors.from_jets([jets], CPU)) for jets in (JETS, replace(JETS, constituents=turned))
    )
    assert (np.abs(one - other).max() > 0.01) == matters
    if not matters:
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


@each_encoder
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    batch = JetTensors.from_jets([JETS], CPU).batch(np.arange(6)).branches["clusters"]
    values = batch.values[:, :3].double()
    module = encoder_named(name).module(
        BranchShape("clusters", 30, 3, (4, 2), 2, (("width", 4), ("layers", 1), ("heads", 2), ("hidden", 3))),
        3,
        1,
        torch.Generator().manual_seed(1),
    )
    module = module.double()
    weights = dict(module.named_parameters())

    def outputs(*changed: torch.Tensor) -> torch.Tensor:
        given = dict(zip(weights, changed, strict=True))
        found: torch.Tensor = torch.func.functional_call(module, given, (replace(batch, values=values), None, TORCH))
        return found

    assert torch.autograd.gradcheck(outputs, tuple(weights.values()))


@each_encoder
def test_a_batch_without_any_constituent_has_outputs_and_gradients(name: str) -> None:
    none = JETS.take(np.flatnonzero(JETS.label == 0)[:4])
    empty = {
        each: Ragged.from_lengths(lists.values[:0], np.zeros(4, np.int64)) for each, lists in none.constituents.items()
    }
    tensors = JetTensors.from_jets([replace(none, constituents=empty)], CPU)
    classifier = Classifier(replace(DEFAULT_SHAPE, encoder=name), seed=1)
    logits = classifier(tensors.batch(np.arange(4)), DropoutSource(0.2, (1,), CPU))
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in classifier.parameters())


@each_encoder
def test_jets_that_processes_share_have_the_outputs_and_masks_of_the_whole_mini_batch(name: str) -> None:
    tensors, jets = JetTensors.from_jets([JETS], CPU), np.arange(20)[::-1].copy()
    classifier = Classifier(replace(DEFAULT_SHAPE, encoder=name), seed=1)
    whole = classifier(tensors.batch(jets), DropoutSource(0.3, (2,), CPU))
    for rank in range(3):
        share = np.arange(rank, 20, 3)
        part = classifier(tensors.batch(jets, share), DropoutSource(0.3, (2,), CPU))
        torch.testing.assert_close(part, whole[share])


@each_encoder
def test_engines_other_than_pytorch_are_refused(name: str) -> None:
    encoder = encoder_named(name)
    assert (encoder.engine("auto"), encoder.engine("torch")) == ("torch", "torch")
    assert Classifier(replace(DEFAULT_SHAPE, encoder=name)).engine == "torch"
    with pytest.raises(ConfigError, match=f"engine is numba, but encoder {name} runs on PyTorch's operations alone"):
        encoder.engine("numba")
    assert encoder_named("lstm").engine("numba") == "numba"


def test_options_of_an_encoder_have_defaults_and_clear_errors() -> None:
    transformer = encoder_named("transformer")
    assert transformer.checked_options(["heads=8", "width=64"]) == (
        *(("width", 64), ("layers", 2), ("heads", 8), ("hidden", 96)),
    )
    with pytest.raises(
        ConfigError, match=r"no option 'head' \(did you mean heads\?\); its options: width, layers, heads, "
    ):
        transformer.checked_options(["head=2"])
    for wrong in ("heads=0", "heads=1025", "heads=x"):
        with pytest.raises(ConfigError, match=r"'heads=.*', expected heads=NUMBER from 1 to 1024"):
            transformer.checked_options([wrong])
    with pytest.raises(ConfigError, match="the width 48 cannot be shared evenly by 5 heads"):
        transformer.checked_options(["heads=5"])
    with pytest.raises(ConfigError, match="encoder lstm has no option 'width'; its options: none"):
        encoder_named("lstm").checked_options(["width=3"])


@each_shape
def test_a_pass_draws_as_many_dropout_masks_as_the_shape_says(shape: NetworkShape) -> None:
    class Counting(DropoutSource):
        keys = 0

        def words(self, layers: int) -> np.ndarray:
            Counting.keys += layers
            return super().words(layers)

    Classifier(shape)(JetTensors.from_jets([JETS], CPU).batch(np.arange(5)), Counting(0.2, (1,), CPU))
    assert Counting.keys == shape.dropout_masks


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownEncoder, match=r"encoder 'lstn' is not known \(did you mean lstm\?\); known are deep_sets, lstm, sum_"
    ):
        encoder_named("lstn")

"""Encoders by name; one that is registered from outside the package."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import UnknownEncoder, encoder_named
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.network.static_batch import DeviceJets
from tests.factories.jets import synthetic_jets
from tests.network.sum_pooling import SumPooling

CPU = torch.device("cpu")
SHAPE = replace(DEFAULT_SHAPE, encoder=SumPooling.name)
JETS = synthetic_jets(np.random.default_rng(1).integers(0, 3, 50), 1)


def test_constituents_of_a_batch_are_told_apart_by_their_jets() -> None:
    tensors = JetTensors.from_jets([JETS], CPU)
    chosen = np.array([7, 3, 11, 3, 40])
    for kind in CONSTITUENTS:
        branch = tensors.batch(chosen).branches[kind.name]
        sums = torch.zeros(len(chosen), branch.values.shape[1]).index_add(0, branch.owners(), branch.values[:-1])
        padded = JETS.constituents[kind.name].take(chosen).padded(kind.limit)[:, :, list(kind.inputs)]
        np.testing.assert_allclose(sums.numpy(), padded.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_a_batch_of_fixed_shape_gives_the_same() -> None:
    tensors, classifier = JetTensors.from_jets([JETS], CPU), Classifier(SHAPE, seed=2)
    chosen = np.array([7, 3, 11, 3, 40])
    room = {kind.name: 5 * kind.limit for kind in CONSTITUENTS}
    static = DeviceJets.of(tensors).batch(torch.from_numpy(chosen), room)
    torch.testing.assert_close(classifier(static), classifier(tensors.batch(chosen)))


def test_weights_are_named_by_branch_and_module() -> None:
    shapes = SHAPE.weight_shapes()
    assert shapes["tracks.kernel"] == (10, 10)
    assert shapes.keys() == Classifier(SHAPE).weights().keys()
    assert DEFAULT_SHAPE.weight_shapes().keys() == Classifier(DEFAULT_SHAPE).weights().keys()


@pytest.mark.parametrize("shape", [SHAPE, DEFAULT_SHAPE], ids=lambda shape: shape.encoder)
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
        UnknownEncoder, match=r"encoder 'lstn' is not known \(did you mean lstm\?\); known are lstm, sum_"
    ):
        encoder_named("lstn")

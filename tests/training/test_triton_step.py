"""Complete steps with the GPU's kernels, in Triton's interpreter or on a GPU, against double precision.

Gradients and losses of one step are compared: the optimiser then moves weights by the learning rate in the direction of
gradients that are 0 but for rounding, so that weights and further steps depend on the processor.
"""

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.optimizers import set_learning_rate
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from tests.factories.jets import synthetic_jets
from tests.network.triton_interpreter import DEVICE
from tests.training.steps import (
    assert_gradients_agree,
    assert_sums_agree,
    exact_gradients_and_sums,
    gradients_and_sums,
    new_step,
)

MAIN, CONTROL = 15, 8
CPU = torch.device("cpu")
JETS = StepJets(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), np.arange(MAIN, MAIN + CONTROL))


def tensors(device: torch.device) -> JetTensors:
    rng = np.random.default_rng(1)
    jets = [synthetic_jets(rng.integers(0, 3, MAIN), 1), synthetic_jets(rng.choice([0, 2], CONTROL), 2)]
    target = torch.from_numpy(np.concatenate([jets[0].label, jets[1].label > 0]).astype(np.int64))
    weight = torch.from_numpy(rng.random(MAIN + CONTROL, np.float32))
    return JetTensors.from_jets(jets, device).for_training(target, weight)


@pytest.mark.slow
@pytest.mark.parametrize("lstm_layers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "engine", "device"),
    [
        (TrainingStep, "numba", CPU),
        (StaticStep, "numba", CPU),
        (TrainingStep, "triton", DEVICE),
        (StaticStep, "triton", DEVICE),
    ],
)
def test_without_dropout_gradients_and_losses_are_those_of_double_precision(
    kind: type[TrainingStep], engine: str, device: torch.device, lstm_layers: int
) -> None:
    shape = NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=lstm_layers)
    reference = new_step(dropout=0.0, shape=shape, engine="reference")
    exact, sums_of_exact = exact_gradients_and_sums(reference, tensors(CPU), JETS)
    step = new_step(dropout=0.0, kind=kind, shape=shape, engine=engine, device=device)
    found, sums = gradients_and_sums(step, tensors(device), JETS)
    assert_gradients_agree(found, exact, MAIN + CONTROL)
    assert_sums_agree(sums, sums_of_exact)


@pytest.mark.slow
def test_in_fixed_shapes_dropout_masks_are_those_of_the_other_step() -> None:
    """Losses alone are compared: other masks change them, and they do not jump where a ReLU begins to pass."""
    cases = ((kind, seed) for kind, seed in ((TrainingStep, 5), (StaticStep, 5), (StaticStep, 6)))
    found = []
    for kind, seed in cases:
        step = new_step(kind=kind, engine="triton", device=DEVICE)
        step.seed = seed
        found.append(gradients_and_sums(step, tensors(DEVICE), JETS)[1])
    ordinary, static, other_masks = found
    assert_sums_agree(static, ordinary)
    assert static["main_loss"] != pytest.approx(other_masks["main_loss"], rel=1e-3)


@pytest.mark.skipif(DEVICE.type == "cpu", reason="only a GPU records steps")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("lstm_layers", [1, 2])
def test_recorded_steps_have_the_losses_of_the_other_steps_and_learn(lstm_layers: int, dropout: float) -> None:
    """Eight steps, each recorded in its third run; at a rate of 0 first, so that no step depends on an earlier one."""
    shape, found = NetworkShape(DEFAULT_SHAPE.branches, lstm_layers=lstm_layers), []
    for kind in (TrainingStep, StaticStep):
        step, data = new_step(dropout=dropout, kind=kind, shape=shape, engine="triton", device=DEVICE), tensors(DEVICE)
        assert step.domain is not None
        sampler, sums = Sampler(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), 2, 3, True), step.new_sums(DEVICE)
        step.prepare(data, sampler.epoch(0), 0)
        for _, _, optimizer in step.trained_modules():
            if optimizer is not None:
                set_learning_rate(optimizer, 0.0)
        before = [weight.detach().clone() for weight in step.classifier.parameters()]
        for epoch in range(4):
            steps = sampler.epoch(epoch)
            step.prepare(data, steps, epoch)
            for number, each in enumerate(steps):
                step(data, each, epoch, number, sums)
        assert all(torch.equal(*pair) for pair in zip(before, step.classifier.parameters(), strict=True))
        found.append(sums.values())
        set_learning_rate(step.classifier_optimizer, 8e-4)
        for number, each in enumerate(steps):
            step(data, each, epoch, number, sums)
        assert not any(torch.equal(*pair) for pair in zip(before, step.classifier.parameters(), strict=True))
        if isinstance(step, StaticStep):
            assert any(each.graph is not None for each in step._known.values())
    assert_sums_agree(found[1], found[0])

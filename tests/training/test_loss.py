"""The loss of a step as computed by hand, and the direction in which each agreement pushes the outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.domain.base import ControlJets, DomainSettings, StepSums, domain_loss_named
from cal_ratio_trainer.training.optimizers import keras_nadam
from cal_ratio_trainer.training.step import StepJets
from tests.factories.jets import synthetic_jets
from tests.training.steps import new_step

CPU = torch.device("cpu")
JETS = StepJets(np.arange(60), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def main_jets(factors: tuple[float, float, float]) -> JetTensors:
    """60 main jets, whose weights between 0.5 and 1.5 are multiplied by a factor for each class."""
    rng = np.random.default_rng(3)
    jets = synthetic_jets(rng.integers(0, 3, 60), 4)
    weight = rng.uniform(0.5, 1.5, 60) * np.array(factors)[jets.label]
    target = torch.from_numpy(jets.label.astype(np.int64))
    return JetTensors.from_jets([jets], CPU).for_training(target, torch.from_numpy(weight.astype(np.float32)))


def loss_and_gradient(data: JetTensors, **more: Any) -> tuple[float, Tensor]:
    """Mean loss that a step reports, and the gradient of all weights before they are updated."""
    step = new_step(0.0, 0.0, dropout=0.0, **more)
    sums = step.new_sums(CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.NAdam, "step", lambda *_: None)
        step(data, JETS, 0, 0, sums)
    gradients = [weight.grad for weight in step.classifier.parameters() if weight.grad is not None]
    return sums.mean("main")[0], torch.cat([each.flatten() for each in gradients])


def loss_by_hand(data: JetTensors) -> float:
    """Mean over the jets of weight times -log of the probability of the right class, in double precision."""
    logits = new_step(0.0, dropout=0.0).logits(data, JETS.main).detach().numpy().astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    right = exponentials[np.arange(60), data.target.numpy()] / exponentials.sum(axis=1)
    return float(np.mean(data.weight.numpy() * -np.log(right)))


@pytest.mark.parametrize("doubled", [0, 1, 2])
def test_a_class_with_doubled_weight_moves_the_loss_as_computed_by_hand(doubled: int) -> None:
    plain, changed = main_jets((1, 1, 1)), main_jets(tuple(2 if i == doubled else 1 for i in range(3)))  # type: ignore[arg-type]
    (before, _), (after, _) = loss_and_gradient(plain), loss_and_gradient(changed)
    assert before == pytest.approx(loss_by_hand(plain), rel=1e-5)
    assert after == pytest.approx(loss_by_hand(changed), rel=1e-5)
    of_class = plain.target.numpy() == doubled
    moved = main_jets(tuple(1 if i == doubled else 0 for i in range(3)))  # type: ignore[arg-type]
    assert of_class.any()
    assert after - before == pytest.approx(loss_by_hand(moved), rel=1e-4)


def test_the_gradient_is_the_sum_of_those_of_the_classes() -> None:
    _, whole = loss_and_gradient(main_jets((1, 1, 1)))
    parts = [loss_and_gradient(main_jets(each))[1] for each in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), whole, rtol=1e-4, atol=1e-6)
    assert all(float(part.norm()) > 0.05 * float(whole.norm()) for part in parts)


def test_a_mini_batch_in_pieces_of_other_sizes_has_the_same_mean() -> None:
    # 60 jets in 7 pieces: of 9 and of 8 jets.
    (loss, whole), (in_pieces, added) = (loss_and_gradient(main_jets((1, 2, 3)), pieces=pieces) for pieces in (1, 7))
    assert in_pieces == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(added, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("agreement", "strength"), [("adversary", 1.0), ("distance", 1.0), ("reversal", 1.0)])
def test_each_agreement_moves_data_towards_simulation(agreement: str, strength: float) -> None:
    """A shift of the data is the only thing that the penalty can change: it has to take back the difference of 1."""
    generator = torch.Generator().manual_seed(2)
    is_data = (torch.arange(400) % 2).float()
    random, direction = torch.randn(400, 3, generator=generator), torch.tensor([1.0, 0.0, -1.0])
    others, weight = torch.rand(400, 3, generator=generator), torch.rand(400, generator=generator) + 0.5
    widen = torch.randn(3, 64, generator=generator)
    method = domain_loss_named(agreement)(DomainSettings(strength, seed=1, steps=100))
    if any(True for _ in method.parameters()):
        method.optimizer = keras_nadam(method, 0.02)
    shift = torch.ones(1, requires_grad=True)
    classifier = torch.optim.SGD([shift], lr=0.2)
    passed = list[float]()
    for _ in range(150):
        for _ in range(method.updates):
            logits = (random + shift * is_data[:, None] * direction).detach()
            method.update(ControlJets(logits, is_data, weight, others), StepSums(CPU, method.stages))
        classifier.zero_grad()
        if method.optimizer is not None:
            method.optimizer.zero_grad()
        logits = random + shift * is_data[:, None] * direction
        jets = ControlJets(logits, is_data, weight, others, logits @ widen if method.needs_hidden else None)
        method.penalty(jets, 400, StepSums(CPU, method.stages)).backward()  # type: ignore[no-untyped-call]
        classifier.step()
        if method.learns_in_penalty and method.optimizer is not None:
            method.optimizer.step()
        method.after_step()
        passed.append(abs(shift.item()))
    # A method against an opponent goes to and fro about the agreement.
    assert np.mean(passed[-50:]) < 0.5

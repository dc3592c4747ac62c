"""Steps of training on small networks, with the adversary unless its weight is 0, in single or in double precision."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.layers import Activation
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.step import StepJets, TrainingStep

UNIT_ROUNDOFF = 2.0**-24
"""Largest relative error of one rounding to single precision."""
_SLOTS, _UNITS = 30, 10
"""Of the recurrence over clusters, the longest sum of the default network."""
_NEAREST = 1e-6
"""A sum before a ReLU in single precision is nearer than this to the exact one, so both have the same sign."""


def new_step(
    weight: float = 10.0,
    regularization: float = 1e-11,
    dropout: float = 0.2,
    *,
    kind: type[TrainingStep] = TrainingStep,
    shape: NetworkShape = DEFAULT_SHAPE,
    engine: str = "auto",
    device: str | torch.device = "cpu",
    seed: int = 1,
    pieces: int = 1,
    ranks: Ranks = ALONE,
    **more: Any,
) -> TrainingStep:
    """A fresh step with the default learning rate; the networks' weights are drawn with seeds `seed` and `seed` + 1.

    `more` are further settings of the step.
    """
    return kind(
        Classifier(shape, seed, engine, auxiliary_heads="auxiliary_weight" in more).to(device),
        Adversary(DomainSettings(weight, seed + 1)).to(device) if weight else None,
        TrainSettings.make(regularization=regularization, dropout=dropout, seed=5, accumulate=pieces, **more),
        ranks,
    )


def adversary_of(step: TrainingStep) -> Adversary:
    """The adversary of a step that has one."""
    assert isinstance(step.domain, Adversary)
    return step.domain


def in_double_precision(step: TrainingStep, data: JetTensors) -> JetTensors:
    """Makes the networks of a new step double; returns the same jets with numbers in double precision."""
    step.classifier.double()
    if step.domain is not None:
        step.domain.double()
    values = {name: each.double() for name, each in data.values.items()}
    jet, masses, weight = data.jet.double(), data.masses.double(), data.weight.double()
    return replace(data, values=values, jet=jet, masses=masses, weight=weight)


def gradients_and_sums(
    step: TrainingStep, data: JetTensors, jets: StepJets
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gradients of the trained weights by name, and the sums, of one step that moves no weight."""
    sums = step.new_sums(data.device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.NAdam, "step", lambda *_: None)
        step.prepare(data, [jets], 0)
        step(data, jets, 0, 0, sums)
    weights = [
        (f"{kind}.{name}", weight)
        for kind, module, _ in step.trained_modules()
        for name, weight in module.named_parameters()
    ]
    return {name: weight.grad.cpu() for name, weight in weights if weight.grad is not None}, sums.values()


def exact_gradients_and_sums(
    step: TrainingStep, data: JetTensors, jets: StepJets
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """`gradients_and_sums` in double precision of a new step on the CPU with PyTorch's operations.

    No sum before a ReLU may be so near to 0 that it has another sign in single precision: the gradient jumps there.
    """
    precise, activate = in_double_precision(step, data), Activation.__call__

    def watched(behind: Activation, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        sums = (x @ kernel + bias).abs()
        assert float(torch.where(sums > 0, sums, 1.0).min()) > _NEAREST, "choose other jets"
        return activate(behind, x, kernel, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Activation, "__call__", watched)
        return gradients_and_sums(step, precise, jets)


def assert_gradients_agree(found: dict[str, Tensor], exact: dict[str, Tensor], jets: int) -> None:
    """Asserts that gradients of single precision are the exact ones, but for the rounding of their sums.

    A gradient is a sum over all slots of all jets; each summand has been rounded as a product and as a sum on the way
    forwards and on the way back. The bound is so many unit roundoffs of the largest gradient in the same array.
    """
    assert found.keys() == exact.keys()
    for name, values in exact.items():
        bound = 4 * jets * _SLOTS * UNIT_ROUNDOFF * float(values.abs().max())
        difference = float((found[name].double() - values).abs().max())
        assert difference <= bound, f"{name}: {difference} is above {bound}"


def assert_sums_agree(found: dict[str, float], exact: dict[str, float]) -> None:
    """Asserts that losses agree, but for the rounding of a recurrence over all slots with all units; counts agree."""
    assert found == pytest.approx(exact, rel=_SLOTS * _UNITS * UNIT_ROUNDOFF, abs=0)

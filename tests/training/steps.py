"""Steps of training on small networks, with the adversary unless its weight is 0."""

from typing import Any

import torch

from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.domain.base import DomainSettings
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.step import TrainingStep


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

    `more` are further arguments of the step.
    """
    return kind(
        Classifier(shape, seed, engine, auxiliary_heads="auxiliary_weight" in more).to(device),
        Adversary(DomainSettings(weight, seed + 1)).to(device) if weight else None,
        8e-4,
        regularization=regularization,
        dropout=dropout,
        seed=5,
        pieces=pieces,
        ranks=ranks,
        **more,
    )


def adversary_of(step: TrainingStep) -> Adversary:
    """The adversary of a step that has one."""
    assert isinstance(step.domain, Adversary)
    return step.domain

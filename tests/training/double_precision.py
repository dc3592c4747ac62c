"""Trainings in double precision, whose numbers after many steps do not depend on the order of sums.

In single precision Nadam moves weights whose gradient is 0 but for rounding, so two ways to the same sums part.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
import torch

from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.training.step import TrainingStep


def use_double_precision(patch: pytest.MonkeyPatch) -> None:
    """Makes all trainings of this process compute in double precision, with PyTorch's operations."""
    patch.setattr(TrainingStep, "__init__", _with_double_networks(TrainingStep.__init__))
    patch.setattr(JetTensors, "for_training", _with_double_values(JetTensors.for_training))


def _with_double_networks(create: Callable[..., None]) -> Callable[..., None]:
    @wraps(create)
    def created(
        step: TrainingStep, classifier: torch.nn.Module, domain: torch.nn.Module | None, *given: Any, **more: Any
    ) -> None:
        for module in (classifier, domain):
            if module is not None:
                module.double()
        create(step, classifier, domain, *given, **more)

    return created


def _with_double_values(for_training: Callable[..., JetTensors]) -> Callable[..., JetTensors]:
    @wraps(for_training)
    def of_training(*given: Any) -> JetTensors:
        jets = for_training(*given)
        values = {name: each.double() for name, each in jets.values.items()}
        own = {name: getattr(jets, name).double() for name in ("jet", "masses", "weight")}
        return replace(jets, values=values, **own)

    return of_training

"""Optimisers of a training, and the learning rate of each step."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from cal_ratio_trainer.config.learning import Schedule

_WARM_UP = 0.03
"""Share of the steps in which `warmup_cosine` rises."""
_RISE, _START, _END = 0.3, 1 / 25, 1e-4 / 25
"""`one_cycle`: share of the steps in which it rises; first and last rate as shares of the highest."""


def keras_nadam(module: nn.Module, learning_rate: float) -> torch.optim.NAdam:
    """Nadam with Keras' momentum schedule, beta1 (1 - 0.5 * 0.96^t), and its epsilon.

    Args:
        module: module with the weights to update.
        learning_rate: before the momentum schedule.
    """
    return torch.optim.NAdam(module.parameters(), lr=learning_rate, eps=1e-7, momentum_decay=1.0, foreach=True)


def adamw(module: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019), which multiplies kernels, not biases, by 1 - rate * decay in each step.

    Args:
        module: module with the weights to update.
        learning_rate: of the first step.
        weight_decay: the decay.
    """
    kernels = [weight for weight in module.parameters() if weight.dim() > 1]
    biases = [weight for weight in module.parameters() if weight.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": kernels}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, foreach=True)


def learning_rate_at(schedule: Schedule, peak: float, step: int, steps: int) -> float:
    """Learning rate of one step; it depends on the arguments alone, so that a continued training needs no state.

    * constant: the peak.
    * warmup_cosine: rises linearly to the peak in the first 3 % of the steps, then falls as half a cosine
      (Loshchilov and Hutter 2017, one cycle); the step after the last would have 0.
    * one_cycle: rises as half a cosine from peak / 25 within 30 % of the steps, then falls as half a cosine to
      peak / 250,000 at the last step (Smith and Topin 2018, as `torch.optim.lr_scheduler.OneCycleLR`, with a constant
      momentum).

    Args:
        schedule: name of the schedule.
        peak: highest rate.
        step: number of the step in the whole training, from 0.
        steps: planned number of steps of the whole training.
    """
    if schedule == "warmup_cosine":
        rising = max(1, round(_WARM_UP * steps))
        if step < rising:
            return peak * (step + 1) / rising
        return _half_cosine(peak, 0.0, (step - rising) / (steps - rising))
    if schedule == "one_cycle":
        top = max(_RISE * steps - 1, 0.0)
        if step < top:
            return _half_cosine(_START * peak, peak, step / top)
        return _half_cosine(peak, _END * peak, (step - top) / max(steps - 1 - top, 1.0))
    return peak


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the next step without waiting for the device.

    Args:
        optimizer: the optimiser.
        rate: the rate; it also reaches a step that was recorded as a CUDA graph, if the optimiser was made capturable.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Moves the learning rate and all state of an optimiser to its weights' device, so that a CUDA graph can hold it.

    Args:
        optimizer: Nadam or AdamW, fresh or with the state of a continued run.
    """
    for group in optimizer.param_groups:
        device = group["params"][0].device
        group["capturable"], group["lr"] = True, torch.tensor(group["lr"], dtype=torch.float32, device=device)
    for weight, state in optimizer.state.items():
        optimizer.state[weight] = {key: value.to(weight.device) for key, value in state.items()}


@torch.no_grad()
def add_to_average(average: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    """Adds a module's weights to their exponential average: average = d * average + (1 - d) * weights.

    d is the decay, but at most (1 + step) / (10 + step), so that the first weights, which are random, are soon
    forgotten (as `tf.train.ExponentialMovingAverage` does).

    Args:
        average: holds the average.
        module: holds the weights; both on one device.
        decay: d after many steps.
        step: number of the step in the whole training, from 0.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), share)

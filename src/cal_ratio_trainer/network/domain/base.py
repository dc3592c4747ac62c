"""Interface of the methods that make data and simulation agree in the control region, their registry, sums of a step.

A method is one module of this package with one class, which the setting `agreement` chooses by name:

    @domain_loss("my_method")
    class MyMethod(DomainLoss):
        def penalty(self, jets, total, sums):
            ...
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from cal_ratio_trainer.errors import ConfigError, did_you_mean

MAX_LOG_ODDS = 12.0
"""Log-odds beyond this are taken as this: a probability of 6e-6, where a single-precision softmax still has digits."""


class StepSums:
    """Named sums in one tensor: losses weighted as in the loss, correct predictions and jets counted.

    Args:
        device: of the steps.
        stages: names of separate sums, e.g. 'main'; each has the sums STAGE_loss, STAGE_correct and STAGE_jets.
        values: sums to begin with, by name; None begins at 0.

    Attributes:
        sums: [3 stages] float64.
    """

    def __init__(self, device: torch.device, stages: Sequence[str], values: Mapping[str, float] | None = None) -> None:
        self.names = tuple(f"{stage}_{what}" for stage in stages for what in ("loss", "correct", "jets"))
        start = [0.0 if values is None else values[name] for name in self.names]
        self.sums = torch.tensor(start, dtype=torch.float64, device=device)

    def add(self, stage: str, losses: Tensor, correct: Tensor | None = None) -> None:
        """Adds one batch.

        Args:
            stage: one of the stages.
            losses: [jets], weighted.
            correct: [jets] bool; None for a loss that predicts nothing.
        """
        first = self.names.index(f"{stage}_loss")
        self.sums[first] += losses.detach().sum(dtype=torch.float64)
        if correct is not None:
            self.sums[first + 1] += correct.sum()
        self.sums[first + 2] += len(losses)

    def take(self) -> Tensor:
        """Returns the sums [3 stages] on the device and sets them to 0."""
        taken = self.sums.clone()
        self.sums.zero_()
        return taken

    def values(self) -> dict[str, float]:
        """All sums by name; waits for the device."""
        return dict(zip(self.names, self.sums.tolist(), strict=True))

    def mean(self, stage: str) -> tuple[float, float]:
        """(mean loss of a jet, share of correct predictions) of a stage; NaN where it has seen no jets."""
        values = self.values()
        jets = values[f"{stage}_jets"]
        if jets == 0:
            return float("nan"), float("nan")
        return values[f"{stage}_loss"] / jets, values[f"{stage}_correct"] / jets


@dataclass(frozen=True)
class DomainSettings:
    """Settings that every method is made from.

    Attributes:
        weight: strength of the penalty, > 0.
        seed: of initial weights and of everything else random.
        pt_ranges: edges of scaled jet pt between the low, mid and high range; empty where the jets' inputs have no pt.
        control_jets: largest number of control jets in a mini-batch of the classifier's update.
        steps: planned number of steps of the whole training.
        hidden_width: units of the classifier's last hidden layer.
        region_shares: share of each control region in the loss, in order; their sum is 1.
        adversary_momentum: share of its running averages that an update of the adversary keeps.
        adversary_input: what the adversary reads of the outputs.
        distance_rise: share of the steps over which the strength of the distance rises from 0.
    """

    weight: float
    seed: int = 0
    pt_ranges: tuple[float, ...] = ()
    control_jets: int = 0
    steps: int = 1
    hidden_width: int = 64
    region_shares: tuple[float, ...] = (1.0,)
    adversary_momentum: float = 0.0
    adversary_input: Literal["log_odds", "probabilities"] = "log_odds"
    distance_rise: float = 0.0


@dataclass(frozen=True)
class ControlJets:
    """Control-region jets of one pass through the classifier.

    Attributes:
        logits: [jets, 3], of QCD, signal, BIB.
        is_data: [jets] float32, 1 for data and 0 for simulation.
        weight: [jets] float32, as the loss uses it.
        inputs: [jets, per-jet inputs] float32, scaled, in the order of the schema: pt first, unless it is no input.
        hidden: [jets, width] outputs of the last hidden layer with gradient, for a method that `needs_hidden`.
        region: [jets] uint8, number of the control region of each jet; None with less than two regions. The weights of
            a region sum to its share of all, and those of its data and its simulation are equal.
    """

    logits: Tensor
    is_data: Tensor
    weight: Tensor
    inputs: Tensor
    hidden: Tensor | None = None
    region: Tensor | None = None

    def log_odds(self) -> Tensor:
        """log p - log(1 - p) of each output, [jets, 3], at most `MAX_LOG_ODDS` and at least its negative."""
        outputs = range(self.logits.shape[1])
        others = [self.logits[:, [j for j in outputs if j != i]].logsumexp(dim=1) for i in outputs]
        return (self.logits - torch.stack(others, dim=1)).clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)


class DomainLoss(nn.Module):
    """A loss that is small where the classifier's outputs do not tell data from simulation.

    Parameters and buffers of the module, all float32, are its state: they move to the device of the training, are
    broadcast to all processes after `update`, and are stored in checkpoints. It has to compute without waiting for the
    device and in shapes that depend on those of `ControlJets` alone, since steps are recorded as CUDA graphs.
    """

    name: ClassVar[str]
    """Set by `domain_loss`; also the prefix of its tensors in checkpoints."""
    updates: ClassVar[int] = 0
    """Calls of `update` in each step, each with a pass of its own through the classifier."""
    stages: ClassVar[tuple[str, ...]] = ()
    """Sums that `update` and `penalty` add to; see `StepSums`."""
    needs_all_jets: ClassVar[bool] = False
    """True where the penalty is no sum over jets: it is called once a step, with all control jets of the mini-batch, in
    the first of several processes only."""
    needs_hidden: ClassVar[bool] = False
    """True where `penalty` reads `ControlJets.hidden`; not together with `needs_all_jets`."""
    learns_in_penalty: ClassVar[bool] = False
    """True where its parameters are updated along with the classifier's, by the gradient of the penalty."""

    optimizer: torch.optim.Optimizer | None = None
    """Updates its parameters, made by the training; None where it has none."""

    def __init__(self, settings: DomainSettings) -> None:
        super().__init__()
        self.settings = settings

    def update(self, jets: ControlJets, sums: StepSums) -> None:
        """Updates its own state before the classifier's update; no-op by default.

        Args:
            jets: all control jets of this update, logits without gradient; in the first of several processes only.
            sums: of the epoch.
        """

    def penalty(self, jets: ControlJets, total: int, sums: StepSums) -> Tensor:
        """Contribution of some control jets to the classifier's loss, with a gradient through `jets.logits`.

        Args:
            jets: a part of the mini-batch, which is computed in pieces and shared by several processes; or all of it
                where the method `needs_all_jets`.
            total: number of control jets in the whole mini-batch; the contributions of its parts are added up.
            sums: of the epoch.

        Returns:
            Scalar.
        """
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each step's updates, in every process; no-op by default."""

    def metrics(self, sums: StepSums, validation: ControlJets) -> dict[str, float]:
        """Columns of the history after an epoch; none by default. Called without gradient.

        Args:
            sums: of the epoch.
            validation: control jets of the validation part, logits without dropout.
        """
        return {}

    def warning(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """Warning after an epoch, by the rows of the history; none by default."""
        return None

    def descend(self, loss: Tensor) -> None:
        """Updates its parameters by one step of its optimiser on a scalar loss."""
        assert self.optimizer is not None, "a domain loss without parameters has nothing to update"
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


DOMAIN_LOSSES: dict[str, type[DomainLoss]] = {}
"""All methods by name, once their modules are imported."""

_Class = TypeVar("_Class", bound=type[DomainLoss])


def domain_loss(name: str) -> Callable[[_Class], _Class]:
    """Decorator that registers a method under a name."""

    def register(method: _Class) -> _Class:
        method.name = name
        DOMAIN_LOSSES[name] = method
        return method

    return register


def domain_loss_named(name: str) -> type[DomainLoss]:
    """The method of a name; imports all modules of this package. Raises ConfigError for an unknown name."""
    package = __package__ or ""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    if name not in DOMAIN_LOSSES:
        known = sorted([*DOMAIN_LOSSES, "none"])
        raise ConfigError(
            [f"agreement {name!r:.80} is not known{did_you_mean(name, known)}; known: {', '.join(known)}"]
        )
    return DOMAIN_LOSSES[name]

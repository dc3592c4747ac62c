"""Gradient reversal: a head on the last hidden layer tells data from simulation, and the network learns the opposite.

Ganin et al., J. Mach. Learn. Res. 17 (2016) 59; CMS used it for a tagger of long-lived particles in EXO-19-011.
"""

from typing import Any

import torch
from torch import Tensor

from cal_ratio_trainer.network.domain.adversary import correct_predictions, data_or_simulation_loss
from cal_ratio_trainer.network.domain.base import ControlJets, DomainLoss, DomainSettings, StepSums, domain_loss
from cal_ratio_trainer.network.layers import Dense

_WIDTH = 32
_STEEPNESS = 10.0


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is multiplied by -factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return -factor * gradient, None


@domain_loss("reversal")
class Reversal(DomainLoss):
    """[jets, hidden] -> 32 ReLU -> [jets] logits that it is data, learned along with the network.

    The network receives the head's gradient times -strength * (2 / (1 + exp(-10 t)) - 1), where t goes from 0 to 1 over
    the planned training, and stays 1 where a finished training is continued.
    """

    stages = ("reversal",)
    needs_hidden = True
    learns_in_penalty = True

    def __init__(self, settings: DomainSettings) -> None:
        super().__init__(settings)
        generator = torch.Generator().manual_seed(settings.seed)
        self.inner = Dense(settings.hidden_width, _WIDTH, generator)
        self.outer = Dense(_WIDTH, 1, generator)
        self.steps_done: Tensor
        self.register_buffer("steps_done", torch.zeros(()))

    @property
    def factor(self) -> Tensor:
        """Present factor on the gradient that the network receives, before its sign is turned; scalar."""
        share = (self.steps_done / self.settings.steps).clamp(max=1.0)
        return self.settings.weight * (2 / (1 + torch.exp(-_STEEPNESS * share)) - 1)

    def penalty(self, jets: ControlJets, total: int, sums: StepSums) -> Tensor:
        """Mean loss of the head; the gradient through `jets.hidden` is reversed."""
        assert jets.hidden is not None, "the classifier gives its hidden layer to a method that needs it"
        hidden = _Reversed.apply(jets.hidden, self.factor)  # type: ignore[no-untyped-call]
        logits = self.outer(self.inner(hidden).relu())[:, 0]
        losses = jets.weight * data_or_simulation_loss(logits, jets.is_data)
        sums.add("reversal", losses, correct_predictions(logits, jets.is_data))
        return losses.sum() / total

    def after_step(self) -> None:
        """Counts the step."""
        self.steps_done += 1

    def metrics(self, sums: StepSums, validation: ControlJets) -> dict[str, float]:
        """Loss and accuracy of the head in the epoch's steps, and the present factor on its gradient."""
        loss, accuracy = sums.mean("reversal")
        return {"reversal_loss": loss, "reversal_acc": accuracy, "reversal_factor": float(self.factor)}

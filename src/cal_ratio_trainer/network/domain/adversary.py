"""The adversary: predicts from the classifier's three outputs whether a multijet is data or simulation."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.network.domain.base import ControlJets, DomainLoss, DomainSettings, StepSums, domain_loss
from cal_ratio_trainer.network.layers import Dense
from cal_ratio_trainer.network.shape import OUTPUTS

WIDTHS = (24, 12, 6)
_CONFIDENTLY_WRONG = 2 * math.log(2)
_EPSILON = 1e-3
# Probabilities nearer to 0 or 1 than this are taken as this, as Keras does: the loss of one jet is at most 16.1.
_PROBABILITY_EDGE = 1e-7
_MAX_LOGIT = float(torch.logit(torch.tensor(1.0 - _PROBABILITY_EDGE, dtype=torch.float64)))


class BatchNorm(nn.Module):
    """Batch normalisation whose running variance is the biased one, as Keras keeps it.

    Args:
        width: numbers of a jet.
        momentum: share of the running values that each batch keeps; 0 takes those of the last batch.
    """

    def __init__(self, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[jets, width]; normalised by the batch in training mode (which moves the running values), else by those."""
        if not self.training:
            return functional.batch_norm(x, self.mean, self.variance, self.gamma, self.beta, False, 0.0, _EPSILON)
        with torch.no_grad():
            variance, mean = torch.var_mean(x, dim=0, unbiased=False)
            self.mean.lerp_(mean, 1 - self.momentum)
            self.variance.lerp_(variance, 1 - self.momentum)
        return functional.batch_norm(x, None, None, self.gamma, self.beta, True, 0.0, _EPSILON)


@domain_loss("adversary")
class Adversary(DomainLoss):
    """[jets, 3] outputs -> [jets] logits that it is data: BN > 24 tanh > BN > 12 tanh > BN > 6 tanh > BN > 1.

    It reads the log-odds of the outputs, where differences near 0 and 1 are seen, or their probabilities.

    It is updated twice on the same control jets before the classifier, whose loss is main loss - weight * its loss.
    There its normalisation is frozen with its weights. With running averages over many updates, which lag behind the
    classifier, a classifier that shifts its outputs makes it confidently wrong; so they are those of its last update,
    unless `adversary_momentum` says otherwise.
    """

    updates = 2
    stages = ("adversary", "control")

    def __init__(self, settings: DomainSettings) -> None:
        super().__init__(settings)
        generator = torch.Generator().manual_seed(settings.seed)
        widths = [OUTPUTS, *WIDTHS]
        self.norms = nn.ModuleList(BatchNorm(width, settings.adversary_momentum) for width in widths)
        self.dense = nn.ModuleList(
            Dense(inputs, units, generator) for inputs, units in zip(widths, [*WIDTHS, 1], strict=True)
        )

    def forward(self, jets: ControlJets) -> Tensor:
        """Logits [jets] that a jet is data."""
        x = jets.log_odds() if self.settings.adversary_input == "log_odds" else jets.logits.softmax(dim=1)
        last = len(self.dense) - 1
        for i, (norm, dense) in enumerate(zip(self.norms, self.dense, strict=True)):
            x = dense(norm(x))
            if i < last:
                x = torch.tanh(x)
        return x[:, 0]

    def update(self, jets: ControlJets, sums: StepSums) -> None:
        """Descends its own loss on all jets at once, since it normalises by the batch."""
        self.train()
        logits = self(jets)
        losses = jets.weight * data_or_simulation_loss(logits, jets.is_data)
        self.descend(losses.mean())
        sums.add("adversary", losses, correct_predictions(logits, jets.is_data))

    def penalty(self, jets: ControlJets, total: int, sums: StepSums) -> Tensor:
        """-weight * its mean loss; the adversary is frozen here, and normalises by the running values."""
        self.eval().requires_grad_(False)
        try:
            logits = self(jets)
        finally:
            self.requires_grad_(True)
        losses = jets.weight * data_or_simulation_loss(logits, jets.is_data)
        sums.add("control", losses, correct_predictions(logits, jets.is_data))
        return -self.settings.weight * (losses.sum() / total)

    def metrics(self, sums: StepSums, validation: ControlJets) -> dict[str, float]:
        """Losses and accuracies under the names of the earlier program's history.

        `adv` normalises by the jets at hand, as in its own update; `original_adv` by the running values, as in the
        classifier's update.
        """
        row, running = dict[str, float](), [value.clone() for value in self.buffers()]
        logits = {"val_adv": self.train(len(validation.logits) > 1)(validation)}
        for value, before in zip(self.buffers(), running, strict=True):
            value.copy_(before)
        logits["val_original_adv"] = self.eval()(validation)
        for name, of_jets in logits.items():
            losses = validation.weight * data_or_simulation_loss(of_jets, validation.is_data)
            row[f"{name}_loss" if name == "val_adv" else f"{name}_lossf"] = float(losses.mean())
            row[f"{name}_acc"] = float(correct_predictions(of_jets, validation.is_data).float().mean())
        row["adv_loss"], row["adv_acc"] = sums.mean("adversary")
        row["original_adv_lossf"], row["original_adv_acc"] = sums.mean("control")
        return row

    def warning(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """Warning in the epoch in which its validation loss, as the classifier's update computes it, passes 2 ln 2.

        -weight * loss has no bound: a network can gain more by making the adversary confidently wrong than by
        classifying.
        """
        losses = [row["val_original_adv_lossf"] for row in history]
        if not losses[-1] > _CONFIDENTLY_WRONG or any(loss > _CONFIDENTLY_WRONG for loss in losses[:-1]):
            return None
        return (
            "the adversary's loss has passed 2 ln 2: it is confidently wrong, and the network is rewarded for that, "
            f"not for classifying; try an adversary_weight below {self.settings.weight:g}"
        )


def data_or_simulation_loss(logits: Tensor, is_data: Tensor) -> Tensor:
    """Binary cross-entropy of each jet, logits [jets] against is_data [jets] (0 or 1), bounded as Keras bounds it."""
    bounded = logits.clamp(-_MAX_LOGIT, _MAX_LOGIT)
    return functional.binary_cross_entropy_with_logits(bounded, is_data, reduction="none")


def correct_predictions(logits: Tensor, is_data: Tensor) -> Tensor:
    """Correct predictions of the adversary, [jets] bool: a probability above 1/2 means data, 1/2 means simulation.

    Args:
        logits: [jets].
        is_data: [jets], 0 or 1 of any type.
    """
    return (logits > 0) == (is_data > 0)

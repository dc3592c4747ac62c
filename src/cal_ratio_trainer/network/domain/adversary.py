"""The adversary: from the classifier's three outputs it guesses whether a multijet is data or simulation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.network.layers import Dense
from cal_ratio_trainer.network.shape import OUTPUTS

WIDTHS = (24, 12, 6)
_MOMENTUM = 0.01
_EPSILON = 1e-3
# Probabilities nearer to 0 or 1 than this are taken as this, as Keras does: the loss of one jet is at most 16.1.
_PROBABILITY_EDGE = 1e-7
_LARGEST_LOGIT = float(torch.logit(torch.tensor(1.0 - _PROBABILITY_EDGE, dtype=torch.float64)))

ADVERSARY_UPDATES = 2
"""How often the adversary is updated on the same control jets before the network is."""


class BatchNorm(nn.Module):
    """Batch normalisation whose running variance is the biased one, as Keras keeps it."""

    def __init__(self, width: int) -> None:
        super().__init__()
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
            self.mean.lerp_(mean, _MOMENTUM)
            self.variance.lerp_(variance, _MOMENTUM)
        return functional.batch_norm(x, None, None, self.gamma, self.beta, True, 0.0, _EPSILON)


class Adversary(nn.Module):
    """[jets, 3] probabilities -> [jets] logits that it is data: BN > 24 tanh > BN > 12 tanh > BN > 6 tanh > BN > 1."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        widths = [OUTPUTS, *WIDTHS]
        self.norms = nn.ModuleList(BatchNorm(width) for width in widths)
        self.dense = nn.ModuleList(
            Dense(inputs, units, generator) for inputs, units in zip(widths, [*WIDTHS, 1], strict=True)
        )

    def forward(self, probabilities: Tensor) -> Tensor:
        """Logits [jets] that a jet is data."""
        x = probabilities
        last = len(self.dense) - 1
        for i, (norm, dense) in enumerate(zip(self.norms, self.dense, strict=True)):
            x = dense(norm(x))
            if i < last:
                x = torch.tanh(x)
        return x[:, 0]


def data_or_simulation_loss(logits: Tensor, is_data: Tensor) -> Tensor:
    """Binary cross-entropy of each jet, logits [jets] against is_data [jets] (0 or 1), bounded as Keras bounds it."""
    bounded = logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
    return functional.binary_cross_entropy_with_logits(bounded, is_data, reduction="none")


def correct_predictions(logits: Tensor, is_data: Tensor) -> Tensor:
    """Where the adversary is right, [jets] bool: a probability above 1/2 means data, exactly 1/2 means simulation.

    Args:
        logits: [jets].
        is_data: [jets], 0 or 1 of any type.
    """
    return (logits > 0) == (is_data > 0)

"""Standardised inputs: an affine map of the inputs of a layer, which can be made part of the layer's weights.

Inputs of the network as `build` scales them have very different spreads (0.05 for the pt of a cluster, 50 for the
number of tracks of a vertex). A training that reads (input - mean) / spread learns faster. With the kernel divided by
the spread, and mean / spread times the kernel subtracted from the bias, a network gives the same outputs from the
inputs as they are: network files and the experiment's software do not change.
"""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cal_ratio_trainer.jets.ragged import FloatArray

_TAIL = 0.005
"""Share of the values on each side that is replaced by the quantile, so that outliers do not widen the spread."""
_MIN_SPREAD = 1e-6


class Standardisation(nn.Module):
    """(x - mean) / spread of the inputs of one layer.

    Args:
        mean, spread: [inputs] float32.
    """

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    @classmethod
    def of_values(cls, values: FloatArray, others: int = 0) -> Self:
        """Mean and standard deviation of each input, with values clipped to the quantiles of 0.5 and 99.5 %.

        Args:
            values: [rows, inputs]; an input that is constant, or has no values, is divided by 1.
            others: number of further inputs, behind these, which are not changed.
        """
        inputs = values.shape[1]
        mean, spread = np.zeros(inputs + others), np.ones(inputs + others)
        if len(values):
            low, high = np.quantile(values, [_TAIL, 1 - _TAIL], axis=0)
            bounded = np.clip(values, low, high).astype(np.float64)
            mean[:inputs], found = bounded.mean(axis=0), bounded.std(axis=0)
            spread[:inputs] = np.where(found > _MIN_SPREAD, found, 1.0)
        return cls(*(torch.from_numpy(each.astype(np.float32)) for each in (mean, spread)))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, inputs] -> the same, standardised."""
        return (x - self.mean) / self.spread

    def taken_in(self, kernel: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Kernel and bias that give, from inputs as they are, the outputs of these from standardised inputs.

        Args:
            kernel: [inputs, units].
            bias: [units].
        """
        mean, spread = self._numbers()
        scaled = kernel / spread[:, None]
        return scaled.astype(np.float32), (bias - mean @ scaled).astype(np.float32)

    def taken_out(self, kernel: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The inverse of `taken_in`."""
        mean, spread = self._numbers()
        return (kernel * spread[:, None]).astype(np.float32), (bias + mean @ kernel).astype(np.float32)

    def _numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.mean.cpu().numpy().astype(np.float64), self.spread.cpu().numpy().astype(np.float64)

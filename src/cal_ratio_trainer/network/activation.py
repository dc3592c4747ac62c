"""Bias, ReLU and dropout behind a dense layer as one operation with its gradient; dropout alone behind a recurrence.

Engines that take a chain of layers at once apply it themselves (see `dense_chain`); the others use this module.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cal_ratio_trainer.network.dropout import DropoutKey, DropoutSource, MaskRows, keep_mask
from cal_ratio_trainer.network.engine import Engine


@dataclass(frozen=True)
class Activation:
    """Operations after a layer's kernel: bias, ReLU, then dropout WITHOUT its factor, which the next layer applies.

    Attributes:
        rate: share of elements that is dropped.
        key: of the mask; None drops nothing.
        last_is_empty_slot: the last row is an empty slot's, which goes without dropout. The next layer's factor is for
            rows that have it, so this row is divided by it.
        engine: engine that computes it.
        mask_rows: mask rows of the rows with dropout; None if each has its own.
    """

    rate: float
    key: DropoutKey | None
    last_is_empty_slot: bool
    engine: Engine
    mask_rows: MaskRows | None = None

    @property
    def scale(self) -> float:
        """Factor that the next layer applies to its input."""
        return 1.0 / (1.0 - self.rate) if self.key is not None else 1.0

    def __call__(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """The activated outputs [rows, units] of a layer that reads x [rows, inputs]."""
        rows = len(x) - self.last_is_empty_slot
        if self.engine is Engine.TRITON:
            from cal_ratio_trainer.network.kernels.gpu.activation import finish

            y = torch.mm(x, kernel)
            finish(y, bias, self.key, self.rate, rows, self.mask_rows)
            return y
        y = torch.addmm(bias, x, kernel).clamp_min_(0)
        if self.key is not None:
            y[:rows] *= keep_mask(y[:rows].shape, self.rate, self.key, x.device, self.mask_rows)
            y[rows:] /= self.scale
        return y

    def finished(self, x: Tensor) -> Tensor:
        """ReLU, then dropout with its factor, of [rows, units] with PyTorch's own gradient."""
        if self.key is None:
            return x.relu()
        if self.engine is Engine.TRITON:
            from cal_ratio_trainer.network.kernels.gpu.activation import dropped_by_key

            return dropped_by_key(x.relu(), self.key, self.rate, self.mask_rows) * self.scale
        return x.relu() * keep_mask(x.shape, self.rate, self.key, x.device, self.mask_rows) * self.scale

    def gradient_(self, gradient: Tensor, result: Tensor) -> Tensor:
        """Changes the gradient [rows, units] in place; an element was passed on exactly where the result is positive.

        Returns:
            [units], its sum over the rows: the gradient of the layer's bias.
        """
        rows = len(result) - self.last_is_empty_slot
        if self.engine is Engine.TRITON:
            from cal_ratio_trainer.network.kernels.gpu.activation import gradient_

            return gradient_(gradient, result, 1 / self.scale, rows)
        torch.ops.aten.threshold_backward.grad_input(gradient, result, 0, grad_input=gradient)
        if self.key is not None:
            gradient[rows:] /= self.scale
        return gradient.sum(dim=0)


def dropped(
    x: Tensor, dropout: DropoutSource | None, engine: Engine = Engine.TORCH, rows: MaskRows | None = None
) -> Tensor:
    """Dropout of values of either sign, without its factor: the next layer multiplies with `scale_of(dropout)`.

    Args:
        x: [rows, units].
        dropout: gives the mask; None drops nothing.
        engine: engine that computes it.
        rows: rows of the mask that belong to those of x; None where they are the same.

    Returns:
        [rows, units]; x itself where nothing is dropped.
    """
    if dropout is None or dropout.rate == 0:
        return x
    if engine is Engine.TRITON:
        from cal_ratio_trainer.network.kernels.gpu.activation import dropped_by_key

        return dropped_by_key(x, dropout.key(), dropout.rate, rows)
    return x * dropout.keep(x.shape, rows)

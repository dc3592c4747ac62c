"""Dense layers with weights in Keras' layout and Keras' initial values, and what follows them: bias, ReLU and dropout.

Engines that take a chain of layers at once apply these themselves (see `dense_chain`); others use `Activation`.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


def glorot_uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Uniform in +-sqrt(6 / (rows + columns)), [rows, columns] float32. Source: Glorot and Bengio 2010."""
    limit = math.sqrt(6.0 / (rows + columns))
    kernel = torch.empty(rows, columns)
    kernel.uniform_(-limit, limit, generator=generator)
    return kernel


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A random matrix with orthonormal rows, [rows, columns] float32, columns >= rows. Source: Saxe et al. 2013."""
    normal = torch.empty(columns, rows).normal_(generator=generator)
    q, r = torch.linalg.qr(normal)
    signed: Tensor = q * torch.sign(torch.diagonal(r))
    return signed.t().contiguous()


class Dense(nn.Module):
    """x @ kernel + bias, kernel [inputs, units]."""

    def __init__(self, inputs: int, units: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kernel = nn.Parameter(glorot_uniform(inputs, units, generator))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, inputs] -> [rows, units]."""
        return torch.addmm(self.bias, x, self.kernel)


class LstmWeights(Dense):
    """The weights of one LSTM layer; gates in the order i f c o, forget bias 1. As a dense layer it gives the gates."""

    def __init__(self, inputs: int, units: int, generator: torch.Generator) -> None:
        super().__init__(inputs, 4 * units, generator)
        self.recurrent_kernel = nn.Parameter(orthogonal(units, 4 * units, generator))
        with torch.no_grad():
            self.bias[units : 2 * units] = 1.0


def flattened(weights: Sequence[Tensor]) -> Tensor:
    """Kernel and bias of each layer, one behind the other."""
    return torch.cat([weight.detach().reshape(-1) for weight in weights])


def offsets_of(widths: Sequence[int]) -> list[int]:
    """Offsets of each layer's kernel, and the end; from the widths of the input and of each layer's output."""
    sizes = (inputs * units + units for inputs, units in itertools.pairwise(widths))
    return list(itertools.accumulate(sizes, initial=0))


def apart(flat: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Kernel and bias of each layer, as views."""
    shapes = [shape for inputs, units in itertools.pairwise(widths) for shape in ((inputs, units), (units,))]
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

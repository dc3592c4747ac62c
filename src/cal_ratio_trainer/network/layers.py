"""Dense layers with weights in Keras' layout and Keras' initial values; weights of a chain of them in one tensor."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


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

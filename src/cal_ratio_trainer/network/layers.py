"""Dense layers with weights in Keras' layout and Keras' initial values."""

import math

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

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """[rows, inputs] -> [rows, units]; the input counts `scale` times (a dropout's factor, put off until here)."""
        return torch.addmm(self.bias, x, self.kernel if scale == 1.0 else self.kernel * scale)


class LstmWeights(nn.Module):
    """The weights of one LSTM layer; gates in the order i f c o, forget bias 1."""

    def __init__(self, inputs: int, units: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kernel = nn.Parameter(glorot_uniform(inputs, 4 * units, generator))
        self.recurrent_kernel = nn.Parameter(orthogonal(units, 4 * units, generator))
        bias = torch.zeros(4 * units)
        bias[units : 2 * units] = 1.0
        self.bias = nn.Parameter(bias)

    @property
    def units(self) -> int:
        """Width of the hidden state."""
        return self.recurrent_kernel.shape[0]

    def gates(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Gate inputs [4 units, rows] of inputs [rows, inputs], transposed as the recurrence reads them."""
        kernel = self.kernel if scale == 1.0 else self.kernel * scale
        return torch.addmm(self.bias[:, None], kernel.t(), x.t())

"""Kernels and biases of a chain of dense layers in one flat tensor, as compiled loops read them."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


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

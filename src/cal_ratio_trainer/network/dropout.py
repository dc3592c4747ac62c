"""ReLU and dropout in one, with random bits that depend only on the seed and the step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

_LEVELS = 1 << 16


class DropoutSource:
    """Draws which elements are dropped, each with probability `rate` (in steps of 1/65536).

    The same seed words give the same masks on one kind of device. On a CPU numpy's SFC64 draws them, four elements a
    64-bit word: torch's own dropout takes ten times as long and was a third of a training step.
    """

    def __init__(self, rate: float, seed: Sequence[int], device: torch.device) -> None:
        self.rate = rate
        self._dropped_below = round(rate * _LEVELS) - _LEVELS // 2
        self._device = device
        sequence = np.random.SeedSequence(list(seed))
        if device.type == "cpu":
            self._bits = np.random.Generator(np.random.SFC64(sequence))
        else:
            self._generator = torch.Generator(device).manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))

    @property
    def scale(self) -> float:
        """What kept elements are multiplied with so that the mean stays: 1 / (1 - rate)."""
        return 1.0 / (1.0 - self.rate)

    def keep(self, shape: torch.Size) -> Tensor:
        """A bool tensor, true where an element stays."""
        elements = shape.numel()
        if self._device.type == "cpu":
            words = (elements + 3) // 4
            bits = self._bits.integers(0, 1 << 64, size=words, dtype=np.uint64).view(np.int16)[:elements]
            return torch.from_numpy(bits >= self._dropped_below).view(shape)
        return random_halves(elements, self._generator).view(shape).ge(self._dropped_below)


def random_halves(elements: int, generator: torch.Generator) -> Tensor:
    """Uniform int16 numbers [elements] on the generator's device, drawn two at a time."""
    words = (elements + 1) // 2
    drawn = torch.randint(
        -(1 << 31), 1 << 31, (words,), generator=generator, device=generator.device, dtype=torch.int32
    )
    return drawn.view(torch.int16)[:elements]


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, keep: Tensor) -> Tensor:
        result = x.clamp_min(0).mul_(keep)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        # An element was passed on exactly where the result is positive.
        (result,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.ops.aten.threshold_backward(gradient, result, 0), None


def relu_dropout(x: Tensor, dropout: DropoutSource | None) -> Tensor:
    """ReLU, then dropout WITHOUT its factor: the next layer must multiply with `scale_of(dropout)`.

    Args:
        x: any shape.
        dropout: None in inference: ReLU alone.
    """
    if dropout is None or dropout.rate == 0:
        return torch.relu(x)
    result: Tensor = _ReluDropout.apply(x, dropout.keep(x.shape))  # type: ignore[no-untyped-call]
    return result


def dropped(x: Tensor, dropout: DropoutSource | None) -> Tensor:
    """Dropout of values of either sign, again without its factor."""
    return x if dropout is None or dropout.rate == 0 else x * dropout.keep(x.shape)


def scale_of(dropout: DropoutSource | None) -> float:
    """The factor that `relu_dropout` and `dropped` leave to the next layer."""
    return 1.0 if dropout is None else dropout.scale

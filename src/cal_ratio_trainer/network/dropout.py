"""Dropout masks: random bits that depend only on the seed and the step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.network.engine import on_device

_LEVELS = 1 << 16


@dataclass(frozen=True)
class DropoutKey:
    """Fixes the mask of one layer in one step: two words of 32 bits."""

    words: tuple[int, int]

    def on(self, device: torch.device) -> Tensor:
        """Both words on a device, [2] int32, without waiting for it."""
        return on_device(self.as_array().view(np.int32), device)

    @property
    def seed(self) -> int:
        """Both words as one number."""
        return self.words[0] << 32 | self.words[1]

    def as_array(self) -> NDArray[np.uint32]:
        """Both words, [2]."""
        return np.array(self.words, dtype=np.uint32)


@dataclass(frozen=True)
class MaskRows:
    """Mask rows of a share of a mini-batch: masks do not depend on the distribution of jets over processes.

    Attributes:
        numbers: [rows of the share] int64, where its values lie.
        whole: number of rows of the whole mini-batch.
    """

    numbers: Tensor
    whole: int


def drop_below(rate: float) -> int:
    """An element is dropped where its 16 random bits are below this."""
    return round(rate * _LEVELS)


@dataclass(frozen=True)
class StoredKey(DropoutKey):
    """A key that lies on the device already, [2] int32: it may change there under a graph that was recorded."""

    words: tuple[int, int] = (0, 0)
    stored: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.int32))

    @property
    def seed(self) -> int:
        """Both words as one number; this waits for the device."""
        first, second = self.as_array().tolist()
        return int(first) << 32 | int(second)

    def as_array(self) -> NDArray[np.uint32]:
        """Both words, [2]; this waits for the device."""
        on_host: NDArray[np.uint32] = self.stored.numpy(force=True).view(np.uint32)
        return on_host

    def on(self, device: torch.device) -> Tensor:
        """Both words where they lie."""
        return self.stored


class DropoutSource:
    """Gives each dropout layer of a step a mask of its own, each element dropped with probability `rate`.

    The same seed words give the same masks on one engine and kind of device.
    """

    def __init__(self, rate: float, seed: Sequence[int], device: torch.device) -> None:
        self.rate = rate
        self._device = device
        self._keys = np.random.Generator(np.random.SFC64(np.random.SeedSequence(list(seed))))

    @property
    def scale(self) -> float:
        """Factor of kept elements that conserves the mean: 1 / (1 - rate)."""
        return 1.0 / (1.0 - self.rate)

    def key(self) -> DropoutKey:
        """The key of the next layer."""
        first, second = self.words(1)[0].tolist()
        return DropoutKey((first, second))

    def words(self, layers: int) -> NDArray[np.uint32]:
        """Both words of the keys of the next layers, [layers, 2]."""
        return self._keys.integers(0, 1 << 32, size=(layers, 2), dtype=np.uint32)

    def keep(self, shape: torch.Size, rows: MaskRows | None = None) -> Tensor:
        """The mask of the next layer as bool tensor, true where an element stays; in steps of 1/65536."""
        return keep_mask(shape, self.rate, self.key(), self._device, rows)


class StoredDropout(DropoutSource):
    """Gives each dropout layer of a step the next row of a table of keys on the device.

    Args:
        rate: share of elements that is dropped.
        keys: [layers, 2] int32.
    """

    def __init__(self, rate: float, keys: Tensor) -> None:
        self.rate = rate
        self._device = keys.device
        self._left = iter(keys.unbind())

    def key(self) -> StoredKey:
        """The key of the next layer."""
        return StoredKey(stored=next(self._left))


def keep_mask(
    shape: torch.Size, rate: float, key: DropoutKey, device: torch.device, rows: MaskRows | None = None
) -> Tensor:
    """A mask by its key, true where an element stays; of a share of a mini-batch its rows of the whole one's mask.

    On a CPU numpy's SFC64 draws it, four elements a 64-bit word: torch's own dropout takes ten times as long.
    """
    if rows is not None:
        return keep_mask(torch.Size((rows.whole, *shape[1:])), rate, key, device)[rows.numbers]
    elements, dropped_below = shape.numel(), drop_below(rate) - _LEVELS // 2
    if device.type == "cpu":
        bits = np.random.Generator(np.random.SFC64(key.seed))
        words = bits.integers(0, 1 << 64, size=(elements + 3) // 4, dtype=np.uint64)
        return torch.from_numpy(words.view(np.int16)[:elements] >= dropped_below).view(shape)
    generator = torch.Generator(device).manual_seed(key.seed >> 1)
    return random_halves(elements, generator).view(shape).ge(dropped_below)


def random_halves(elements: int, generator: torch.Generator) -> Tensor:
    """Uniform int16 numbers [elements] on the generator's device, drawn two at a time."""
    words = (elements + 1) // 2
    drawn = torch.randint(
        -(1 << 31), 1 << 31, (words,), generator=generator, device=generator.device, dtype=torch.int32
    )
    return drawn.view(torch.int16)[:elements]


def scale_of(dropout: DropoutSource | None) -> float:
    """The factor that layers with dropout leave to the next layer."""
    return 1.0 if dropout is None else dropout.scale

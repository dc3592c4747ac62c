"""What the kernels for graphics cards have room for; to be asked where Triton itself is not needed."""

import itertools
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_MOST_LAYERS, _MOST_UNITS, _MOST_WEIGHTS = 6, 64, 8192
"""Of a chain of dense layers in the registers of a program: layers, width of one, weights of all, filled up."""

_LEAST_TRITON = (3, 5)
"""Older ones do not compile kernels of any number of layers."""


def filled_up(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths as the matrix unit takes them: powers of two, at least 16."""
    return tuple(max(16, 1 << (width - 1).bit_length()) for width in widths)


def chain_fits(widths: Sequence[int]) -> bool:
    """True where one kernel takes a chain of dense layers, by the widths of its input and of each layer's output.

    An H100's registers were looked at; a Triton older than 3.5 takes none.
    """
    weights = sum(inputs * units for inputs, units in itertools.pairwise(filled_up(widths)))
    small = len(widths) - 1 <= _MOST_LAYERS and max(widths) <= _MOST_UNITS and weights <= _MOST_WEIGHTS
    return small and _triton() >= _LEAST_TRITON


@cache
def _triton() -> tuple[int, int]:
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(major), int(minor)

"""Runs compiled loops over tiles on as many threads as PyTorch has."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

_FEWEST_TILES = 2
"""Below this many tiles a thread, handing out work costs more than it saves."""


def ranges(tiles: int) -> int:
    """In how many ranges so many tiles are shared out."""
    return max(1, min(torch.get_num_threads(), tiles // _FEWEST_TILES))


def over_tiles(kernel: Callable[..., None], tiles: int, *arguments: Any) -> None:
    """Call `kernel((first, behind the last, number), *arguments)` on numbered ranges that together are all tiles."""
    threads = ranges(tiles)
    edges = [tiles * thread // threads for thread in range(threads + 1)]
    its = [(first, behind, number) for number, (first, behind) in enumerate(itertools.pairwise(edges))]
    others = [_pool(threads).submit(kernel, each, *arguments) for each in its[1:]]
    kernel(its[0], *arguments)
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tiles")

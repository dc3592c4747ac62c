"""Runs compiled loops over tiles on as many threads as PyTorch has."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

_FEWEST_TILES = 2
"""Below this many tiles a thread, handing out work costs more than it saves."""


def over_tiles(kernel: Callable[..., None], tiles: int, *arguments: Any) -> None:
    """Call `kernel((first, behind the last), *arguments)` on ranges that together are all tiles."""
    threads = max(1, min(torch.get_num_threads(), tiles // _FEWEST_TILES))
    edges = [tiles * thread // threads for thread in range(threads + 1)]
    others = [_pool(threads).submit(kernel, its, *arguments) for its in itertools.pairwise(edges[1:])]
    kernel((edges[0], edges[1]), *arguments)
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tiles")

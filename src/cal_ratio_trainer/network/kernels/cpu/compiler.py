"""Compilation of the CPU engine's loops by numba.

Imported only when they are used: importing numba takes half a second. Kernels release the interpreter's lock, so
that threads run them side by side on ranges of tiles (see `over_tiles`). The gradients of weights are summed range by
range: with another number of threads they differ by rounding, and nothing else does. Kernels are compiled once and
kept on disk; the first time takes some seconds.

A kernel on disk is made anew when its own file changes, but not when the file of a function that it calls does: all
that a kernel calls is in its file.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from llvmlite import binding
from numba import config, njit

# NaN stays NaN and infinity infinite: a training that diverges has to show.
_MATHS = {"reassoc", "contract", "nsz", "arcp"}


def _take_whole_registers() -> None:
    """Enables vectors of 512 bits on processors that keep their clock speed: since Ice Lake and Zen 4.

    LLVM holds back from them on every processor that slows down for some of them, as the first with AVX-512 do.
    Nothing changes if the user has chosen features, or numba has compiled something before.
    """
    features = binding.get_host_cpu_features()
    if features.get("avx512vbmi2") and config.CPU_FEATURES is None:
        config.CPU_FEATURES = f"{features.flatten()},-prefer-256-bit"


_take_whole_registers()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel, kept on disk."""
    made: Callable[..., Any]
    try:
        made = njit(nogil=True, cache=True, fastmath=_MATHS, error_model="numpy")(function)
    except RuntimeError:
        # There is no folder to keep it in, as in a container that is read-only: it is compiled in every process.
        made = njit(nogil=True, fastmath=_MATHS, error_model="numpy")(function)
    return made


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of kernels."""
    made: Callable[..., Any] = njit(inline="always", fastmath=_MATHS, error_model="numpy")(function)
    return made


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """A larger part of kernels: compiled once for all that call it."""
    made: Callable[..., Any] = njit(nogil=True, fastmath=_MATHS, error_model="numpy")(function)
    return made


_MIN_TILES_PER_THREAD = 2
"""Below this many tiles a thread, handing out work costs more than it saves."""


def ranges(tiles: int) -> int:
    """Number of ranges into which the tiles are divided."""
    return max(1, min(torch.get_num_threads(), tiles // _MIN_TILES_PER_THREAD))


def over_tiles(kernel: Callable[..., None], tiles: int, *arguments: Any) -> None:
    """Calls `kernel((first, behind the last, number), *arguments)` on numbered ranges that together are all tiles."""
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

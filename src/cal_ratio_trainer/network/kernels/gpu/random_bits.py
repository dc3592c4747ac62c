"""The dropout's random bits on a GPU: those of the CPU engine (see `kernels.cpu.dense_loops`)."""

import triton.language as tl

from cal_ratio_trainer.network.kernels.gpu.compiler import compiled

ROWS = 512
"""Rows with one key of the random bits; the CPU engine has the same, so that both draw the same masks."""
_ROWS = tl.constexpr(ROWS)


@compiled
def _scrambled(word):  # type: ignore[no-untyped-def]
    """Every input bit moves every output bit (the finaliser of MurmurHash3, A. Appleby, public domain)."""
    word = word ^ (word >> 16)
    word = word * 0x85EBCA6B
    word = word ^ (word >> 13)
    word = word * 0xC2B2AE35
    return word ^ (word >> 16)


@compiled
def mask_row(row, numbers, rows, NAMED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Which row of the mask each row has: the one that is named, or its own."""
    number = row
    if NAMED:
        number = tl.load(numbers + row, mask=row < rows, other=0)
    return number


@compiled
def random_word(key, row, unit, half):  # type: ignore[no-untyped-def]
    """32 random bits for two elements of a row, `half` columns apart: the same as the CPU engine draws."""
    first, second = tl.load(key).to(tl.uint32, bitcast=True), tl.load(key + 1).to(tl.uint32, bitcast=True)
    tile = row // _ROWS
    seed = _scrambled(first + tile.to(tl.uint32) * 0x9E3779B9) ^ second
    begin = ((row - tile * _ROWS) * half).to(tl.uint32) * 0x9E3779B9 + seed
    return _scrambled(begin + unit.to(tl.uint32) * 0x9E3779B9)

"""Compiles every kernel for graphics cards that need not be there, as a process of its own, and prints what came out.

For capabilities, numbers of units and precisions: `python tests/network/triton_compile.py 80,90 5,10 ieee,tf32`.
"""

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cal_ratio_trainer.network import triton_kernels
from cal_ratio_trainer.network.recurrence_triton import tile_of

_FLOATS = (
    *("gates", "recurrent", "states", "cells", "gradient", "gates_gradient", "sums"),
    *("x", "bias", "result"),
)
_TYPES = {
    **dict.fromkeys(_FLOATS, "*fp32"),
    **dict.fromkeys(("jets", "columns", "slots", "tiles", "state_stride"), "i32"),
    **dict.fromkeys(("rows", "units", "rows_with_dropout", "below"), "i32"),
    **{"places": "*i64", "numbers": "*i64", "key": "*i32", "factor": "fp32"},
}


def compiled(name: str, capability: int, warps: int, **constants: object) -> str:
    """One kernel for one kind of card: registers are the compiler's choice, shared memory is said. [bytes]"""
    kernel = getattr(triton_kernels, name)
    signature = {each: _TYPES.get(each, "constexpr") for each in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    code = len(binary.asm["cubin"])
    return f"{name} sm_{capability} {constants}: {binary.metadata.shared} bytes of shared memory, {code} of code"


def main() -> None:
    """Compile all: for capabilities, numbers of units, and precisions, as the words of the command line say."""
    capabilities, widths, precisions = (word.split(",") for word in sys.argv[1:4])
    for capability in map(int, capabilities):
        for units in map(int, widths):
            padded, block, warps = tile_of(units)
            for precision in precisions:
                sizes = {"UNITS": units, "PADDED": padded, "BLOCK": block, "PRECISION": precision}
                for choice in (False, True):
                    print(compiled("recurrence_forward", capability, warps, **sizes, KEPT=choice))
                    print(compiled("recurrence_backward", capability, warps, **sizes, EVERY=choice))
        for half in (1, 32, 256):
            for named in (False, True):
                print(compiled("relu_dropout", capability, 4, BLOCK_ROWS=16, HALF=half, NAMED=named))
                print(compiled("drop", capability, 4, BLOCK_ROWS=16, HALF=half, NAMED=named))
            print(compiled("relu_dropout_gradient", capability, 4, BLOCK_ROWS=8, WIDTH=2 * half))


if __name__ == "__main__":
    main()

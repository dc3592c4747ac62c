"""Compiles every kernel, as a separate process, for graphics cards that need not exist, and prints the results.

Arguments: capabilities, numbers of units, precisions, e.g. `python .../gpu/compile_all.py 80,90 5,10 ieee,tf32`.
Behind these, 'products' leaves out the kernels of activations alone, which know no precision, 'brief' the registers and
instructions, which take as long to read as half of the kernels to compile, and a branch's name the chains of the other.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cal_ratio_trainer.network.kernels.gpu import activation, dense, recurrence
from cal_ratio_trainer.network.kernels.gpu.activation import OPTIONS
from cal_ratio_trainer.network.kernels.gpu.recurrence import tile_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE

_FLOATS = (
    *("gates", "recurrent", "states", "cells", "gradient", "gates_gradient", "sums"),
    *("x", "bias", "result", "weights", "out"),
)
_TYPES = {
    **dict.fromkeys(_FLOATS, "*fp32"),
    **dict.fromkeys(("jets", "columns", "slots", "tiles", "state_stride"), "i32"),
    **dict.fromkeys(("rows", "inputs", "units", "rows_with_dropout", "below"), "i32"),
    **{"places": "*i64", "numbers": "*i64", "key": "*i32", "keys": "*i32", "factor": "fp32", "scale": "fp32"},
}


def compiled(kernel: Any, capability: int, warps: int, *, stages: int = 3, **constants: Any) -> str:
    """One kernel for one kind of card, and its resources."""
    signature = {each: _TYPES.get(each, "constexpr") for each in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = {"num_warps": warps, "num_stages": stages, **OPTIONS}
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    code = binary.asm["cubin"]
    took = f"{binary.metadata.shared} bytes of shared memory, {_registers(code)}{len(code)} of code"
    return f"{kernel.__name__} sm_{capability} {constants}: {took}"


def _registers(code: bytes) -> str:
    """Registers and spilled stack of a thread, and instructions, if Triton includes the tool that reads them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists() or "brief" in sys.argv[4:]:
        return ""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        usage, assembler = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    instructions = len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", assembler, re.MULTILINE))
    return f"{found[1]} registers, {found[2]} bytes of stack, {instructions} instructions, " if found else ""


def main() -> None:
    """Compiles all kernels for the capabilities, numbers of units, and precisions on the command line."""
    capabilities, widths, precisions = (word.split(",") for word in sys.argv[1:4])
    for capability in map(int, capabilities):
        for precision in precisions:
            for units in map(int, widths):
                compile_recurrence(capability, units, precision)
            compile_chains(capability, precision)
        if "products" not in sys.argv[4:]:
            compile_activations(capability)


def compile_recurrence(capability: int, units: int, precision: str) -> None:
    """Compiles forward and backward pass, with and without outputs of every slot."""
    padded, block, warps = tile_of(units)
    sizes: dict[str, Any] = {"UNITS": units, "PADDED": padded, "BLOCK": block, "PRECISION": precision}
    for choice in (False, True):
        print(compiled(recurrence.recurrence_forward, capability, warps, **sizes, KEPT=choice))
        print(compiled(recurrence.recurrence_backward, capability, warps, **sizes, EVERY=choice))


def compile_chains(capability: int, precision: str) -> None:
    """Compiles forward and backward pass for the constituents of the default network."""
    widest, narrowest = DEFAULT_SHAPE.branches[0], DEFAULT_SHAPE.branches[-1]
    named = [branch for branch in (widest, narrowest) if branch.name in sys.argv[4:]]
    for branch in named or (widest, narrowest):
        widths = (branch.inputs, *branch.dense, 4 * branch.lstm_units)
        drops = (False,) + (True,) * (len(branch.dense) - 1)
        sizes: dict[str, Any] = {
            **dense.sizes_of(widths),
            "DROPS": drops,
            "NAMED": False,
            "PRECISION": precision,
        }
        warps = dense.warps_of(precision)
        for kernel, rows in (
            (dense.chain_forward, dense.ROWS_FORWARD),
            (dense.chain_backward, dense.ROWS_BACKWARD),
        ):
            print(compiled(kernel, capability, warps, stages=dense.STAGES, **sizes, BLOCK=rows))


def compile_activations(capability: int) -> None:
    """Compiles the kernels of narrow and wide layers, with and without named rows of the mask."""
    for half in (1, 256):
        for named in (False, True):
            sizes = {"BLOCK_ROWS": 16, "HALF": half, "NAMED": named}
            print(compiled(activation.relu_dropout, capability, 4, **sizes))
            print(compiled(activation.drop, capability, 4, **sizes))
        print(compiled(activation.relu_dropout_gradient, capability, 4, BLOCK_ROWS=8, WIDTH=2 * half))


if __name__ == "__main__":
    main()

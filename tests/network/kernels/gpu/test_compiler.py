"""Compilation of Triton's kernels for graphics cards that need not exist."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


# Not by importing it: Triton decides at that moment whether it interprets (see `tests.network.triton_interpreter`).
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.slow
def test_every_kernel_compiles_for_an_a100_and_an_h100(tmp_path: Path) -> None:
    # A separate process, because this one may use the interpreter instead of the compiler.
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_all.py")
    for words, activations in ((("80", "10", "tf32", "brief", "products"), 0), (("90", "10", "ieee", "brief"), 10)):
        done = subprocess.run(
            [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(" of code") == 4 + 4 + activations

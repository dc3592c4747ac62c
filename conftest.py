"""What must stand before any module is imported: where Triton's kernels run, and what pytest looks through."""

import os
from importlib.util import find_spec
from pathlib import Path

# Read when Triton is first imported, by whichever test: without a card its kernels run in its interpreter.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Triton is for Linux only. Doctests are looked for by importing every module, and these cannot be imported without it.
_NEED_TRITON = ["src/*/network/kernels/gpu/*.py", "tests/network/kernels/gpu/compile_all.py"]
collect_ignore_glob = [] if find_spec("triton") else _NEED_TRITON

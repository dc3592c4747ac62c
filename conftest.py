"""What pytest looks through: not the modules of a library that there is not for every platform."""

from importlib.util import find_spec

# Triton is for Linux only. Doctests are looked for by importing every module, and these cannot be imported without it.
collect_ignore_glob = [] if find_spec("triton") else ["src/*/network/*triton*.py", "tests/network/triton_compile.py"]

"""Runs the tests of numbers as on other processors: with their vector instructions and the code of libraries for them.

Libraries choose their code by the processor when they are loaded; each has a variable that chooses another. A
comparison of numbers whose bound holds on one kind of processor only fails under one of these settings. Settings that
this machine cannot execute are skipped and named. Arguments are passed to pytest.
"""

import os
import subprocess
import sys
import time

from llvmlite import binding

try:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
except ImportError:  # numpy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__

# Engines against each other and against double precision, and sums in other orders.
TESTS = (
    *("tests/network", "tests/evaluation", "tests/formats/test_graph.py", "tests/formats/test_onnx_file.py"),
    *(f"tests/training/test_{name}.py" for name in ("step", "cuda_graph", "triton_step", "optimizers")),
    *(f"tests/training/test_{name}.py" for name in ("domain_loss", "control_regions", "start_from")),
    *("tests/scoring/test_scorer.py", "tests/scoring/test_score.py", "tests/end_to_end/test_old_runs.py"),
    *("tests/real/test_reference_scores.py", "tests/real/test_score.py"),
)
# Compilers for graphics cards compute nothing, and take half a minute.
NOT_OF_NUMBERS = "not every_kernel_compiles and not they_are_compiled_all_the_same"

_VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"),
    *("OPENBLAS_CORETYPE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"),
)
_AVX2 = ("avx2", "fma", "bmi2", "f16c")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_ZEN_4 = (*_AVX512, "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512vpopcntdq", "avx512ifma", "avx512bf16", "gfni")
# By processor: the instructions that the settings need, and the value of each variable. LLVM would use sse4a, which
# only AMD has; MKL uses AVX2 on processors of AMD.
PROCESSORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "this one": ((), ()),
    "x86-64": (("sse4.2",), ("default", "SSE41", "SSE4_2", "Nehalem", "generic", "")),
    "Haswell": (_AVX2, ("avx2", "AVX2", "AVX2", "Haswell", "haswell", "")),
    "Skylake": (_AVX512, ("avx512", "AVX512_CORE", "AVX512", "SkylakeX", "skylake-avx512", "")),
    "Zen 3": (_AVX2, ("avx2", "AVX2", "AVX2", "Zen", "znver3", "-sse4a")),
    "Zen 4": (_ZEN_4, ("avx512", "AVX512_CORE", "AVX2", "SkylakeX", "znver4", "-sse4a,-prefer-256-bit")),
}


def main() -> int:
    """Runs the tests for every processor with one thread and with two, and prints the seconds each; 1 if any failed."""
    here, lines, failed = binding.get_host_cpu_features(), list[str](), False
    for name, (needed, values) in PROCESSORS.items():
        missing = [each for each in needed if not here.get(each)]
        if missing:
            lines.append(f"{name}: skipped, this machine has no {', '.join(missing)}")
            continue
        settings = dict(zip(_VARIABLES, values, strict=True)) if values else {}
        if values:
            settings["NPY_DISABLE_CPU_FEATURES"] = _hidden_from_numpy(needed)
        for threads in (1, 2):
            began = time.monotonic()
            status = _run_tests({**settings, "OMP_NUM_THREADS": str(threads)})
            failed |= status != 0
            verdict = "passed" if status == 0 else "FAILED"
            shown = " ".join(f"{variable}={value}" for variable, value in settings.items()) or "as it is"
            lines.append(f"{name}, {threads} threads: {verdict} in {time.monotonic() - began:.0f} s ({shown})")
            print(f"ci: {lines[-1]}", flush=True)
    print("\n".join(["ci: processors", *lines]))
    return int(failed)


def _run_tests(settings: dict[str, str]) -> int:
    others = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    words = ("-q", "-n", "2", "--dist", "loadfile", "-k", NOT_OF_NUMBERS, *TESTS, *sys.argv[1:])
    command = (sys.executable, "-m", "pytest", *words)
    return subprocess.run(command, env={**others, **settings}, check=False).returncode


def _hidden_from_numpy(needed: tuple[str, ...]) -> str:
    """Names of the instructions of this machine that numpy must not use, if it is to have only those needed."""
    if "avx512f" in needed:
        return ""
    optional = [each for each in __cpu_dispatch__ if __cpu_features__.get(each)]
    return " ".join(each for each in optional if "avx2" not in needed or each.startswith(("AVX512", "X86_V4")))


if __name__ == "__main__":
    sys.exit(main())

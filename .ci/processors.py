"""Runs the tests of numbers as on other processors: with their vector instructions and the code of libraries for them.

Libraries choose their code by the processor when they are loaded; each has a variable that chooses another. A
comparison of numbers whose bound holds on one kind of processor only fails under one of these settings. Settings that
this machine cannot execute are skipped and named. One setting runs per core. Arguments are passed to pytest.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import NamedTuple

from llvmlite import binding

try:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
except ImportError:  # numpy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__

# Engines against each other and against double precision, and sums in other orders.
TESTS = (
    *("tests/network", "tests/evaluation", "tests/formats/test_graph.py", "tests/formats/test_onnx_file.py"),
    *(f"tests/training/test_{name}.py" for name in ("step", "loss", "cuda_graph", "triton_step", "optimizers")),
    *(f"tests/training/test_{name}.py" for name in ("domain_loss", "control_regions", "start_from", "ranks")),
    *("tests/scoring/test_scorer.py", "tests/scoring/test_score.py", "tests/end_to_end/test_old_runs.py"),
    *("tests/real/test_reference_scores.py", "tests/real/test_score.py"),
)
# These compute no numbers: compilers of kernels, files of other processes, signals and errors of processes.
NOT_OF_NUMBERS = (
    *("every_kernel_compiles", "they_are_compiled_all_the_same", "kernels_are_compiled_for_what", "compiles_and_ends"),
    *("another_process_in_another_folder", "a_signal_to", "an_error_of_one_process", "missing_for_all"),
)

_VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"),
    *("OPENBLAS_CORETYPE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"),
)
_AVX2 = ("avx2", "fma", "bmi2", "f16c")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_ZEN_4 = (*_AVX512, "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512vpopcntdq", "avx512ifma", "avx512bf16", "gfni")
# By processor: the instructions that the settings need, and the value of each variable. LLVM would use sse4a, which
# only AMD has; MKL uses AVX2 on processors of AMD. OpenBLAS has the same code for Zen as for Haswell, and its build in
# the packages of numpy and scipy knows that name alone.
PROCESSORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "this one": ((), ()),
    "x86-64": (("sse4.2",), ("default", "SSE41", "SSE4_2", "Nehalem", "generic", "")),
    "Haswell": (_AVX2, ("avx2", "AVX2", "AVX2", "Haswell", "haswell", "")),
    "Skylake": (_AVX512, ("avx512", "AVX512_CORE", "AVX512", "SkylakeX", "skylake-avx512", "")),
    "Zen 3": (_AVX2, ("avx2", "AVX2", "AVX2", "Haswell", "znver3", "-sse4a")),
    "Zen 4": (_ZEN_4, ("avx512", "AVX512_CORE", "AVX2", "SkylakeX", "znver4", "-sse4a,-prefer-256-bit")),
}
# The widest and the narrowest vectors. Threads take another order of sums, whatever the instructions.
TWO_THREADS = ("this one", "x86-64")
# By value of ONEDNN_MAX_CPU_ISA: what oneDNN then reports.
_ONEDNN = {"SSE41": "Intel SSE4.1", "AVX2": "Intel AVX2", "AVX512_CORE": "Intel AVX-512 with AVX512BW"}
# Prints the code that libraries have chosen. All but numba ignore an unknown value.
_PROBE = """
import json, numba, numpy, scipy.linalg, torch, threadpoolctl
numba.njit(lambda x: x + 1)(1)
torch.nn.functional.conv1d(torch.ones(4, 8, 64), torch.ones(8, 8, 3))
blas = {each["architecture"] for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"}
print(json.dumps([torch.backends.cpu.get_cpu_capability(), sorted(blas)]))
"""


class Setting(NamedTuple):
    """Environment variables, with a name to print."""

    name: str
    variables: dict[str, str]


class Result(NamedTuple):
    """End of one run of the tests: exit status, time of the clock, and of processors [s]; what it printed."""

    status: int
    wall_s: float
    cpu_s: float
    output: str


def main() -> int:
    """Runs the tests for every processor and prints the seconds each; 1 if any failed or a setting is not accepted."""
    print("ci:", ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch", "numba")), flush=True)
    begun, here, lines, settings = time.monotonic(), binding.get_host_cpu_features(), list[str](), list[Setting]()
    refused = list[str]()
    for name, (needed, values) in PROCESSORS.items():
        if missing := [each for each in needed if not here.get(each)]:
            lines.append(f"{name}: skipped, this machine has no {', '.join(missing)}")
            continue
        chosen = dict(zip(_VARIABLES, values, strict=True)) if values else {}
        if values:
            refused += [f"{name}: {each}" for each in _not_accepted(chosen)]
            chosen["NPY_DISABLE_CPU_FEATURES"] = _hidden_from_numpy(needed)
        for count in (1, 2) if name in TWO_THREADS else (1,):
            settings.append(Setting(f"{name}, {count} threads", chosen | {"OMP_NUM_THREADS": str(count)}))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(_run_tests, settings)
        for setting, result in zip(settings, results, strict=True):
            verdict = "passed" if result.status == 0 else "FAILED"
            shown = " ".join(f"{name}={value}" for name, value in setting.variables.items())
            lines.append(f"{setting.name}: {verdict} in {result.wall_s:.0f} s, {result.cpu_s:.0f} s of CPU ({shown})")
            print(result.output if result.status else result.output.splitlines()[-1], f"ci: {lines[-1]}", sep="\n")
    print("\n".join(["ci: processors", *lines, *refused, f"ci: {time.monotonic() - begun:.0f} s in all"]))
    return int(bool(refused) or any(": FAILED in" in line for line in lines))


def _run_tests(setting: Setting) -> Result:
    deselected = " and ".join(f"not {name}" for name in NOT_OF_NUMBERS)
    words = ("-q", "-p", "no:cacheprovider", "-k", deselected, *TESTS, *sys.argv[1:])
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        environment = _environment(setting.variables)
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *words], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        # In place of Popen.wait, which does not return the time of the processor.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        cpu_s = usage.ru_utime + usage.ru_stime
        return Result(process.returncode, time.monotonic() - begun, cpu_s, output.read())


def _not_accepted(variables: dict[str, str]) -> list[str]:
    """Variables whose value a library does not know; with a processor that numba does not know, it ends the probe.

    MKL does not report its choice.
    """
    environment = _environment(variables | {"ONEDNN_VERBOSE": "1"})
    probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, check=False, capture_output=True, text=True)
    if probe.returncode:
        return [probe.stderr]
    capability, architectures = json.loads(probe.stdout.splitlines()[-1])
    accepted: dict[str, bool] = {
        "ATEN_CPU_CAPABILITY": capability == variables["ATEN_CPU_CAPABILITY"].upper(),
        "ONEDNN_MAX_CPU_ISA": f"isa:{_ONEDNN[variables['ONEDNN_MAX_CPU_ISA']]}" in probe.stdout,
        "OPENBLAS_CORETYPE": {variables["OPENBLAS_CORETYPE"]}.issuperset(architectures),
    }
    return [f"{name}={variables[name]} is not accepted" for name, right in accepted.items() if not right]


def _environment(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _VARIABLES} | variables


def _hidden_from_numpy(needed: tuple[str, ...]) -> str:
    """Names of the instructions of this machine that numpy must not use, if it is to have only those needed."""
    if "avx512f" in needed:
        return ""
    optional = [each for each in __cpu_dispatch__ if __cpu_features__.get(each)]
    return " ".join(each for each in optional if "avx2" not in needed or each.startswith(("AVX512", "X86_V4")))


if __name__ == "__main__":
    sys.exit(main())

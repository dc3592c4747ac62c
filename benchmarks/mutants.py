"""Do the tests see a wrong formula? Each line of benchmarks/mutants.json makes one formula wrong, and tests must fail.

`python -m benchmarks.mutants` copies the project to temporary folders, applies one mutant at a time there, and runs the
test files that the mutant names. It prints which are killed and how long that took, lists all others, and ends
with status 1 if fewer than 95 % are killed, a text no longer fits the source, or the tests fail without any mutant.
Tests that compare with stored results of old runs are not among the test files. `--only NAME...` runs some, `--check`
only looks whether all texts occur once in their file.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Literal

_ROOT = Path(__file__).resolve().parents[1]
_SOURCE = Path("src/cal_ratio_trainer")
_LIST = Path(__file__).with_suffix(".json")
_ENOUGH = 0.95
_LIMIT_S = 600

_PASSED, _FAILED = 0, 1
"""Exit codes of pytest; all others say that it could not run the tests."""

Outcome = Literal["killed", "SURVIVED", "TIME LIMIT", "NOT TESTED"]


@dataclass(frozen=True)
class Mutant:
    """One wrong formula.

    Attributes:
        name: for `--only`.
        file: below src/cal_ratio_trainer.
        old: text that occurs once in the file.
        new: text in its place.
        tests: files below tests that must notice it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def fault(self, root: Path) -> str | None:
        """Reason why it cannot be applied; None if it can."""
        if missing := [test for test in self.tests if not (root / "tests" / test).exists()]:
            return f"{self.name}: there is no tests/{missing[0]}"
        path = root / _SOURCE / self.file
        count = path.read_text().count(self.old) if path.is_file() else 0
        if count == 1:
            return None
        others = [each for each in (root / _SOURCE).rglob("*.py") if each != path and self.old in each.read_text()]
        moved = "".join(f"; it is in {each.relative_to(root / _SOURCE)}" for each in others)
        return f"{self.name}: {self.file} has {count} times {self.old!r}, expected once{moved}"


def read_mutants() -> list[Mutant]:
    """All mutants, in the order of the file."""
    return [
        Mutant(name, file, old, new, tuple(tests)) for name, file, old, new, *tests in json.loads(_LIST.read_text())
    ]


class Copy:
    """A copy of the project in which tests run."""

    def __init__(self, folder: Path) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=_ROOT,
            check=True,
            capture_output=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (_ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(_ROOT / name, folder / name)
        self.folder = folder
        # Compiled modules and kernels are kept by the time of their file in seconds: each change gets one of its own.
        self._time = time.time() + 10

    def test(self, tests: tuple[str, ...], workers: int = 0) -> int | None:
        """Runs test files up to the first failure; returns pytest's exit code, None after the time limit."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.folder / 'src'}{os.pathsep}{self.folder}",
            "REAL_JETS": "absent",
            "OMP_NUM_THREADS": "1",
        }
        arguments = ["-q", "-x", "-p", "no:cacheprovider", *(["-n", str(workers)] if workers else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments, *(f"tests/{test}" for test in tests)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(_LIMIT_S * (4 if workers else 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None

    def judge(self, mutant: Mutant) -> Outcome:
        """Applies a mutant, runs its tests, and takes it back."""
        path = self.folder / _SOURCE / mutant.file
        original = path.read_text()
        self._write(path, original.replace(mutant.old, mutant.new))
        try:
            code = self.test(mutant.tests)
        finally:
            self._write(path, original)
        if code is None:
            return "TIME LIMIT"
        return "killed" if code == _FAILED else "SURVIVED" if code == _PASSED else "NOT TESTED"

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._time += 2
        os.utime(path, (self._time, self._time))


def main() -> None:
    """Prints the outcome of each mutant, and those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names, or beginnings of names")
    parser.add_argument("--workers", type=int, default=2, help="mutants that are tested at the same time")
    parser.add_argument("--check", action="store_true", help="do not run any tests")
    parser.add_argument("--skip_baseline", action="store_true", help="do not run the tests without mutants first")
    chosen = parser.parse_args()
    mutants = [each for each in read_mutants() if not chosen.only or each.name.startswith(tuple(chosen.only))]
    if not mutants:
        parser.error(f"there is no mutant {' or '.join(chosen.only or [])}")
    if faults := [fault for each in mutants if (fault := each.fault(_ROOT))]:
        raise SystemExit("\n".join([*faults, f"{len(faults)} of {len(mutants)} mutants do not fit the source"]))
    if chosen.check:
        print(f"all {len(mutants)} mutants fit the source")
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        copies: Queue[Copy] = Queue()
        for number in range(chosen.workers):
            copies.put(Copy(Path(name) / str(number)))
        start = time.monotonic()
        if not chosen.skip_baseline:
            copy = copies.get()
            code = copy.test(tuple(sorted({test for each in mutants for test in each.tests})), chosen.workers)
            copies.put(copy)
            if code != _PASSED:
                raise SystemExit("the tests fail without any mutant, or take too long")
            print(f"without mutants all tests pass ({time.monotonic() - start:.0f} s)", flush=True)

        def judged(mutant: Mutant) -> Outcome:
            copy, begun = copies.get(), time.monotonic()
            try:
                outcome = copy.judge(mutant)
            finally:
                copies.put(copy)
            print(f"{outcome:10} {mutant.name} ({time.monotonic() - begun:.0f} s)", flush=True)
            return outcome

        with ThreadPoolExecutor(chosen.workers) as pool:
            outcomes = list(pool.map(judged, mutants))
    killed = outcomes.count("killed")
    print(f"{killed} of {len(mutants)} mutants are killed ({time.monotonic() - start:.0f} s)")
    for mutant, outcome in zip(mutants, outcomes, strict=True):
        if outcome != "killed":
            print(f"{outcome}: {mutant.name}: {mutant.file}: {mutant.old!r} -> {mutant.new!r}")
    raise SystemExit(killed < _ENOUGH * len(mutants))


if __name__ == "__main__":
    main()

"""Time of `cr_trainer --help`, and of Python alone."""

import subprocess
import sys
import time
from statistics import median

from benchmarks.arguments import words

AIM_S = 0.5


def seconds(command: list[str], runs: int) -> list[float]:
    """Wall times of a command. [s]"""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times


def main(runs: int) -> None:
    """Prints smallest and median time of each."""
    calls = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "cr_trainer --help": [sys.executable, "-m", "cal_ratio_trainer", "--help"],
        "cr_trainer train --help": [sys.executable, "-m", "cal_ratio_trainer", "train", "--help"],
    }
    for name, command in calls.items():
        times = seconds(command, runs)
        print(f"{name:24s} smallest {min(times):.3f} s, median {median(times):.3f} s of {runs} runs")
    print(f"aim: cr_trainer --help under {AIM_S} s")


if __name__ == "__main__":
    main(*words(__doc__, runs=10))

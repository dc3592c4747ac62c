"""Speed of simulating the demo: `python -m benchmarks.demo [--jets N] [--workers W]`.

N counts the jets of each of the five classes, so 200000 makes a million jets that convert keeps. Prints time, rate,
size, and the largest memory of a process.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from cal_ratio_trainer.config.convert import DemoSettings
from cal_ratio_trainer.simulation import simulate


def main() -> None:
    """Simulates into a temporary folder and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=20_000, help="jets of each class")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        settings = DemoSettings.make(output_path=Path(folder), jets=given.jets, workers=given.workers)
        summary = simulate(settings)
        seconds = time.perf_counter() - start
        size = sum(file.path.stat().st_size for file in summary.files)
    events = sum(file.events for file in summary.files)
    kind = resource.RUSAGE_CHILDREN if given.workers > 1 else resource.RUSAGE_SELF
    memory = resource.getrusage(kind).ru_maxrss / 1024
    print(f"{summary.jets} jets that convert keeps, {events} events, {len(summary.files)} files, {size / 1e6:.0f} MB")
    print(f"{seconds:.1f} s with {given.workers} processes: {summary.jets / seconds:.0f} jets/s")
    print(f"largest memory of a process: {memory:.0f} MiB")


if __name__ == "__main__":
    main()

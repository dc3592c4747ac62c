"""Speed and memory of comparing training files: `python -m benchmarks.plot_data`."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.converted import write_converted
from benchmarks.memory import peak_bytes
from cal_ratio_trainer.jets import DataType

_MIB = 1 << 20


def compare(path: Path, every_column: bool) -> None:
    """Compares a file with itself; runs in a separate process, whose peak memory is then its own."""
    from cal_ratio_trainer.config.plot import PlotSettings
    from cal_ratio_trainer.plotting.pool import draw_in_parallel
    from cal_ratio_trainer.reporting.jet_file_report import compare_files

    start, before = time.perf_counter(), peak_bytes()
    settings = PlotSettings.make(
        input_files=[f"one={path}", f"two={path}"],
        output_report=path.with_name("report.md"),
        plot_every_column=every_column,
    )
    summary = compare_files(settings, draw_in_parallel)
    rest = time.perf_counter() - start - summary.seconds
    page = summary.page.stat().st_size
    print(
        f"{summary.jets} jets in {summary.seconds:.1f} s ({summary.jets / summary.seconds / 1e3:.0f} k jets/s), "
        f"peak {(peak_bytes() - before) / _MIB:.0f} MiB over what stood before; "
        f"{summary.figures} figures and the page in {rest:.1f} s, page {page / _MIB:.1f} MiB"
    )


def main() -> None:
    """Makes a file of each size, then compares them in another process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jets", nargs="*", type=int, default=[100_000, 1_000_000], help="jets of the file, one or more")
    parser.add_argument("--every-column", action="store_true", help="a figure of each column")
    parser.add_argument("--in", dest="file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file is not None:
        compare(arguments.file, arguments.every_column)
        return
    for jets in arguments.jets:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "jets.parquet"
            write_converted(path, jets, DataType.QCD)
            command = [sys.executable, "-m", "benchmarks.plot_data", "--in", str(path)]
            subprocess.run([*command, "--every-column"] if arguments.every_column else command, check=True)


if __name__ == "__main__":
    main()

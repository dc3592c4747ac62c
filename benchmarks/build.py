"""Speed and memory of building training files."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arguments import words
from benchmarks.converted import write_converted
from benchmarks.memory import peak_bytes
from cal_ratio_trainer.jets import DataType

AIM_PEAK_GIB = 4.0
_GIB = 1 << 30


def build(folder: Path, workers: int) -> None:
    """Builds a main file of the files in a folder; runs in a separate process, whose peak memory is then its own."""
    from cal_ratio_trainer.building import build_training_file
    from cal_ratio_trainer.config.build import BuildSettings

    output = folder / "main.parquet"
    before = peak_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    inputs = [str(folder / "*_in.parquet")]
    summary = build_training_file(BuildSettings.make(input_files=inputs, output_file=output, workers=workers))
    took, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    print(
        f"built {summary.jets} jets in {took:.1f} s: {summary.jets / took / 1e3:.1f} k jets/s, {cpu:.1f} s of processor"
    )
    print(f"file: {output.stat().st_size / _GIB:.2f} GiB")
    print(f"peak memory: {peak_bytes() / _GIB:.2f} GiB, of which {before / _GIB:.2f} GiB stood before")
    if workers > 1:
        others = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{workers} workers: {others.ru_utime + others.ru_stime:.1f} s of processor besides")
        print(f"peak memory of the largest worker: {others.ru_maxrss * 1024 / _GIB:.2f} GiB")
    print(f"aim: 10 million jets under {AIM_PEAK_GIB:g} GiB")


def main(jets: int, workers: int) -> None:
    """Makes inputs, then builds them in another process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for data_type in (DataType.SIGNAL, DataType.QCD, DataType.BIB):
            write_converted(folder / f"{data_type}_in.parquet", jets // 3, data_type)
        subprocess.run([sys.executable, "-m", "benchmarks.build", "--in", str(folder), str(workers)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        build(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*words(__doc__, jets=2_000_000, workers=1))

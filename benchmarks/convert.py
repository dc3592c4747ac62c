"""Speed and memory of converting ntuples."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arguments import words
from benchmarks.memory import peak_bytes

AIM_EVENTS_A_SECOND = 10_000
_MIB = 1 << 20


def simulate(folder: Path, jets: int) -> None:
    """Makes the ntuples of the demo."""
    from cal_ratio_trainer.config.convert import DemoSettings
    from cal_ratio_trainer.simulation import simulate as simulate_demo

    simulate_demo(DemoSettings.make(output_path=folder, jets=jets))


def convert(folder: Path, workers: int) -> None:
    """Converts the demo with its own settings; runs in a separate process, whose peak memory is then its own."""
    from cal_ratio_trainer.config.convert import ConvertSettings
    from cal_ratio_trainer.config.loading import load_settings
    from cal_ratio_trainer.ntuple import convert_files

    os.chdir(folder)
    flags = {"output_path": f"converted_by_{workers}", "workers": workers}
    before, start, start_cpu = peak_bytes(), time.perf_counter(), os.times()
    summary = convert_files(load_settings(ConvertSettings, "convert.yaml", flags))
    wall, end_cpu = time.perf_counter() - start, os.times()
    # Worker processes have ended by now, so their time is included in that of the children.
    cpu = sum(end_cpu[:4]) - sum(start_cpu[:4])
    events, jets = sum(row.events for row in summary.rows), sum(row.jets for row in summary.rows)
    if summary.failed:
        raise SystemExit(f"{len(summary.failed)} files failed, the first: {summary.failed[0].reason}")
    print(
        f"{workers} process{'es' if workers > 1 else ''}: {events} events, {jets} jets of {len(summary.rows)} files in "
        f"{wall:.1f} s: {events / wall / 1e3:.1f} k events/s; {events / cpu / 1e3:.1f} k events/s of processor time"
    )
    print(f"  peak memory of the main process: {peak_bytes() / _MIB:.0f} MiB, {before / _MIB:.0f} MiB stood before")


def main(jets: int) -> None:
    """Simulates, then converts with one and with two processes, each in a new process."""
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name) / "demo", jets)
        for workers in (1, 2):
            words = [sys.executable, "-m", "benchmarks.convert", "--in", str(Path(name) / "demo"), str(workers)]
            subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    print(f"aim: {AIM_EVENTS_A_SECOND / 1e3:g} k events/s of one core")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        convert(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*words(__doc__, jets_of_each_class=40_000))

"""How convert scales with the workers of a local Dask cluster: python -m benchmarks.scaling [FILES [JETS]]."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

WORKERS = (1, 2, 4)


def simulate_files(folder: Path, files: int, jets: int) -> list[str]:
    """Multijet ntuples: some simulated, the others copies of them."""
    from cal_ratio_trainer.config.demo import DemoSettings
    from cal_ratio_trainer.demo import simulate

    demo = simulate(DemoSettings.make(output_path=folder / "demo", jets=jets))
    known = [file.path for file in demo.files if file.data_type == "qcd"]
    names = []
    for number in range(files):
        name = folder / "many" / f"{number:04d}.root"
        name.parent.mkdir(exist_ok=True)
        shutil.copyfile(known[number % len(known)], name)
        names.append(str(name))
    return names


def convert(folder: Path, names: list[str], **given: Any) -> tuple[float, int]:
    """Seconds and events of one conversion of all files."""
    from cal_ratio_trainer.config.convert import ConvertSettings
    from cal_ratio_trainer.ntuple import convert_files

    settings = ConvertSettings.make(input_files=names, data_type="qcd", output_path=folder, **given)
    start = time.perf_counter()
    summary = convert_files(settings)
    if summary.failed:
        raise SystemExit(f"{len(summary.failed)} files failed, the first: {summary.failed[0].reason}")
    return time.perf_counter() - start, sum(row.events for row in summary.rows)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(files: int, jets: int) -> None:
    """Serial, then by clusters of 1, 2 and 4 workers, then by 2 of which one is killed; the results must be equal."""
    from distributed import LocalCluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = simulate_files(folder, files, jets)
        serial, events = convert(folder / "serial", names, scheduler="none")
        expected = contents(folder / "serial")
        print(f"{files} files, {events} events, {os.cpu_count()} cores; one process: {serial:.1f} s", flush=True)
        for workers in (*WORKERS, 2):
            is_killed = (folder / f"dask_{workers}").exists()
            into = folder / (f"dask_{workers}_killed" if is_killed else f"dask_{workers}")
            with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
                address = cluster.scheduler_address
                # What a worker imports once is not what is measured.
                convert(folder / f"first_{into.name}", names[: 2 * workers], scheduler=address)
                if is_killed:
                    threading.Thread(target=kill_one_half_way, args=(cluster, into, files)).start()
                seconds, _ = convert(into, names, scheduler=address)
            same = "equal to the serial result" if contents(into) == expected else "DIFFERENT FROM THE SERIAL RESULT"
            useful = min(workers, os.cpu_count() or 1)
            print(
                f"{workers} workers{', one killed half-way' if is_killed else ''}: {seconds:.1f} s, "
                f"{events / seconds / 1e3:.1f} k events/s, efficiency {serial / seconds / useful:.2f}, "
                f"{1e3 * (seconds * useful - serial) / files:+.0f} ms a file over one process; {same}",
                flush=True,
            )


def kill_one_half_way(cluster: Any, into: Path, files: int) -> None:
    """Kill a worker when half of the files are there."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        pid = next(iter(client.run(os.getpid).values()))
    while len(list(into.glob("*.parquet"))) < files // 2:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 4000)

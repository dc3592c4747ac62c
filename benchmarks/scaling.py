"""Scaling of convert with the workers of a local Dask cluster."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arguments import words

WORKERS = (1, 2, 4, 8)


def simulate_files(folder: Path, files: int, jets: int) -> list[str]:
    """Makes multijet ntuples: some simulated, the others copies of them."""
    from cal_ratio_trainer.config.convert import DemoSettings
    from cal_ratio_trainer.simulation import simulate

    demo = simulate(DemoSettings.make(output_path=folder / "demo", jets=jets))
    known = [file.path for file in demo.files if file.data_type == "qcd"]
    names = []
    for number in range(files):
        name = folder / "many" / f"{number:04d}.root"
        name.parent.mkdir(exist_ok=True)
        shutil.copyfile(known[number % len(known)], name)
        names.append(str(name))
    return names


@dataclass(frozen=True)
class Cost:
    """Time of one conversion of all files.

    Attributes:
        seconds: Wall time.
        processor_s: Processor time of this process and of all workers that survived.
    """

    seconds: float
    processor_s: float
    events: int


def convert(folder: Path, names: list[str], workers_s: Callable[[], float] = float, **given: Any) -> Cost:
    """Converts all files; `workers_s` returns the processor time of the workers so far."""
    from cal_ratio_trainer.config.convert import ConvertSettings
    from cal_ratio_trainer.ntuple import convert_files

    settings = ConvertSettings.make(input_files=names, data_type="qcd", output_path=folder, **given)
    start, start_s = time.perf_counter(), time.process_time() + workers_s()
    summary = convert_files(settings)
    if summary.failed:
        raise SystemExit(f"{len(summary.failed)} files failed, the first: {summary.failed[0].reason}")
    took = time.process_time() + workers_s() - start_s
    return Cost(time.perf_counter() - start, took, sum(row.events for row in summary.rows))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(files: int, jets: int) -> None:
    """Converts serially, by clusters of 1, 2, 4, 8 workers, and with 2, one of which is killed; results must match."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = simulate_files(folder, files, jets)
        serial = convert(folder / "serial", names, scheduler="none")
        expected = contents(folder / "serial")
        print(
            f"{files} files, {serial.events} events, {os.cpu_count()} cores; one process: {serial.seconds:.1f} s, "
            f"{serial.processor_s:.1f} s of processor, {serial.events / serial.processor_s / 1e3:.1f} k events/s of it",
            flush=True,
        )
        for workers in WORKERS:
            measure(folder / f"dask_{workers}", names, workers, serial, expected)
        measure(folder / "dask_killed", names, 2, serial, expected, kill=True)


def measure(
    into: Path, names: list[str], workers: int, serial: Cost, expected: dict[str, bytes], kill: bool = False
) -> None:
    """Converts with a cluster of this many workers, and prints a comparison."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        # Imports of the workers are not measured.
        convert(into.with_name(f"first_{into.name}"), names[: 2 * workers], scheduler=cluster.scheduler_address)
        if kill:
            threading.Thread(target=kill_one_half_way, args=(client, into, len(names))).start()
        cost = convert(
            into,
            names,
            lambda: 0.0 if kill else sum(client.run(time.process_time).values()),
            scheduler=cluster.scheduler_address,
        )
    useful = min(workers, os.cpu_count() or 1)
    said = [f"{workers} workers{', one killed half-way' if kill else ''}: {cost.seconds:.1f} s"]
    said += [f"efficiency {serial.seconds / cost.seconds / useful:.2f} on {useful} cores"]
    if not kill:
        said += [f"{cost.processor_s:.1f} s of processor: {serial.processor_s / cost.processor_s:.2f} of it useful"]
        said += [f"{1e3 * (cost.processor_s - serial.processor_s) / len(names):+.1f} ms of processor a file"]
    said += ["equal to the serial result" if contents(into) == expected else "DIFFERENT FROM THE SERIAL RESULT"]
    print("; ".join(said), flush=True)


def kill_one_half_way(client: Any, into: Path, files: int) -> None:
    """Kills a worker when half of the files exist."""
    pid = next(iter(client.run(os.getpid).values()))
    while len(list(into.glob("*.parquet"))) < files // 2:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*words(__doc__, files=200, jets=4000))

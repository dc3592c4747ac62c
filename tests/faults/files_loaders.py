"""Small files by which processes communicate in shared folders."""

import json
import os
from pathlib import Path

from cal_ratio_trainer.files.leases import Lease, lease_file
from cal_ratio_trainer.files.this_process import ProcessName, this_process
from tests.faults.campaign import Loader
from tests.faults.damage import damaged_text


def _lease(folder: Path) -> Path:
    gone = ProcessName("here", this_process().machine, 2**22 + 1, "1")
    file = lease_file(folder / "a.parquet")
    file.write_text(json.dumps({"id": "0123456789abcdef", **gone.as_json(), "stale_after_s": 120.0}), "utf-8")
    return file


def _take(file: Path) -> None:
    """Takes a lease whose holder has ended or is unknown; only lease files may appear."""
    content = file.read_bytes()
    os.utime(file, (0, 0))
    lease = Lease(file.with_name("a.parquet"))
    lease.take()
    others = [found.name for found in file.parent.parent.rglob("*") if found.name != ".a.parquet.lease"]
    lease.release()
    if set(others) - {"good", "tried"}:
        raise RuntimeError(f"files appeared: {others}")
    file.write_bytes(content)


def _scheduler_file(folder: Path) -> Path:
    file = folder / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "id": "Scheduler-1", "address": "tcp://127.0.0.1:8786"}), "utf-8")
    return file


def _read_scheduler_file(file: Path) -> None:
    from cal_ratio_trainer.workers.dask_cluster import scheduler_address_in

    scheduler_address_in(file)


FILES_LOADERS: dict[str, Loader] = {
    "lease": Loader(_lease, _take, damaged_text),
    "scheduler file": Loader(_scheduler_file, _read_scheduler_file, damaged_text),
}

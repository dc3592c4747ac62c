"""Leases: one holder at a time, heartbeats, and what is left by holders that are gone."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cal_ratio_trainer.files import leases as leases_module
from cal_ratio_trainer.files.leases import Lease, Leases, lease_file, leased
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

HOLD = """
import sys
from pathlib import Path
from cal_ratio_trainer.files.leases import Leases
with Leases(float(sys.argv[2])) as leases:
    print(leases.take(Path(sys.argv[1])) is not None, flush=True)
    sys.stdin.read()
"""


def left_behind(path: Path, age_s: float, timeout: float = 1.0, holder: ProcessName | None = None) -> Path:
    """A lease that somebody on another machine has not renewed for a while."""
    holder = holder or ProcessName("elsewhere", "another machine", 1, "1")
    file = lease_file(path)
    file.write_text(json.dumps({"id": "0123", **holder.as_json(), "stale_after_s": timeout}))
    then = time.time() - age_s
    os.utime(file, (then, then))
    return file


def names_in(folder: Path) -> list[str]:
    """All files, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_lease_says_who_holds_it_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    with Leases() as leases:
        lease = leases.take(path)
        assert lease is not None
        said = json.loads(lease_file(path).read_text())
        assert (said["process"], said["host"]) == (os.getpid(), this_process().host)
        assert leases.take(path) is None
        leases.release(lease)
        assert names_in(path.parent) == []
        assert leases.take(path) is not None
    assert names_in(path.parent) == []


def test_the_heartbeat_keeps_a_lease_beyond_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with Leases(timeout=1) as leases, Leases(timeout=1) as others:
        lease = leases.take(path)
        assert lease is not None
        first = lease_file(path).stat().st_mtime_ns
        for _ in range(8):
            time.sleep(0.25)
            assert others.take(path) is None
        assert lease_file(path).stat().st_mtime_ns > first
        assert not lease.lost


def test_a_lease_of_a_machine_that_gives_no_sign_of_life_is_taken_over_after_a_watch(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    left_behind(path, age_s=1000)
    with Leases(timeout=1) as leases:
        assert leases.take(path) is None
        assert leases.is_suspect(path)
        time.sleep(leases.watch_s + 0.1)
        assert leases.take(path) is not None
        assert not leases.is_suspect(path)
        assert names_in(tmp_path) == [".a.parquet.lease"]
    assert names_in(tmp_path) == []


def test_a_holder_whose_clock_is_wrong_keeps_its_lease_as_long_as_it_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with Leases(timeout=1) as leases:
        for age_s in (1000.0, 999.8, 999.6, 999.4):
            left_behind(path, age_s)
            assert leases.take(path) is None
            time.sleep(leases.watch_s * 0.8)


def test_a_lease_is_good_for_as_long_as_its_holder_says(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    left_behind(path, age_s=1000, timeout=5000)
    with Leases(timeout=1) as leases:
        assert leases.take(path) is None
        assert not leases.is_suspect(path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the machine does not tell when a process started")
def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    words = [sys.executable, "-c", HOLD, str(path), "600"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with leased(path) as lease:
            assert lease is None
        other.kill()
    with leased(path) as lease:
        assert lease is not None


def test_a_number_that_another_process_has_by_now_does_not_count() -> None:
    me = this_process()
    assert not is_gone(me)
    if me.start:
        assert is_gone(ProcessName(me.host, me.machine, me.pid, me.start + "1"))
    assert not is_gone(ProcessName(me.host, "another machine", me.pid, me.start + "1"))


def test_of_many_that_take_over_a_stale_lease_one_wins(tmp_path: Path) -> None:
    gone = ProcessName("here", this_process().machine, 2**22 + 1, "1")
    for number in range(20):
        path = tmp_path / f"{number}.parquet"
        left_behind(path, age_s=1000, holder=gone)
        won: list[Lease] = []
        start = threading.Barrier(8)

        def compete(path: Path = path, won: list[Lease] = won, start: threading.Barrier = start) -> None:
            leases = Leases(timeout=60)
            start.wait()
            lease = leases.take(path)
            if lease is not None:
                won.append(lease)

        threads = [threading.Thread(target=compete) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert json.loads(lease_file(path).read_text())["process"] == os.getpid()
    assert names_in(tmp_path) == sorted(f".{number}.parquet.lease" for number in range(20))


def test_a_takeover_during_which_somebody_died_does_not_block_the_file(tmp_path: Path) -> None:
    gone = ProcessName("here", this_process().machine, 2**22 + 1, "1")
    path = tmp_path / "a.parquet"
    file = left_behind(path, age_s=1000, holder=gone)
    guard = file.with_name(f"{file.name}.0123")
    guard.write_text(json.dumps({"id": "4567", **gone.as_json(), "stale_after_s": 1.0}))
    with Leases(timeout=60) as leases:
        assert leases.take(path) is not None
        assert names_in(tmp_path) == [".a.parquet.lease"]


def test_who_lost_a_lease_knows_it_and_does_not_remove_that_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with Leases(timeout=1) as leases:
        lease = leases.take(path)
        assert lease is not None
        successor = left_behind(path, age_s=0)
        time.sleep(2.5 * leases.timeout / leases_module.HEARTBEATS)
        assert lease.lost
        leases.release(lease)
        assert successor.exists()


def test_what_somebody_left_who_died_before_it_was_written_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    file = left_behind(path, age_s=1000)
    file.write_text("")
    os.utime(file, (time.time() - 1000,) * 2)
    with leased(path, timeout=1) as lease:
        assert lease is not None

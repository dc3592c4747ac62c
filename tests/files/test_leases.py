"""Leases: one holder at a time, heartbeats, and leases of holders that have ended."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.files import leases as leases_module
from cal_ratio_trainer.files.atomic import create
from cal_ratio_trainer.files.leases import Lease, is_leased, lease_file, leased
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process

GONE = ProcessName("here", this_process().machine, 2**22 + 1, "1")

HOLD = """
import sys
from pathlib import Path
from cal_ratio_trainer.files.leases import Lease
print(Lease(Path(sys.argv[1]), float(sys.argv[2])).take(), flush=True)
sys.stdin.read()
"""


def abandoned_lease(path: Path, age_s: float, timeout: float = 1.0, holder: ProcessName | None = None) -> Path:
    """Lease that a process on another machine has not renewed for some time."""
    holder = holder or ProcessName("elsewhere", "another machine", 1, "1")
    file = lease_file(path)
    file.write_text(json.dumps({"id": "0123", **holder.as_json(), "stale_after_s": timeout}))
    then = time.time() - age_s
    os.utime(file, (then, then))
    return file


def names_in(folder: Path) -> list[str]:
    """Names of all files, including hidden ones."""
    return sorted(path.name for path in folder.iterdir())


def test_a_lease_says_who_holds_it_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    lease = Lease(path)
    assert lease.take()
    said = json.loads(lease_file(path).read_text())
    assert (said["process"], said["host"]) == (os.getpid(), this_process().host)
    assert not Lease(path).take()
    lease.release()
    assert names_in(path.parent) == []
    assert lease.take()
    lease.release()
    assert names_in(path.parent) == []


def test_the_heartbeat_keeps_a_lease_beyond_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    other = Lease(path, timeout=1)
    with leased(path, timeout=1) as lease:
        assert lease is not None
        first = lease_file(path).stat().st_mtime_ns
        for _ in range(8):
            time.sleep(0.25)
            assert not other.take()
        assert lease_file(path).stat().st_mtime_ns > first
        assert not lease.is_lost()


def test_a_lease_of_a_machine_that_gives_no_sign_of_life_is_taken_over_after_a_watch(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    abandoned_lease(path, age_s=1000)
    lease = Lease(path, timeout=1)
    assert not lease.take()
    assert lease.is_watched
    time.sleep(lease.watch_s + 0.1)
    assert lease.take()
    assert not lease.is_watched
    assert names_in(tmp_path) == [".a.parquet.lease"]
    lease.release()
    assert names_in(tmp_path) == []


def test_a_holder_whose_clock_is_wrong_keeps_its_lease_as_long_as_it_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    lease = Lease(path, timeout=1)
    for age_s in (1000.0, 999.8, 999.6, 999.4):
        abandoned_lease(path, age_s)
        assert not lease.take()
        time.sleep(lease.watch_s * 0.8)


def test_a_lease_is_good_for_as_long_as_its_holder_says(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    abandoned_lease(path, age_s=1000, timeout=5000)
    lease = Lease(path, timeout=1)
    assert not lease.take()
    assert not lease.is_watched


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


def test_a_process_of_which_the_system_tells_nothing_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    me = this_process()
    monkeypatch.setattr("cal_ratio_trainer.files.this_process._state_and_start", lambda pid: ("", ""))
    assert not is_gone(me)


def test_a_number_that_another_process_has_by_now_does_not_count() -> None:
    me = this_process()
    assert not is_gone(me)
    if me.start:
        assert is_gone(ProcessName(me.host, me.machine, me.pid, me.start + "1"))
    assert not is_gone(ProcessName(me.host, "another machine", me.pid, me.start + "1"))


def test_of_many_that_take_over_a_stale_lease_one_has_it_and_the_others_know(tmp_path: Path) -> None:
    # Leases of processes that have ended are swept when a folder is first used.
    with leased(tmp_path / "swept"):
        pass
    for number in range(10):
        path = tmp_path / f"{number}.parquet"
        won: list[Lease] = []
        start = threading.Barrier(8)

        def compete(path: Path = path, won: list[Lease] = won, start: threading.Barrier = start) -> None:
            lease = Lease(path)
            start.wait()
            if lease.take():
                won.append(lease)

        abandoned_lease(path, age_s=1000, holder=GONE)
        threads = [threading.Thread(target=compete) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [lease.is_lost() for lease in won].count(False) == 1
        assert json.loads(lease_file(path).read_text())["process"] == os.getpid()


def test_a_process_that_was_suspended_while_it_replaced_a_lease_knows_that_it_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    with leased(tmp_path / "swept"):
        abandoned_lease(path, age_s=0, holder=GONE)
    look, faster, slower = leases_module._look, Lease(path), Lease(path)
    is_suspended = iter((False, True))

    def look_and_be_suspended(file: Path) -> Any:
        seen = look(file)
        if next(is_suspended):
            monkeypatch.setattr(leases_module, "_look", look)
            assert faster.take()
        return seen

    monkeypatch.setattr(leases_module, "_look", look_and_be_suspended)
    assert slower.take()
    assert faster.is_lost()
    slower.release()
    faster.release()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("call", ["open", "link"])
def test_a_process_that_ends_while_it_makes_a_lease_leaves_none_without_content(tmp_path: Path, call: str) -> None:
    path = tmp_path / "a.parquet"
    process = os.fork()
    if process == 0:
        made, name = getattr(os, call), lease_file(path).name

        def last_call(*given: Any, **more: Any) -> Any:
            result = made(*given, **more)
            if any(Path(str(each)).name == name for each in given):
                os._exit(9)
            return result

        setattr(os, call, last_call)
        Lease(path).take()
        os._exit(0)
    os.waitpid(process, 0)
    with leased(path) as lease:
        assert lease is not None


def test_leases_work_on_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*names: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    test_a_lease_says_who_holds_it_and_is_gone_afterwards(tmp_path)


def test_a_link_that_a_file_server_made_and_denied_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def linked_twice(old: Path, new: Path) -> None:
        link(old, new)
        link(old, new)

    monkeypatch.setattr(os, "link", linked_twice)
    with leased(tmp_path / "a.parquet") as lease:
        assert lease is not None


def test_who_lost_a_lease_knows_it_and_does_not_remove_that_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    lease = Lease(path, timeout=1)
    assert lease.take()
    successor = abandoned_lease(path, age_s=100)
    time.sleep(2.5 / leases_module.HEARTBEATS)
    assert lease.is_lost()
    lease.release()
    assert time.time() - successor.stat().st_mtime > 99
    successor.unlink()
    assert lease.is_lost()


def test_what_somebody_left_who_died_before_it_was_written_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    file = abandoned_lease(path, age_s=1000)
    file.write_text("")
    os.utime(file, (time.time() - 1000,) * 2)
    with leased(path, timeout=1) as lease:
        assert lease is not None


def is_acquired(path: Path, patience_s: float = 4.0) -> bool:
    """True if a lease is obtained, at once or after a watch."""
    lease, until = Lease(path, timeout=1), time.monotonic() + patience_s
    while not lease.take():
        if not lease.is_watched or time.monotonic() > until:
            return False
        time.sleep(0.02)
    lease.release()
    return True


@pytest.mark.parametrize("age_s", [0.0, 1000.0])
@pytest.mark.parametrize("target", ["never/there", "precious", ".a.parquet.lease"])
def test_a_link_in_the_place_of_a_lease_is_not_followed(tmp_path: Path, target: str, age_s: float) -> None:
    (tmp_path / "precious").write_text("kept")
    path = tmp_path / "a.parquet"
    lease_file(path).symlink_to(tmp_path / target)
    then = time.time() - age_s
    os.utime(lease_file(path), (then, then), follow_symlinks=False)
    assert is_acquired(path) == (age_s > 0)
    assert (tmp_path / "precious").read_text() == "kept"
    assert lease_file(path).is_symlink() == (age_s == 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the machine has no named pipes")
def test_a_pipe_in_the_place_of_a_lease_does_not_stop_the_program(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    os.mkfifo(lease_file(path))
    assert not is_acquired(path)
    os.utime(lease_file(path), (0, 0))
    assert is_acquired(path)


def test_a_folder_in_the_place_of_a_lease_is_named(tmp_path: Path) -> None:
    lease_file(tmp_path / "a.parquet").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        is_acquired(tmp_path / "a.parquet")
    assert error.value.filename == str(lease_file(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    "odd",
    [
        *('"stale_after_s": NaN', '"stale_after_s": 1e999', '"stale_after_s": -5', '"stale_after_s": null'),
        *('"process": 1e999', '"process": 0', '"process": -1', f'"process": {2**70}', '"process": true'),
    ],
)
def test_odd_numbers_in_a_lease_neither_hold_it_for_ever_nor_break_anything(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "a.parquet"
    file = abandoned_lease(path, age_s=0)
    then = time.time() - 1000
    file.write_text(file.read_text()[:-1] + f", {odd}}}")
    assert not is_acquired(path)
    os.utime(file, (then, then))
    assert is_acquired(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "null", '{"id": {}}', "\0" * 50])
def test_what_is_no_lease_counts_as_one_of_an_unknown_holder(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.parquet"
    lease_file(path).write_text(content)
    assert not is_acquired(path)
    os.utime(lease_file(path), (0, 0))
    assert is_acquired(path)


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_clock_loses_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    path = tmp_path / "a.parquet"
    now_ns = leases_module._now_ns
    other = Lease(path, timeout=0.6)
    with leased(path, timeout=0.6) as lease:
        monkeypatch.setattr(leases_module, "_now_ns", lambda file: now_ns(file) + step_s * 10**9)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert not other.take()
            time.sleep(0.02)
        assert lease is not None
        assert not lease.is_lost()


@pytest.mark.parametrize("age_s", [-3600, -3e8, 3600])
def test_a_dead_holder_does_not_hold_a_lease_for_ever_whatever_the_clock_was(tmp_path: Path, age_s: float) -> None:
    path = tmp_path / "a.parquet"
    abandoned_lease(path, age_s)
    assert is_acquired(path)


def test_leases_and_temporary_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    mine, me = tmp_path / "mine.parquet", this_process()
    abandoned_lease(tmp_path / "dead.parquet", age_s=0, holder=GONE)
    abandoned_lease(tmp_path / "stale.parquet", age_s=1000)
    abandoned_lease(tmp_path / "elsewhere.parquet", age_s=0, timeout=10)
    abandoned_lease(tmp_path / "alive.parquet", age_s=1000, holder=me, timeout=600)
    elsewhere = ProcessName("elsewhere", "another machine", GONE.pid, "1")
    for process in (GONE, me, elsewhere):
        (tmp_path / f".a.{process.pid}-{process.tag}01234567.part.parquet").touch()
    for name in (f".old.{GONE.pid}-01234567.part.parquet", ".mine.1.part.txt", "a.part.parquet"):
        (tmp_path / name).touch()
    before = set(names_in(tmp_path))
    with leased(mine):
        pass
    swept = before - set(names_in(tmp_path))
    assert swept == {".dead.parquet.lease", f".a.{GONE.pid}-{GONE.tag}01234567.part.parquet"}
    assert set(names_in(tmp_path)) <= before


HOLD_ONE = """
import sys
from pathlib import Path
from cal_ratio_trainer.files.leases import leased
with leased(Path(sys.argv[1])) as lease:
    print(lease is not None, flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    """Process that holds the lock of a file until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD_ONE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_lock_is_held_by_one_process_at_a_time_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    with holder(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with leased(path) as lease:
            assert lease is None
        other.communicate("")
    with leased(path) as lease:
        assert lease is not None
    assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with holder(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
    with leased(path) as lease:
        assert lease is not None


def test_a_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        with leased(path):
            raise RuntimeError("failed")
    except RuntimeError:
        pass
    with leased(path) as lease:
        assert lease is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the machine does not fork processes")
def test_the_end_of_a_forked_process_leaves_the_leases_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    program = (
        "import os, sys; from pathlib import Path; from cal_ratio_trainer.files.leases import leased, lease_file\n"
        "path = Path(sys.argv[1])\n"
        "with leased(path) as lease:\n"
        "    child = os.fork()\n"
        "    if child == 0: sys.exit()\n"
        "    os.waitpid(child, 0)\n"
        "    print(lease_file(path).exists())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert not lease_file(path).exists()


def test_a_full_disk_leaves_no_lease_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cal_ratio_trainer.files.leases.json.dumps", full)
    with pytest.raises(OSError, match="No space left"):
        Lease(tmp_path / "a.parquet").take()
    assert names_in(tmp_path) == []


def test_a_look_tells_whether_a_lease_is_held(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    assert not is_leased(path)
    with leased(path):
        assert is_leased(path)
    abandoned_lease(path, age_s=100)
    assert is_leased(path)
    abandoned_lease(path, age_s=1000)
    assert not is_leased(path)
    abandoned_lease(path, age_s=0, holder=GONE)
    assert not is_leased(path)


def test_a_fresh_lease_of_another_machine_is_watched_until_it_is_renewed_or_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    file = abandoned_lease(path, age_s=0, timeout=1)
    with leased(path, timeout=1) as lease:
        assert lease is None
    with leased(path, timeout=1, watches=True) as lease:
        assert lease is not None
    file = abandoned_lease(path, age_s=0, timeout=10)
    heartbeat = threading.Timer(0.5, os.utime, [file])
    heartbeat.start()
    with leased(path, timeout=10, watches=True) as lease:
        assert lease is None
    heartbeat.join()


def test_a_holder_on_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    begin = time.monotonic()
    with leased(path), leased(path, watches=True) as second:
        assert second is None
    assert time.monotonic() - begin < 5


def test_a_folder_that_others_remove_at_the_same_moment_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, created = tmp_path / "new" / "a.parquet", create
    removed: list[Path] = []

    def removed_first(*arguments: Any) -> bool:
        if not removed:
            path.parent.rmdir()
            removed.append(path.parent)
        return created(*arguments)

    monkeypatch.setattr(leases_module, "create", removed_first)
    with leased(path) as lease:
        assert lease is not None
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), leased(tmp_path / "file" / "a.parquet"):
        pass

"""Dask cluster on this machine: its results are those of one process, also if workers are lost."""

import importlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.ntuple import ConversionSummary, Status, convert_files
from cal_ratio_trainer.workers import dask_cluster
from cal_ratio_trainer.workers.executor import Key, Report, SchedulerError, Task, WorkerLost
from cal_ratio_trainer.workers.opening import opened_executor
from tests.factories.ntuples import random_events, write_ntuple
from tests.ntuple.test_convert import fail_unpicklably

convert_module = importlib.import_module("cal_ratio_trainer.ntuple.convert")

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers of one thread each, which are replaced when they are killed."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as running:
        yield running


def settings_for(address: str) -> SchedulingSettings:
    """Settings with the address of a cluster."""
    return SchedulingSettings.make(scheduler=address)


def convert(folder: Path, files: list[Path], **settings: Any) -> ConversionSummary:
    """Converts files in chunks of 7 events and pieces of 20."""
    given = {"input_files": [str(file) for file in files], "data_type": "qcd", "output_path": folder}
    return convert_files(ConvertSettings.make(**(given | {"chunk_events": 7, "piece_events": 20} | settings)))


def content(folder: Path) -> dict[str, bytes]:
    """Content of all files of a folder, including hidden ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def double_in_time(report: Report, number: int, diary: str) -> int:
    """Task that takes a moment and returns its process."""
    with Path(diary).open("a") as file:
        file.write(f"{os.getpid()}\n")
    report(0, 1)
    time.sleep(0.3)
    report(1, 1)
    return 2 * number


def die(report: Report) -> None:
    """Task that kills every worker."""
    os._exit(9)


def test_the_result_is_that_of_one_process_with_a_bad_file_and_large_ones(cluster: Any, tmp_path: Path) -> None:
    files = [
        write_ntuple(tmp_path / f"{i}.root", random_events(i, size), splits=tuple(range(5, size, 5)))
        for i, size in enumerate((60, 6, 6))
    ]
    bad = tmp_path / "bad.root"
    bad.write_text("no ROOT")
    alone = convert(tmp_path / "alone", [*files, bad], scheduler="none")
    together = convert(tmp_path / "together", [*files, bad], scheduler=cluster.scheduler_address)
    assert content(tmp_path / "together") == content(tmp_path / "alone")
    assert [row.status for row in together.rows] == [row.status for row in alone.rows]
    assert [row.status for row in together.rows] == [Status.CONVERTED] * 3 + [Status.FAILED]
    assert together.rows[3].reason == alone.rows[3].reason
    assert together.cutflows() == alone.cutflows()


def test_errors_that_cannot_travel_as_they_are_become_rows_all_the_same(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = [write_ntuple(tmp_path / f"{name}.root", random_events(1, 6)) for name in ("good", "bad", "cut")]
    files[2].write_bytes(files[2].read_bytes()[:2000])
    monkeypatch.setattr(convert_module, "_STEPS", replace(convert_module._STEPS, whole=fail_unpicklably))
    with caplog.at_level(logging.INFO, logger="cal_ratio_trainer"):
        summary = convert(tmp_path / "jets", files, scheduler=cluster.scheduler_address)
    assert [row.status for row in summary.rows] == [Status.CONVERTED, Status.FAILED, Status.FAILED]
    assert summary.rows[1].reason.startswith("an error that no check foresaw (RuntimeError")
    assert "in fail_unpicklably" in caplog.text
    assert summary.rows[2].reason.startswith("is truncated")


def test_relative_folders_are_those_of_the_command(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(1, 6))
    monkeypatch.chdir(tmp_path)
    summary = convert(Path("jets"), [file], scheduler=cluster.scheduler_address)
    assert [row.status for row in summary.rows] == [Status.CONVERTED]
    assert (tmp_path / "jets" / "a.parquet").exists()


def test_the_work_of_a_killed_worker_is_done_again_and_progress_counts_it_once(cluster: Any, tmp_path: Path) -> None:
    diary, told = tmp_path / "diary", dict[Key, int]()
    diary.touch()

    def kill_one_at_work() -> None:
        while len(lines := diary.read_text().split()) < 3:
            time.sleep(0.02)
        os.kill(int(lines[-1]), signal.SIGKILL)

    def remember(key: Key, done: int, of: int) -> None:
        told[key] = max(done, told.get(key, 0))

    killer = threading.Thread(target=kill_one_at_work)
    killer.start()
    with opened_executor(settings_for(cluster.scheduler_address), 12) as executor:
        executor.on_progress = remember
        done = list(executor.all_of(Task((i, -1), double_in_time, (i, str(diary))) for i in range(12)))
    killer.join()
    assert {each.key[0]: each.result for each in done} == {i: 2 * i for i in range(12)}
    assert [each.error for each in done] == [None] * 12
    assert len(diary.read_text().split()) > 12
    assert len(set(diary.read_text().split())) >= 3
    assert set(told) <= {(i, -1) for i in range(12)}
    assert sum(told.values()) >= 10


@pytest.mark.slow
def test_a_task_that_no_worker_survives_is_given_up_and_the_others_are_done(cluster: Any, tmp_path: Path) -> None:
    tasks = [
        Task((0, -1), die, ()),
        *(Task((i, -1), double_in_time, (i, str(tmp_path / "diary"))) for i in range(1, 4)),
    ]
    with opened_executor(settings_for(cluster.scheduler_address), 4) as executor:
        done = {each.key[0]: each for each in executor.all_of(tasks)}
    assert isinstance(done[0].error, WorkerLost)
    assert [done[i].result for i in range(1, 4)] == [2, 4, 6]


@pytest.mark.slow
def test_a_demo_converted_by_a_cluster_that_loses_a_worker_is_that_of_one_process(cluster: Any, tmp_path: Path) -> None:
    from cal_ratio_trainer.config.convert import DemoSettings
    from cal_ratio_trainer.simulation import simulate

    demo = simulate(DemoSettings.make(output_path=tmp_path / "demo", jets=400, workers=1))
    entries = load_settings(ConvertSettings, str(demo.convert_config), {}).input_files
    here = [each.model_copy(update={"input_file": str(tmp_path / "demo" / each.input_file)}) for each in entries]
    given = {"input_files": here, "max_hlt_delta_r": 0.4, "chunk_events": 50, "piece_events": 100}
    convert_files(ConvertSettings.make(output_path=tmp_path / "alone", scheduler="none", **given))
    with distributed.Client(cluster) as client:
        workers = list(client.run(os.getpid).values())
    outputs = tmp_path / "together"

    def kill_one_half_way() -> None:
        while len(list(outputs.rglob("*.parquet"))) < len(demo.files) // 2:
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one_half_way)
    killer.start()
    summary = convert_files(ConvertSettings.make(output_path=outputs, scheduler=cluster.scheduler_address, **given))
    killer.join()
    assert summary.failed == ()
    assert {row.status for row in summary.rows} == {Status.CONVERTED}
    here_and_there = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "alone", outputs)
    ]
    assert here_and_there[0] == here_and_there[1]
    assert len(here_and_there[0]) == len(demo.files)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cal_ratio_trainer.workers.dask_cluster._CONNECT_S", 1)
    with (
        pytest.raises(SchedulerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        opened_executor(settings_for("tcp://127.0.0.1:9"), 1),
    ):
        pass


def test_a_missing_package_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(SchedulerError, match=r"pip install 'cal_ratio_trainer\[dask\]'"),
        opened_executor(settings_for("tcp://127.0.0.1:9"), 1),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("nonsense", "cannot be read"),
        ("{}", "names no address"),
        ("[]", "names no address"),
        ('{"address": 5}', "names no address"),
        ('{"address": "tls://127.0.0.1:9"}', "wants certificates"),
    ],
)
def test_a_scheduler_file_that_leads_nowhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, reason: str
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.workers.dask_cluster._CONNECT_S", 0.1)
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with (
        pytest.raises(SchedulerError, match=reason),
        opened_executor(settings_for(str(file)), 1),
    ):
        pass


@pytest.mark.parametrize("name", ["cal_ratio_trainer", "Python", "numpy", "our code"])
def test_a_worker_with_other_versions_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here = dask_cluster.versions() | {name: "another"}
    monkeypatch.setattr(dask_cluster, "versions", lambda: here)
    with opened_executor(settings_for(cluster.scheduler_address), 1) as executor:
        (done,) = executor.all_of([Task((0, -1), double_in_time, (1, str(tmp_path / "diary")))])
    assert isinstance(done.error, SchedulerError)
    assert re.search(rf"the worker .* has {name} \S+ \(here another\): install the same", str(done.error))
    assert not (tmp_path / "diary").exists()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """File with a key and a self-signed certificate."""
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subprocess.run([openssl, *words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


@pytest.mark.slow
def test_an_encrypted_cluster_works_with_its_certificates_and_refuses_others(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": str(certificate)}
    for role in ("scheduler", "worker", "client"):
        tls |= {f"distributed.comm.tls.{role}.{part}": str(certificate) for part in ("cert", "key")}
    file = write_ntuple(tmp_path / "a.root", random_events(1, 30), splits=(10, 20))
    with dask.config.set(tls):
        cluster = distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tls",
            security=distributed.Security(),
            dashboard_address=None,
        )
        with cluster:
            address = cluster.scheduler_address
            assert address.startswith("tls://")
            summary = convert(tmp_path / "jets", [file], scheduler=address)
            assert [row.status for row in summary.rows] == [Status.CONVERTED]
            with (
                dask.config.set({"distributed.comm.tls.ca-file": None, "distributed.comm.tls.client.cert": None}),
                pytest.raises(SchedulerError, match=r"wants certificates.*docs/cluster\.md"),
                opened_executor(settings_for(address), 1),
            ):
                pass
            with (
                dask.config.set({"distributed.comm.tls.ca-file": str(file)}),
                pytest.raises(SchedulerError, match=r"the certificates for tls://.* cannot be used"),
                opened_executor(settings_for(address), 1),
            ):
                pass
            monkeypatch.setattr(dask_cluster, "_CONNECT_S", 2)
            with (
                dask.config.set({"distributed.comm.require-encryption": False}),
                pytest.raises(SchedulerError, match=r"no Dask scheduler answers at tcp://"),
                opened_executor(settings_for(address.replace("tls", "tcp")), 1),
            ):
                pass

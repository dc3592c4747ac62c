"""A training file is the same to the last byte for any workers, and no other file is left."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.building import shuffle as shuffle_module
from cal_ratio_trainer.building.scan import AlreadyBuilt
from cal_ratio_trainer.config.base import SchedulingSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.jets import DataType
from cal_ratio_trainer.jets import store as store_module
from cal_ratio_trainer.workers.executor import Report
from tests.building.jet_files import settings_for, write_converted


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One file of many row groups and five small ones."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "ROWS_A_GROUP", 100)
        large = write_converted(folder, 900, DataType.SIGNAL)
    return [large, *(write_converted(folder, 40, DataType.QCD, seed=seed) for seed in range(1, 6))]


def built(output: Path, files: list[Path], **changes: Any) -> bytes:
    """Bytes of a training file; random samples of some files are drawn too."""
    given = [{"input_file": str(files[0]), "num_events": 700}, *files[1:]]
    build_training_file(settings_for(output, *given, **changes))
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return output.read_bytes()


def renamed(folder: Path, name: str) -> Path:
    """Output of a fixed name in a separate folder, because the file contains the name."""
    (folder / name).mkdir()
    os.chdir(folder / name)
    return Path("main.parquet")


@pytest.mark.parametrize("jets", [90, 10_000])
def test_the_bytes_do_not_depend_on_how_the_work_is_cut(
    jets: int, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = built(renamed(tmp_path, "alone"), files, scheduler="none")
    monkeypatch.setattr(shuffle_module, "JETS_A_PORTION", jets)
    monkeypatch.setattr(shuffle_module, "MAX_BUCKETS", 100)
    assert built(renamed(tmp_path, "cut"), files, scheduler="none") == alone
    assert built(renamed(tmp_path, "two"), files, workers=2) == alone


def test_a_process_that_is_killed_is_replaced_and_its_work_done_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = built(renamed(tmp_path, "alone"), files, scheduler="none")
    monkeypatch.setattr(shuffle_module, "scatter_portion", _scatter_or_die_once)
    assert built(renamed(tmp_path, "two"), files, workers=2) == alone
    assert (tmp_path / "died").exists()


def _scatter_or_die_once(report: Report, portion: Any, recipe: Any, output: Path) -> Any:
    mark = output.parent.parent / "died"
    if not mark.exists():
        mark.touch()
        (output.parent / f".{output.name}.0123456789abcdef.piece").write_text("half of a piece")
        os.kill(os.getpid(), signal.SIGKILL)
    return shuffle_module.scatter_portion(report, portion, recipe, output)


def test_mistakes_are_those_of_one_process(files: list[Path], tmp_path: Path) -> None:
    built_already = tmp_path / "built.parquet"
    build_training_file(settings_for(built_already, files[1]))
    with pytest.raises(AlreadyBuilt, match="is already a training file"):
        build_training_file(settings_for(tmp_path / "out" / "main.parquet", files[0], built_already, workers=2))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_another_process_makes_is_left_to_it(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "main.parquet"
    with leased(output), pytest.raises(InputFileError, match="is being made by another process"):
        build_training_file(settings_for(output, files[1]))
    assert not output.exists()


def test_pieces_that_a_killed_build_left_are_removed(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / ".main.parquet.0123456789abcdef.piece").write_text("left")
    built(tmp_path / "main.parquet", files)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_builds_the_same_bytes(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    alone = built(renamed(tmp_path, "alone"), files, scheduler="none")
    monkeypatch.setattr(shuffle_module, "JETS_A_PORTION", 90)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        output = renamed(tmp_path, "cluster")

        def kill_at_the_first_piece() -> None:
            while not list(output.absolute().parent.glob(".*.piece")):
                time.sleep(0.005)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill_at_the_first_piece)
        killer.start()
        assert built(output, files, scheduler=cluster.scheduler_address) == alone
        killer.join()


def test_what_is_built_does_not_know_who_built_it() -> None:
    settings = SchedulingSettings.make(scheduler="tcp://somewhere:1", workers=3)
    assert settings.without_scheduling() == {}

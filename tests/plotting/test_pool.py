"""Figures drawn in the background: order, replacement and errors."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.plotting import DEMO, Drawing, write_all
from cal_ratio_trainer.plotting.pool import DrawingFailed, DrawingPool, draw_in_parallel
from cal_ratio_trainer.workers.child import Child, ChildDied

from .some_drawings import crossing, line, marked, unfinished


def lines(names: list[str], height: float = 1.0) -> list[Drawing]:
    return [Drawing(name, line, (height,)) for name in names]


def test_all_figures_are_there_and_equal_those_drawn_in_the_process_itself(tmp_path: Path) -> None:
    drawings = [Drawing(f"{number:02d}", crossing, (np.linspace(0, number, 5),)) for number in range(4)]
    here = write_all(drawings, tmp_path / "here", DEMO)
    with DrawingPool(1) as pool:
        pool.submit(drawings, tmp_path / "there", DEMO)
        assert pool.finish() == {}
        assert (pool.waiting, pool.drawn) == (0, 4)
        assert pool.seconds_a_figure is not None
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [path.name for path in here]
    assert [(tmp_path / "there" / path.name).read_bytes() for path in here] == [path.read_bytes() for path in here]


def test_the_newest_epoch_comes_first_and_a_newer_figure_takes_the_place_of_a_waiting_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DrawingPool(1) as pool:
        # The others accumulate while the first one is drawn.
        pool.submit([Drawing("gate", marked, (log, "gate", 1.0))], tmp_path, DEMO)
        while pool.waiting and not pool._in_work:
            time.sleep(0.01)
        for epoch in (0, 2, 1):
            drawings = [Drawing(f"{epoch}_{name}", marked, (log, f"{epoch}{name}")) for name in "ab"]
            refreshed = Drawing("history", marked, (log, f"history of {epoch}"))
            pool.submit([*drawings, refreshed], tmp_path, DEMO, order=epoch)
        pool.finish()
    assert log.read_text().splitlines() == ["gate", "2a", "2b", "1a", "1b", "history of 1", "0a", "0b"]


def test_without_processes_figures_are_there_when_submit_returns(tmp_path: Path) -> None:
    with DrawingPool(0) as pool:
        pool.submit(lines(["a", "b"]), tmp_path, DEMO)
        assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def test_submitting_waits_for_nothing(tmp_path: Path) -> None:
    with DrawingPool(1) as pool:
        pool.submit([Drawing("slow", marked, (tmp_path / "log", "slow", 0.5)), *lines(["a", "b"])], tmp_path, DEMO)
        assert pool.waiting == 3
        pool.finish()


def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = tmp_path / "once"
    with DrawingPool(1) as pool:
        drawings = [Drawing("killer", unfinished, (once, signal.SIGKILL)), *lines(["after"])]
        pool.submit(drawings, tmp_path / "plots", DEMO)
        assert pool.finish() == {}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"killer.png", "after.png"}
    assert "a process that draws figures ended with status -9; another one goes on" in caplog.text


def test_a_figure_that_kills_every_process_is_named_and_the_others_are_drawn(tmp_path: Path) -> None:
    with DrawingPool(1) as pool:
        pool.submit([Drawing("deadly", unfinished, (None, signal.SIGKILL)), *lines(["a"])], tmp_path, DEMO)
        undrawn = pool.finish()
    assert {path: type(error) for path, error in undrawn.items()} == {tmp_path / "deadly": ChildDied}
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_where_no_process_can_be_started_the_figures_are_drawn_in_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(self: Child, **given: Any) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(Child, "__init__", too_many)
    with DrawingPool(2) as pool:
        pool.submit(lines(["a", "b"]), tmp_path, DEMO)
        assert pool.finish() == {}
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


@pytest.mark.parametrize("processes", [0, 1])
def test_what_the_disk_does_not_take_is_told_once_and_tried_again_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    no_folder = tmp_path / "plots"
    no_folder.write_text("a file in the place of the folder")
    with DrawingPool(processes) as pool:
        pool.submit(lines(["a", "b"]), no_folder, DEMO)
        while pool.waiting:
            time.sleep(0.01)
        assert caplog.text.count("cannot be drawn") == 1
        no_folder.unlink()
        assert pool.finish() == {}
        assert {path.name for path in no_folder.iterdir()} == {"a.png", "b.png"}
        (no_folder / "c.png").mkdir()
        pool.submit(lines(["c"]), no_folder, DEMO)
        (error,) = pool.finish().values()
    assert isinstance(error, IsADirectoryError)
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("processes", [0, 1])
def test_a_mistake_in_a_drawing_comes_back_with_its_traceback(tmp_path: Path, processes: int) -> None:
    with DrawingPool(processes) as pool:
        pool.submit([Drawing("wrong", crossing, ("no numbers",))], tmp_path, DEMO)
        (error,) = pool.finish().values()
    assert isinstance(error, DrawingFailed)
    assert "some_drawings.py" in str(error)


def test_what_cannot_travel_is_named(tmp_path: Path) -> None:
    with DrawingPool(1) as pool:
        pool.submit([Drawing("local", lambda axes: None, ())], tmp_path, DEMO)
        (error,) = pool.finish().values()
    assert "local cannot be sent to another process" in str(error)


def test_signals_of_the_job_do_not_stop_a_worker_and_the_end_of_its_owner_does(tmp_path: Path) -> None:
    with DrawingPool(1) as pool:
        pool.submit(lines(["a"]), tmp_path, DEMO)
        assert pool.finish() == {}
        (child,) = pool._idle
        for number in (signal.SIGINT, signal.SIGTERM):
            child._process.send_signal(number)
        pool.submit(lines(["b"]), tmp_path, DEMO)
        assert (pool.finish(), pool._idle) == ({}, [child])
    assert child._process.poll() is not None


OWNER = """
import sys
from pathlib import Path
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.pool import DrawingPool
from tests.plotting.some_drawings import line

pool = DrawingPool(1)
pool.submit([Drawing("a", line, (1.0,))], Path(sys.argv[1]), DEMO)
pool.finish()
print(pool._idle[0]._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_ends_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert int(owner.stdout.readline()) != owner.pid
    owner.kill()
    # The pipe closes when the last process that holds it ends: a surviving worker would keep it open.
    rest, _ = owner.communicate(timeout=60)
    assert rest == ""


def test_a_worker_takes_no_module_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "pickle", "matplotlib", "cal_ratio_trainer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    with DrawingPool(1) as pool:
        pool.submit(lines(["a"]), tmp_path, DEMO)
        assert (pool.finish(), pool.drawn, pool._deaths) == ({}, 1, 0)


def test_a_worker_has_no_use_for_torch(tmp_path: Path) -> None:
    imported = tmp_path / "imported"
    with DrawingPool(1) as pool:
        pool.submit([Drawing("a", marked, (imported, "modules"))], tmp_path, DEMO)
        pool.finish()
    assert "matplotlib" in imported.with_suffix(".modules").read_text().split()
    assert "torch" not in imported.with_suffix(".modules").read_text().split()


@pytest.fixture
def processes_for_few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets two figures start a process."""
    monkeypatch.setattr("cal_ratio_trainer.plotting.pool._WORTH_A_PROCESS", 2)


@pytest.mark.usefixtures("processes_for_few_figures")
def test_after_five_deaths_this_process_draws_but_none_that_killed_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.plotting.pool.available_cores", lambda: 1)
    deadly = [Drawing(f"deadly {number}", unfinished, (None, signal.SIGKILL)) for number in range(3)]
    with DrawingPool(1) as pool:
        pool.submit([*deadly, *lines(["a", "b"])], tmp_path, DEMO)
        assert sorted(path.name for path in pool.finish()) == [each.name for each in deadly]
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


@pytest.mark.usefixtures("processes_for_few_figures")
@pytest.mark.parametrize("cores", [2, 1])
def test_many_figures_in_parallel_come_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.plotting.pool.available_cores", lambda: cores)
    written = draw_in_parallel(lines(["d", "a", "c", "b"]), tmp_path, DEMO)
    assert [path.stem for path in written] == ["d", "a", "c", "b"]
    assert all(path.exists() for path in written)


@pytest.mark.usefixtures("processes_for_few_figures")
@pytest.mark.parametrize("cores", [2, 1])
def test_a_figure_that_fails_in_parallel_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.plotting.pool.available_cores", lambda: cores)
    drawings = [*lines(["a", "b", "c"]), Drawing("wrong", crossing, ("no numbers",))]
    with pytest.raises(DrawingFailed, match="wrong cannot be drawn"):
        draw_in_parallel(drawings, tmp_path, DEMO)

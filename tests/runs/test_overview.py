"""Overview of a run in any state of its folder."""

import errno
import json
import math
import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.finding import all_runs
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from tests.factories.jets import synthetic_jets
from tests.factories.runs import history_row, write_run

HISTORY = [history_row(0.95, 0.9), history_row(0.99, 0.7), history_row(0.98, 0.69)]


def test_a_finished_run_says_what_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00003", HISTORY, settings={"tag": "scan", "adversary_weight": 2.5})
    assert (run.status, run.epochs, run.planned_epochs) == ("finished", 3, 3)
    assert (run.data, run.simulation) == ("main.parquet + control.parquet", "demo")
    assert run.commit == "a7b01abab5-dirty"
    assert run.seconds == 390
    assert (run.setting("tag"), run.setting("note"), run.setting("agreement_strength")) == ("scan", "", "2.5")
    best = run.best()
    assert best is not None
    assert (best.epoch, best.auc) == (1, 0.99)
    assert (best.ks_sum, best.ks_expected, best.ks_spread) == pytest.approx((0.7, 0.45, 0.09))
    assert best.ks_excess == pytest.approx(0.25 / 0.09)


def test_the_built_in_demo_is_called_by_its_name_once(tmp_path: Path) -> None:
    demo = {kind: {"file": "demo", "simulation": "demo"} for kind in ("main", "control")}
    assert write_run(tmp_path / "m" / "00000", record={"data": demo}).data == "demo"


def test_a_run_that_says_it_is_running_is_asked_whether_a_process_holds_it(tmp_path: Path) -> None:
    started = (datetime.now(UTC) - timedelta(seconds=100)).isoformat()
    run = write_run(tmp_path / "m" / "00000", HISTORY, {"status": "running", "started": started, "ended": None})
    killed = Run(run.path)
    assert killed.status == "killed"
    assert killed.seconds == pytest.approx(100, abs=20)
    with run.lock():
        running = Run(run.path)
        assert running.status == "running"
        assert running.seconds == pytest.approx(100, abs=20)


def test_another_user_s_run_is_looked_at_without_writing_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: Path) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    runs = [write_run(tmp_path / "m" / f"{i:05d}", HISTORY, {"status": "running"}) for i in range(3)]
    monkeypatch.setattr("cal_ratio_trainer.files.leases._now_ns", refused)
    # An earlier version left a lock, and a process elsewhere has not renewed its lease for long.
    (runs[0].path / ".lock").touch()
    stale = lease_file(runs[1].record_file)
    stale.touch()
    os.utime(stale, (0, 0))
    with runs[2].lock():
        assert [Run(each.path).status for each in runs] == ["killed", "killed", "running"]


def test_the_numbers_of_test_jets_are_counted_in_their_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", HISTORY)
    assert Run(run.path).test_jets is None
    labels = np.array([0, 0, 1, 2, 2, 2])
    write_jets(run.path / "test_sample.parquet", synthetic_jets(labels, 1), JetMetadata(stage="built", kind="main"))
    assert Run(run.path).test_jets == {Label.QCD: 2, Label.SIGNAL: 1, Label.BIB: 3}


_NO_JSON = ("", "{", "\x00\x01", "a: b: c", "- 1\n- 2", "!!python/x y")
_NO_RECORD = ("[]", "3", '"x"', "null", "{}", '{"status": 3}', '{"status": [1]}', '{"started": "yesterday"}')
_WRONG_TYPES = '{"data": {"main": "x"}, "versions": [], "test": {"auc": "high"}, "started": 12}'
_NO_HISTORY = ('[{"val_auc": "x"}]', "[3]", "[[]]", "[{}, {}]", '[{"ks_qcd_hist": null}]', '[{"val_auc": 1e400}]')
RUBBISH = st.sampled_from((*_NO_JSON, *_NO_RECORD, _WRONG_TYPES, *_NO_HISTORY))


@given(record=RUBBISH, history=RUBBISH, chosen=RUBBISH)
@settings(max_examples=30, deadline=None)
def test_damaged_files_leave_a_run_of_which_less_is_known(
    tmp_path_factory: pytest.TempPathFactory, record: str, history: str, chosen: str
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "m" / "00000"
    folder.mkdir(parents=True)
    for name, content in (("run.json", record), ("history.json", history), ("training_params.yaml", chosen)):
        (folder / name).write_text(content)
    (folder / "test_sample.parquet").write_text(record)
    run = Run(folder)
    assert run.status == "unknown"
    assert run.best() is None
    assert run.test_jets is None
    assert (run.data, run.commit, run.setting("tag")) == ("", "", "")
    assert run.seconds is None
    assert run.recorded_number("test", "auc") is None
    assert all_runs(folder.parents[1]) == [Run(folder)]


def test_bytes_that_are_no_text_are_no_reason_to_stop(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", HISTORY)
    for name in ("run.json", "history.json", "training_params.yaml"):
        (run.path / name).write_bytes(b"\xff\xfe\x00\x80")
    assert (Run(run.path).status, Run(run.path).epochs) == ("unknown", 0)


@pytest.mark.parametrize(
    "content",
    [
        f"tag: {'[' * 3000}{']' * 3000}\n",
        "\n".join(["a: &a [x]", *(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefg"))]),
        "tag: scan\n# " + "x" * 2**20,
    ],
    ids=["nested deeply", "aliases that multiply", "large"],
)
def test_settings_that_are_more_than_settings_can_be_are_not_known(tmp_path: Path, content: str) -> None:
    run = write_run(tmp_path / "m" / "00000", HISTORY)
    run.settings_file.write_text(content)
    overview = Run(run.path)
    assert (overview.status, overview.known_settings) == ("finished", {})


def test_a_number_that_is_not_finite_or_no_number_is_not_known(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", record={"test": {"auc": True, "a": "1", "b": 2}})
    overview = Run(run.path)
    assert [overview.recorded_number("test", name) for name in ("auc", "a", "b", "c")] == [None, None, 2.0, None]
    (run.path / "run.json").write_text(json.dumps({"seed": math.inf}))
    assert Run(run.path).recorded_integer("seed") is None


def test_runs_come_in_the_order_they_started(tmp_path: Path) -> None:
    for name, started in (
        ("b/00000", "2026-01-03"),
        ("a/00001", "2026-01-01"),
        ("a/00000", "2026-01-02"),
        ("c/00000", None),
    ):
        write_run(tmp_path / name, record={"started": started})
    (tmp_path / "no_model.txt").write_text("")
    (tmp_path / "a" / "not_a_number").mkdir()
    assert [run.name for run in all_runs(tmp_path)] == ["c/00000", "a/00001", "a/00000", "b/00000"]
    with pytest.raises(RunError, match="output_path"):
        all_runs(tmp_path / "nowhere")

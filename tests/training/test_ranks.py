"""Trainings that torchrun distributes over two processes, by gloo on the CPU, and their communication.

One test starts torchrun itself. The others, which need not hold how it starts, fork its processes
(`tests.training.torchrun`). Trainings whose numbers are compared after several steps compute in double precision.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]

from cal_ratio_trainer import launching
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.files.this_process import ProcessName
from cal_ratio_trainer.launching import Failure, ProcessRank
from cal_ratio_trainer.training import ranks as ranks_module
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.ranks import ALONE, OtherProcessFailed, ProcessesDiffer, SeveralRanks
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import train_set
from tests.training.double_precision import use_double_precision
from tests.training.torchrun import LAUNCHER, Forked, start_forked

_PATIENCE_S = 400
_CHECKOUT = Path(__file__).resolve().parents[2]
_WITHOUT_FIGURES = """
import os
from cal_ratio_trainer.cli.main import main
from cal_ratio_trainer.plotting.pool import DrawingPool

DrawingPool.submit = lambda *given, **more: None
{changes}
main()
"""
_IN_DOUBLE_PRECISION = """
import pytest
from tests.training.double_precision import use_double_precision

use_double_precision(pytest.MonkeyPatch())
"""
_FAILURE = """
from cal_ratio_trainer.training import {module}

def fail(*given, **more):
    raise {error}

if os.environ["RANK"] == "{rank}":
    {module}.{name} = fail
"""

_SLOW_END = """
import time
from pathlib import Path
from cal_ratio_trainer.training import finish

leave = finish.write_test_results

def leave_slowly(*given):
    Path("{folder}/ending").touch()
    while not Path("{folder}/signalled").exists():
        time.sleep(0.02)
    return leave(*given)

if os.environ["RANK"] == "0":
    finish.write_test_results = leave_slowly
"""


@pytest.fixture
def in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of this process compute in double precision, as those with `_IN_DOUBLE_PRECISION` do."""
    use_double_precision(monkeypatch)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A main and a control-region training file with odd numbers of jets."""
    return write_training_files(tmp_path_factory.mktemp("data"), 701, 403)


def settings_of(files: tuple[Path, Path], folder: Path, **changes: Any) -> TrainSettings:
    """Settings of a tiny network with dropout, with steps that cannot be divided evenly between two processes."""
    small: dict[str, Any] = {
        **{"epochs": 3, "num_splits": 3, "sample_fraction": 1.0, "threads": 1, "train_fraction": 0.7},
        **{name: [8, 8] for name in ("cluster_filters", "track_filters", "muon_segment_filters")},
        **{"hidden_layer_fraction": 0.05, "dropout": 0.2, "plot_processes": 0, "epoch_plots": False},
        "tensorboard": False,
    }
    main, control = files
    small |= {"main_training_file": str(main), "cr_training_file": str(control), "output_path": folder}
    settings = TrainSettings.make(**{**small, **changes})
    folder.mkdir()
    (folder / "settings.yaml").write_text(settings.as_yaml())
    return settings


def training(folder: Path, *words: str, changes: str = "") -> tuple[str, ...]:
    """The program, with its arguments, that trains with `folder`/settings.yaml, without figures and with changes."""
    program = folder / "program.py"
    program.write_text(_WITHOUT_FIGURES.format(changes=changes))
    return (str(program), "train", *(words or ("--config", str(folder / "settings.yaml"))))


def start_training(folder: Path, *words: str, changes: str = "") -> Forked:
    """Starts two processes that train with `folder`/settings.yaml, without figures and with changes of the program."""
    return start_forked(folder, *training(folder, *words, changes=changes))


def finished(process: Forked) -> tuple[int, str, str]:
    """Exit status of torchrun, standard output, standard error."""
    return process.finished(_PATIENCE_S)


def figures_of(row: dict[str, float | None]) -> dict[str, float]:
    """Figures of an epoch or of the test part; those that are not known, null in the files, are NaN."""
    return {name: math.nan if value is None else value for name, value in row.items()}


def history_of(folder: Path, fold: str) -> list[dict[str, float]]:
    rows = json.loads((folder / "default" / "00000" / fold / "history.json").read_text())
    return [figures_of(row) for row in rows]


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "default" / "00000" / "run.json").read_text())
    return record


def assert_same_history(found: Path, expected: Path, fold: str = "") -> None:
    rows, others = history_of(found, fold), history_of(expected, fold)
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)


def run_alone(settings: TrainSettings, start: Start | None = None) -> None:
    train(start or Start(settings), say=lambda text: None, details=lambda figures: "")


def continued(settings: TrainSettings, **flags: Any) -> Start:
    layers = [("defaults", {}), ("command line", {"output_path": str(settings.output_path), **flags})]
    return find_start(layers, settings, "0")


@pytest.mark.usefixtures("without_figures", "in_double_precision")
def test_two_processes_have_the_loss_curve_of_one_and_speak_with_one_voice(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Case with dropout, mini-batches in pieces, shares of different lengths, and early stopping out of reach."""
    changes: dict[str, Any] = {"accumulate": 2, "schedule": "one_cycle", "clip_gradient": 0.5, "average_weights": 0.5}
    changes |= {"optimizer": "adamw", "early_stopping": 3, "auxiliary_weight": 0.3, "standardize_inputs": True}
    alone, _ = (settings_of(files, tmp_path / name, **changes) for name in ("alone", "together"))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *LAUNCHER,
            *training(tmp_path / "together", changes=_IN_DOUBLE_PRECISION),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # torchrun prints a message if this is not set.
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_CHECKOUT)},
    )
    run_alone(alone)
    out, error = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, error
    assert_same_history(tmp_path / "together", tmp_path / "alone")
    record = record_of(tmp_path / "together")
    assert record["status"] == "finished"
    assert (record["computed_by"]["processes"], record["computed_by"]["nodes"]) == (2, 1)
    assert record_of(tmp_path / "alone")["computed_by"]["processes"] == 1
    assert record["test"]["auc"] == pytest.approx(record_of(tmp_path / "alone")["test"]["auc"], abs=1e-9)
    assert out.count("training_details.txt") == 1
    once = ("jets to train on", "run default/00000 in", "epoch 000 (1 of 3)", "epoch 002 (3 of 3)")
    assert [words for words in once if error.count(words) != (2 if words == once[0] else 1)] == []
    assert [path.name for path in (tmp_path / "together" / "default").iterdir()] == ["00000"]


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures", "in_double_precision")
def test_a_signal_to_one_process_stops_both_and_any_number_of_processes_goes_on(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Two processes are stopped, one finishes the run, two add an epoch: the loss curve is that of one process."""
    settings = settings_of(files, tmp_path / "parts", epochs=4, num_splits=12)
    process = start_training(tmp_path / "parts", changes=_IN_DOUBLE_PRECISION)
    _wait_for(tmp_path / "parts" / "default" / "00000" / "histograms" / "000.json", process)
    os.kill(_workers(process)[1], signal.SIGTERM)
    run_alone(settings_of(files, tmp_path / "whole", epochs=5, num_splits=12))
    status, _, error = finished(process)
    assert status == 1
    assert error.count("go on with 'cr_trainer train") == 1
    # torchrun has its own status and prints those of the processes.
    assert error.count("exitcode  : 75") == 2, error
    assert record_of(tmp_path / "parts")["status"] == "interrupted"
    assert record_of(tmp_path / "parts")["finished_epochs"] < 4
    run_alone(settings, continued(settings))
    assert record_of(tmp_path / "parts")["computed_by"]["processes"] == 1
    words = ("--continue", "0", "--epochs", "1", "--output_path", str(settings.output_path))
    status, _, error = finished(start_training(tmp_path / "parts", *words, changes=_IN_DOUBLE_PRECISION))
    assert status == 0, error
    assert error.count("the run had 1 processes so far; with 2 its figures differ by rounding") == 1
    assert_same_history(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("folds", [None, 2], ids=["a run by itself", "a fold set"])
def test_a_signal_to_a_process_that_waits_for_the_end_of_the_first_ends_nothing_in_the_middle(
    files: tuple[Path, Path], tmp_path: Path, folds: int | None
) -> None:
    folder = tmp_path / "runs"
    settings_of(files, folder, epochs=1, folds=folds)
    process = start_training(folder, changes=_SLOW_END.format(folder=folder))
    _wait_for(folder / "ending", process)
    # It is not known when the second process begins to wait; an earlier signal is one during the last step.
    time.sleep(1)
    os.kill(_workers(process)[1], signal.SIGTERM)
    time.sleep(0.5)
    (folder / "signalled").touch()
    status, _, error = finished(process)
    run = folder / "default" / "00000"
    if folds is None:
        assert status == 0, error
        assert json.loads((run / "run.json").read_text())["status"] == "finished"
        return
    assert error.count("exitcode  : 75") == 2, error
    assert error.count("stopped with default/00000/fold_0 finished; go on with") == 1
    assert json.loads((run / "fold_0" / "run.json").read_text())["status"] == "finished"
    assert not (run / "fold_1").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures", "in_double_precision")
@pytest.mark.parametrize("agreement", ["distance", "reversal"])
def test_two_processes_make_data_and_simulation_agree_as_one_does(
    agreement: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"agreement": agreement, "accumulate": 2}
    if agreement == "distance":
        (tmp_path / "further").mkdir()
        _, further = write_training_files(tmp_path / "further", 20, 301, seed=9)
        changes["cr_training_file"] = {"first": str(files[1]), "second": str(further)}
        changes["cr_judge_file"] = {"judged": str(files[1])}
    alone, _ = (settings_of(files, tmp_path / name, **changes) for name in ("alone", "together"))
    process = start_training(tmp_path / "together", changes=_IN_DOUBLE_PRECISION)
    run_alone(alone)
    status, _, error = finished(process)
    assert status == 0, error
    assert_same_history(tmp_path / "together", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures", "in_double_precision")
def test_two_processes_make_the_fold_set_of_one(files: tuple[Path, Path], tmp_path: Path) -> None:
    # With fewer jets some figures of merit are unknown, and null in the files.
    changes = {"epochs": 4, "folds": 2, "train_fraction": 0.5, "early_stopping": 1, "adversary_momentum": 0.99}
    alone, together = (settings_of(files, tmp_path / name, **changes) for name in ("alone", "together"))
    process = start_training(tmp_path / "together", changes=_IN_DOUBLE_PRECISION)
    train_set(alone)
    status, out, error = finished(process)
    assert status == 0, error
    assert out.count("training_details.txt") == 1
    for fold in ("fold_0", "fold_1"):
        assert_same_history(tmp_path / "together", tmp_path / "alone", fold)
    assert min(len(history_of(tmp_path / "together", fold)) for fold in ("fold_0", "fold_1")) < 4
    sets = [record_of(settings.output_path) for settings in (alone, together)]
    assert [record["status"] for record in sets] == ["finished", "finished"]
    alone_test, together_test = (figures_of(record["test"]) for record in sets)
    assert together_test == pytest.approx(alone_test, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("rank", "module", "name", "error", "said"),
    [
        (1, "step", "TrainingStep._add_regularization_gradient", "MemoryError('none left')", "a step on"),
        (0, "loop", "write_epoch", "OSError('no space left')", "error: no space left"),
    ],
    ids=["no memory in the second", "full disk of the first"],
)
def test_an_error_of_one_process_ends_both_with_one_sentence(
    files: tuple[Path, Path], tmp_path: Path, rank: int, module: str, name: str, error: str, said: str
) -> None:
    settings_of(files, tmp_path / "runs")
    failure = _FAILURE.format(rank=rank, module=module, name=name, error=error)
    status, out, told = finished(start_training(tmp_path / "runs", changes=failure))
    assert status == 1
    assert out == ""
    assert told.count(said) == 1, told
    assert told.count("error: ") == 1
    # A training without a complete epoch leaves nothing except files that the first process had begun to write.
    assert not list((tmp_path / "runs").rglob("*.part*"))
    assert not list((tmp_path / "runs").rglob("checkpoint*"))


def test_a_file_that_is_missing_for_all_is_said_once(tmp_path: Path) -> None:
    files = ("--main_training_file", "nothing.parquet", "--cr_training_file", "nothing.parquet")
    words = ("train", *files, "--output_path", str(tmp_path / "runs"))
    status, _, error = finished(start_forked(tmp_path, "-m", "cal_ratio_trainer", *words))
    assert status == 1
    assert error.count("error: ") == 1
    assert error.count("nothing.parquet: no such file") == 1
    assert not (tmp_path / "runs").exists()


def _wait_for(file: Path, process: Forked) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not file.exists():
        assert process.poll() is None, finished(process)
        assert time.monotonic() < end
        time.sleep(0.02)


def _workers(process: Forked) -> list[int]:
    """The processes that torchrun started, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(int(child) for child in children)


@pytest.fixture
def shared_store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    """Key-value store of torchrun, in this process."""
    store = HashStore()
    for module in (launching, ranks_module):
        monkeypatch.setattr(module, "store", lambda: store)
    return store


def one_of(processes: int, rank: int) -> SeveralRanks:
    return SeveralRanks(ProcessRank(rank, processes, rank, processes, 1))


@pytest.mark.usefixtures("shared_store")
@pytest.mark.parametrize("processes", [2, 3, 7])
def test_every_jet_is_in_one_share_and_shares_differ_by_one_at_most(processes: int) -> None:
    main, control = 10, 4
    shares = [one_of(processes, rank).share(main, control) for rank in range(processes)]
    together = np.concatenate([share for share in shares if share is not None])
    np.testing.assert_array_equal(np.sort(together), np.arange(main + control))
    for share in shares:
        assert share is not None
        assert (np.diff(share) > 0).all()
        assert (share < main).sum() in (main // processes, -(-main // processes))


def test_a_process_alone_has_all_jets_and_nothing_to_wait_for() -> None:
    assert ALONE.share(3, 4) is None
    assert ALONE.all_reduce_max(15) == 15
    assert torch.equal(ALONE.gather(torch.ones(2, 3), 2), torch.ones(2, 3))
    ALONE.require_equal("anything", "a word")


@pytest.mark.usefixtures("shared_store")
def test_what_a_process_has_in_another_way_than_the_first_is_named() -> None:
    one_of(2, 0).require_equal("training files", "abc")
    with pytest.raises(ProcessesDiffer, match="process 1 of 2 does not have the same training files as process 0; x"):
        one_of(2, 1).require_equal("training files", "abd", "x")


@pytest.mark.usefixtures("shared_store")
def test_the_first_to_fail_says_why_and_the_others_end_with_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launching, "place", lambda: ProcessRank(1, 2, 1, 2, 1))
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    assert launching.report_failure("error: a file is missing", 2) == 2
    assert launching.report_failure("stopped before the training began", 75) == 2
    assert capsys.readouterr().err == "error: a file is missing\n"
    assert launching.first_failure() == Failure(2, "error: a file is missing")
    with pytest.raises(OtherProcessFailed, match="a file is missing") as error:
        one_of(2, 1).broadcast_text("")
    assert error.value.exit_status == 2


def test_a_process_that_was_killed_is_not_waited_for(shared_store: HashStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks_module, "_LIVENESS_CHECK_S", 0.0)
    monkeypatch.setattr(ranks_module, "_FAILURE_REPORT_S", 0.0)
    here = one_of(2, 1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = ProcessName.from_json(json.loads(shared_store.get("process 1")))
    name = ProcessName(own.host, own.machine, gone.pid, "1")
    shared_store.set("process 0", json.dumps(name.as_json()))
    with pytest.raises(OtherProcessFailed, match="gone without a word"):
        here.broadcast_text("")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ProcessRank()),
        ({"RANK": "0", "WORLD_SIZE": "4"}, ProcessRank()),
        ({"WORLD_SIZE": "1"}, ProcessRank()),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, ProcessRank(3, 4, 1, 2, 2)),
    ],
    ids=["alone", "variables of others", "torchrun with one", "the last of two machines"],
)
def test_where_a_process_stands_is_what_torchrun_says(
    environment: dict[str, str], expected: ProcessRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    complete = {"MASTER_ADDR": "host", "MASTER_PORT": "29500"} if "LOCAL_RANK" in environment else {}
    for name, value in {**environment, **complete}.items():
        monkeypatch.setenv(name, value)
    assert launching.place.__wrapped__() == expected

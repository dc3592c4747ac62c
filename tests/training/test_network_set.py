"""Processes that share the training of one set."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.training.network_set import NetworkSet, begun_set, joined_set, new_set, release


def settings_of(folder: Path, **changes: Any) -> TrainSettings:
    return TrainSettings.make(output_path=folder, **{"folds": 4, **changes})


def test_jobs_that_start_at_the_same_time_make_one_set(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as jobs:
        sets = list(jobs.map(lambda fold: joined_set(settings_of(tmp_path, fold=fold), fold), range(4)))
    assert {each.run.name for each in sets} == {"default/00000"}
    assert all(run.path.is_dir() for run in sets[0].networks)


def test_a_second_round_of_jobs_makes_a_set_of_its_own(tmp_path: Path) -> None:
    Run.make(tmp_path, "default")
    numbers = [joined_set(settings_of(tmp_path, fold=fold), fold).run.number for fold in (0, 1, 0, 1, 2, 3)]
    assert numbers == [1, 1, 2, 2, 2, 2]
    assert joined_set(settings_of(tmp_path, fold=2), 2).run.number == 1


@pytest.mark.parametrize("changes", [{"seed": 2}, {"folds": 3}, {"tag": "other"}, {"learning_rate": 0.1}])
def test_a_job_with_other_settings_does_not_join(tmp_path: Path, changes: dict[str, Any]) -> None:
    joined_set(settings_of(tmp_path), 0)
    assert joined_set(settings_of(tmp_path, **changes), 1).run.number == 1
    assert joined_set(settings_of(tmp_path, threads=7, device="cpu", plot_format="pdf"), 1).run.number == 0


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_set_that_came_to_its_end_is_not_joined(tmp_path: Path, status: str) -> None:
    network_set = joined_set(settings_of(tmp_path), 0)
    run = network_set.run if status == "finished" else network_set.networks[0]
    run.write_record(run.read_record() | {"status": status})
    assert begun_set(settings_of(tmp_path)) is None
    assert joined_set(settings_of(tmp_path), 1).run.number == 1


def test_a_fold_that_another_process_has_cannot_be_claimed(tmp_path: Path) -> None:
    network_set = joined_set(settings_of(tmp_path), 0)
    with network_set.networks[0].lock(), pytest.raises(RunError, match="default/00000/fold_0 is there already"):
        network_set.claimed(0)
    # No process holds it and it has no result: a process was killed while it read the data.
    assert network_set.claimed(0) == network_set.networks[0]


def test_nothing_is_left_where_nothing_came_of_a_set_and_other_runs_stay(tmp_path: Path) -> None:
    network_set = joined_set(settings_of(tmp_path), 0)
    network_set.claimed(1)
    release(network_set, 0)
    assert (network_set.networks[0].path.exists(), network_set.networks[1].path.exists()) == (False, True)
    release(network_set, 1)
    assert not list(tmp_path.iterdir())
    other = Run.make(tmp_path, "default")
    empty = new_set(settings_of(tmp_path))
    release(empty, 0)
    assert (other.path.is_dir(), empty.run.path.exists()) == (True, False)


def test_a_set_is_known_by_its_record(tmp_path: Path) -> None:
    network_set = new_set(settings_of(tmp_path))
    assert NetworkSet.of(network_set.run) == network_set
    assert (network_set.rule.count, network_set.settings.fold, network_set.planned_epochs) == (4, None, 100)
    assert network_set.lacking() == [0, 1, 2, 3]
    assert NetworkSet.of(network_set.networks[0]) is None
    assert NetworkSet.of(Run.make(tmp_path, "default")) is None

"""A study on disk: which trial comes next, and what is left of processes that were killed."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import search_space
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.tuning.plan import Plan
from cal_ratio_trainer.tuning.study import POINT, RUN, SECONDS, StudyFile, make_study, open_study, study_folder

BASE = TrainSettings.make(agreement="distance", agreement_strength=4.0, dropout=0.1, cluster_filters=[8, 4])
SEARCH: dict[str, Any] = {
    "agreement_strength": {"low": 1.0, "high": 20.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.3},
    "cluster_filters": [[8, 4], [16]],
    "num_splits": {"low": 20, "high": 80},
}
PLAN = Plan(BASE, search_space(SEARCH, BASE, "space", set()), "auc", "ks", prune=3, random_trials=2)


def begun(folder: Path) -> StudyFile:
    return make_study(study_folder(folder, "first"), PLAN)


def run_trials(opened: StudyFile, trials: int) -> list[dict[str, Any]]:
    """Trials whose objectives follow from their settings; the settings of each."""
    settings: list[dict[str, Any]] = []
    while True:
        with opened.next_trial(trials, None) as trial:
            if trial is None:
                return settings
            params = trial.params
            settings.append(params)
            trial.set_user_attr(SECONDS, 1.0)
            values = (0.95 - params["dropout"] ** 2, params["agreement_strength"])
            trial.set_user_attr(POINT, [values[0], 0.01, values[1], 3])
            opened.study.tell(trial, values)


def killed_trial(opened: StudyFile, run: str | None = None) -> None:
    """Begins a trial in a process that ends without a word."""
    child = os.fork()
    if child == 0:
        with opened.next_trial(None, None) as trial:
            if run is not None:
                assert trial is not None
                trial.set_user_attr(RUN, run)
            os._exit(9)
    os.waitpid(child, 0)


def test_a_seed_gives_the_same_study_twice_and_the_first_trial_has_the_plan_s_own_settings(tmp_path: Path) -> None:
    first, second = (run_trials(begun(tmp_path / name), 6) for name in ("a", "b"))
    assert first == second
    assert len({str(params) for params in first}) == 6
    own = {"agreement_strength": 4.0, "dropout": 0.1, "cluster_filters": "[8, 4]", "num_splits": 50}
    assert first[0] == own
    table = open_study(study_folder(tmp_path / "a", "first")).table()
    assert table.trials[0].params["cluster_filters"] == [8, 4]
    assert PLAN.settings_of(first[0]).cluster_filters == [8, 4]
    assert table.best in table.front


def test_a_study_with_a_killed_process_goes_on_as_one_without(tmp_path: Path) -> None:
    undisturbed = run_trials(begun(tmp_path / "a"), 6)
    opened = begun(tmp_path / "b")
    before = run_trials(opened, 4)
    killed_trial(opened, run="00004")
    opened = open_study(opened.folder)
    assert opened.table().trials[4].state == "interrupted"
    after = run_trials(opened, 6)
    assert before + after == undisturbed
    states = [trial.state for trial in opened.table().trials]
    assert states == ["finished"] * 4 + ["killed", "finished", "finished"]
    again = opened.table().trials[5]
    assert again.run is not None
    assert again.run.path == tmp_path / "b" / "first" / "00004"


def test_a_trial_that_kills_its_process_three_times_has_failed(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    for _ in range(3):
        killed_trial(opened)
    assert len(run_trials(opened, 2)) == 1
    assert [trial.state for trial in opened.table().trials] == ["killed", "killed", "failed", "finished"]


def test_a_trial_of_a_process_that_lives_stays_its_own(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    with opened.next_trial(2, None) as first:
        assert first is not None
        assert len(run_trials(open_study(opened.folder), 2)) == 1
        assert opened.table().trials[0].state == "running"
        opened.study.tell(first, (0.9, 1.0))
    assert [trial.state for trial in opened.table().trials] == ["finished", "finished"]


def test_no_trial_begins_that_would_end_too_late(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    run_trials(opened, 1)
    with opened.next_trial(None, time.time() + 0.5) as trial:
        assert trial is None
    with opened.next_trial(None, time.time() + 60) as trial:
        assert trial is not None


def test_a_line_that_was_written_in_part_does_not_spoil_the_study(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    run_trials(opened, 2)
    journal = opened.folder / "journal.log"
    with journal.open("a") as file:
        file.write('{"op_code":8,"wor')
    opened = open_study(opened.folder)
    run_trials(opened, 3)
    assert len(open_study(opened.folder).table().finished) == 3
    lines = journal.read_text("utf-8").splitlines()
    attribute = next(line for line in lines if '"seconds":' in line)
    elsewhere = [*lines[: lines.index(attribute)], attribute.replace('"seconds":1.0', '"run":"../../other"')]
    # A broken line, a trial before its study, a run that would be a path elsewhere.
    for damaged in (['{"op_code"', "{}"], lines[2:], elsewhere):
        journal.write_text("\n".join(damaged) + "\n", "utf-8")
        with pytest.raises(InputFileError, match="no journal of a study"):
            open_study(opened.folder)


@pytest.mark.parametrize(
    ("written", "forged", "said"),
    [
        ('"objective": "auc"', '"objective": "x"', "objective: Input should be 'auc' or 'rejection'"),
        ('"random_trials": 2', '"random_trials": "x"', "random_trials"),
        ('{"seconds": 1.0}', '{"seconds": -1}', "seconds"),
        ('{"seconds": 1.0}', '{"reason": [1]}', "reason"),
        ('{"seconds": 1.0}', '{"epoch_1": [1]}', "points"),
        ('{"seconds": 1.0}', '{"attempt": "x"}', "attempt"),
        ('{"seconds": 1.0}', '{"run": "../../other"}', "run"),
        ('"directions": [2, 1]', '"directions": [1]', "it has other objectives"),
        ('"param_name": "dropout"', '"param_name": "output_path"', "a parameter 'output_path', which is not searched"),
        ('"dropout": 0.1,', '"dropout": "x",', "is not a valid type"),
    ],
)
def test_a_forged_entry_of_a_journal_is_refused_by_name(written: str, forged: str, said: str, tmp_path: Path) -> None:
    opened = begun(tmp_path)
    # The first trial waits in a study that was only begun.
    run_trials(opened, 0 if "dropout" in forged else 2)
    journal = opened.folder / "journal.log"
    lines = [json.dumps(json.loads(line)) for line in journal.read_text("utf-8").splitlines()]
    place = max(number for number, line in enumerate(lines) if written in line)
    lines[place] = lines[place].replace(written, forged)
    journal.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(InputFileError, match=f"journal.log: is no journal of a study .*{said}"):
        open_study(opened.folder)


def test_a_study_is_begun_once_and_resumed_only_if_it_is_there(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    with pytest.raises(RunError, match="go on with it with --resume"):
        begun(tmp_path)
    assert open_study(opened.folder).plan == PLAN
    with pytest.raises(RunError, match="there is no study second"):
        open_study(study_folder(tmp_path, "second"))


def test_importances_are_shares_of_the_searched_settings(tmp_path: Path) -> None:
    opened = begun(tmp_path)
    run_trials(opened, 7)
    assert opened.importances() == []
    run_trials(opened, 12)
    by_figure, by_agreement = opened.importances()
    assert sum(by_figure.values()) == pytest.approx(1.0)
    assert max(by_figure, key=lambda name: by_figure[name]) == "dropout"
    assert max(by_agreement, key=lambda name: by_agreement[name]) == "agreement_strength"

"""Settings of `cr_trainer tune` and its search space."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import Range, TuneSettings, read_search_space, search_space, settings_with
from cal_ratio_trainer.errors import ConfigError

BASE = TrainSettings.make(agreement="distance", agreement_strength=4.0, num_splits=50)


def test_the_packaged_space_fits_both_profiles_and_lacks_a_strength_without_agreement() -> None:
    assert list(read_search_space(None, BASE)) == ["learning_rate", "agreement_strength", "dropout", "schedule"]
    assert "agreement_strength" not in read_search_space(None, TrainSettings.make(agreement="none"))
    assert list(read_search_space(None, BASE, {"dropout", "schedule"})) == ["learning_rate", "agreement_strength"]


def test_a_file_replaces_the_packaged_space(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    lines = "lr_values: {low: 1e-3, high: 0.01, log: true}", "num_splits: {low: 20, high: 100}", "lstm_layers: [1, 2]"
    file.write_text("\n".join(lines))
    assert read_search_space(file, BASE) == {
        "learning_rate": Range(low=1e-3, high=0.01, log=True),
        "num_splits": Range(low=20, high=100),
        "lstm_layers": [1, 2],
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"learning_rat": [1]}, "learning_rat is no setting of a training .did you mean learning_rate"),
        ({"seed": [1, 2]}, "seed cannot be searched"),
        ({"adversary_weight": [1, 2]}, "search that"),
        ({"learning_rate": {"low": -1, "high": 2}}, "learning_rate: should be above 0, got -1"),
        ({"learning_rate": {"low": 0.2, "high": 0.1}}, "low should be below high"),
        ({"dropout": {"low": 0, "high": 0.5, "log": True}}, "low should be above 0"),
        ({"dropout": {"low": 0.1, "hihg": 0.5}}, "did you mean high"),
        ({"num_splits": {"low": 1, "high": 2.5}}, "whole numbers"),
        ({"optimizer": {"low": 1, "high": 2}}, "takes a list of choices"),
        ({"optimizer": ["nadam", "adam"]}, "optimizer: should be 'nadam' or 'adamw', got 'adam'"),
        ({"dropout": 0.1}, "a list of choices, got 0.1"),
        ({"dropout": [0.1, 0.1]}, "lists a choice twice"),
        ({}, "nothing to search"),
    ],
)
def test_a_mistake_in_the_space_is_named_with_its_file(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        search_space(content, BASE, "space.yaml", set())
    assert all(mistake.startswith("space.yaml: ") for mistake in caught.value.mistakes)


def test_settings_of_a_trial_keep_those_that_are_not_searched() -> None:
    changed = settings_with(BASE, {"agreement": "adversary"})
    assert (changed.agreement_strength, changed.num_splits) == (10.0, 50)
    assert settings_with(BASE, {"agreement": "distance"}).agreement_strength == 4.0
    assert settings_with(BASE, {"agreement": "adversary", "agreement_strength": 3.0}).agreement_strength == 3.0
    assert settings_with(BASE, {"batch_size": 100}).num_splits is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folds": 3}, "give folds to"),
        ({"seeds": 3}, "give seeds to"),
        ({"main_training_file": "a", "cr_training_file": None, "agreement": "none"}, "give cr_training_file"),
        ({"c2st_every": 0}, "c2st_every above 0"),
        ({"study": "a/b"}, "letters, digits"),
    ],
)
def test_a_study_that_cannot_be_judged_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TuneSettings.make(**{"study": "first", **given})

"""Messages for wrong settings are plain English, without types and values of Python."""

from typing import Any

import pytest

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.runs import ImportSettings
from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError

BUILT = {"input_files": ["a"], "output_file": "b", "kind": "main"}
SAMPLE = {"cross_section_pb": 0}


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (TrainSettings, {"epochs": None}, "epochs: should be a whole number, got null"),
        (TrainSettings, {"epochs": 1.5}, "epochs: should be a whole number, got 1.5"),
        (TrainSettings, {"epochs": 10**20}, f"epochs: should be at most 1000000, got {10**20}"),
        (TrainSettings, {"threads": 10**20}, f"threads: should be at most 4096, got {10**20}"),
        (TrainSettings, {"accumulate": 10**20}, f"accumulate: should be at most 10000, got {10**20}"),
        (DemoSettings, {"jets": 10**20}, f"jets: should be at most 100000000, got {10**20}"),
        (BuildSettings, BUILT | {"workers": 10**20}, f"workers: should be at most 4096, got {10**20}"),
        (TrainSettings, {"dropout": "2"}, "dropout: should be below 1, got '2'"),
        (TrainSettings, {"folds": "1"}, "folds: should be at least 2, got '1'"),
        (TrainSettings, {"learning_rate": "nan"}, "learning_rate: should be a finite number, got 'nan'"),
        (TrainSettings, {"reshuffle": "maybe"}, "reshuffle: should be true or false, got 'maybe'"),
        (TrainSettings, {"device": "tpu"}, "device: should be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        (TrainSettings, {"pt_ranges": [1]}, "pt_ranges: should be a list of at least 2, got [1]"),
        (TrainSettings, {"tag": "two words"}, "tag: should be one word, got 'two words'"),
        (TrainSettings, {"tag": " word"}, "tag: should be one word, got ' word'"),
        (TrainSettings, {"tag": ""}, "tag: should be one word, got ''"),
        (
            TrainSettings,
            {"model_name": "../up"},
            "model_name: should be letters, digits and . _ + - only, a letter or digit first, got '../up'",
        ),
        (
            ImportSettings,
            {"path": "a", "model_name": ""},
            "model_name: should be letters, digits and . _ + - only, a letter or digit first, got ''",
        ),
        (ConvertSettings, {"shard": "x"}, "shard: should be two numbers i/n, e.g. 0/10, got 'x'"),
        (ConvertSettings, {"shard": "3/3"}, "shard: the first number of i/n goes from 0 to 2, got 3/3"),
        (BuildSettings, BUILT | {"output_file": None}, "output_file: should be a path, got null"),
        (BuildSettings, BUILT | {"samples": 3}, "samples: should be a path or a mapping, got 3"),
        (BuildSettings, BUILT | {"samples": {1: SAMPLE}}, "samples.1.cross_section_pb: should be above 0, got 0"),
        (ImportSettings, {"path": "a\udcff"}, "path: 'a\\udcff' is no text in UTF-8; rename the file or folder"),
        (
            ScoreSettings,
            {"input_files": ["good", "a\udcff"]},
            "input_files: 'a\\udcff' is no text in UTF-8; rename the file or folder",
        ),
        (BuildSettings, BUILT | {"input_files": [3]}, "input_files.0: should be a mapping, got 3"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(model: type[Settings], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(model, flags=given)
    told = [mistake.removeprefix("command line: ") for mistake in caught.value.mistakes]
    assert [each for each in told if "must be given" not in each] == [said]


@pytest.mark.parametrize("name", ["weight", "int", "a[0]"])
def test_what_is_no_setting_of_an_entry_is_named_whatever_it_is_called(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(BuildSettings, flags=BUILT | {"input_files": [{name: 3}]})
    said = [mistake.removeprefix("command line: ") for mistake in caught.value.mistakes]
    assert said[0] == "input_files.0.input_file must be given"
    assert said[1].startswith(f"input_files.0.{name} is no setting of this command")


def test_what_is_missing_within_an_entry_is_named_without_an_option_that_there_is_not() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(BuildSettings, flags=BUILT | {"input_files": [{"num_events": 3}]})
    assert caught.value.mistakes == ["command line: input_files.0.input_file must be given"]

"""Messages of a continued run about changes of its settings and its machine."""

import logging
from pathlib import Path

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.training.continuation import find_start
from tests.factories.runs import write_run


def test_settings_that_cannot_change_are_told_as_a_config_file_has_them(tmp_path: Path) -> None:
    write_run(tmp_path / "m" / "00000", record={"status": "interrupted"})
    flags = {"output_path": str(tmp_path), "model_name": "m", "folds": "3", "split": "row"}
    settings = TrainSettings.make(**flags)
    with pytest.raises(ConfigError) as caught:
        find_start([("packaged defaults", TrainSettings.defaults()), ("command line", flags)], settings, "0")
    assert caught.value.mistakes == [
        "folds is null in run m/00000 and cannot become 3 in the middle of it",
        "split is 'event' in run m/00000 and cannot become 'row' in the middle of it",
    ]


def test_another_machine_is_told_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path / "m" / "00000", record={"status": "interrupted", "machine": {"gpu": "a card"}})
    flags = {"output_path": str(tmp_path), "model_name": "m"}
    layers = [("packaged defaults", TrainSettings.defaults()), ("command line", flags)]
    with caplog.at_level(logging.WARNING):
        find_start(layers, TrainSettings.make(**flags), "0")
    assert "None" not in caplog.text
    assert "the run's processor was none that is known so far, here it is" in caplog.text

"""Messages of a continued run about changes of its settings and its machine."""

import logging
from pathlib import Path

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, UserError
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


@pytest.mark.parametrize("word", ["m/0", "m/-1", "m/00000"])
def test_a_run_of_any_model_is_named_as_in_all_commands(word: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "m" / "00000", record={"status": "interrupted"})
    flags = {"output_path": str(tmp_path)}
    layers = [("packaged defaults", TrainSettings.defaults()), ("command line", flags)]
    start = find_start(layers, TrainSettings.make(**flags), word)
    assert start.run is not None
    assert (start.run.path, start.settings.model_name) == (run.path, "m")


@pytest.mark.parametrize(
    ("word", "flags", "said"),
    [
        ("newest", {}, "NAME/RUN, a run number of --model_name.*; got 'newest'; models there: m"),
        ("n/0", {}, "no model n .*models there: m"),
        ("3", {}, "no model default .*models there: m"),
        ("m/0", {"model_name": "other"}, "--continue m/0 is a run of model m, --model_name is other; omit one"),
        ("m/0/fold_0", {}, "is one network of a set: --continue m/0 --fold 0"),
    ],
)
def test_a_run_that_is_not_there_is_answered_with_the_models(
    word: str, flags: dict[str, str], said: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "m" / "00000", record={"status": "interrupted"})
    (run.path / "fold_0").mkdir()
    settings = TrainSettings.make(output_path=str(tmp_path), **flags)
    with pytest.raises(UserError, match=said):
        find_start([("packaged defaults", TrainSettings.defaults()), ("command line", flags)], settings, word)

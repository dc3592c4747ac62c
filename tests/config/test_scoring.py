"""Settings of `cr_trainer score`; those of the earlier program keep their meaning."""

from pathlib import Path

import pytest

from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.errors import ConfigError


def test_an_old_configuration_names_its_report_and_its_network(tmp_path: Path) -> None:
    config = tmp_path / "old.yaml"
    config.write_text(
        "input_files: [a.pkl]\noutput_path: ./old/report.md\ntraining: {name: study, run: 3, epoch: 12}\n"
    )
    settings = load_settings(ScoreSettings, config)
    assert (settings.output_report, settings.training) == (Path("old/report.md"), "study/3/12")
    assert settings.output_path == Path("training_results")


def test_a_folder_of_runs_is_one_under_both_names() -> None:
    for name in ("output_path", "runs_path"):
        assert load_settings(ScoreSettings, flags={name: "elsewhere"}).output_path == Path("elsewhere")


def test_a_network_without_epoch_is_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "old.yaml"
    config.write_text("training: {name: study, run: 3}\n")
    with pytest.raises(ConfigError, match="NAME/RUN/EPOCH or a mapping of name, run, epoch, got one of name, run"):
        load_settings(ScoreSettings, config)


def test_paths_are_taken_for_names_of_files() -> None:
    settings = ScoreSettings.make(input_files=[Path("a.parquet")], training=Path("runs/default/0"))
    assert (settings.input_files, settings.training) == (["a.parquet"], "runs/default/0")

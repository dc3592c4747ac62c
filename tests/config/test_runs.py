"""Settings of the commands about runs, those of the earlier program among them."""

from pathlib import Path

import pytest

from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.runs import AnalyzeSettings, ConvertTrainingSettings
from cal_ratio_trainer.errors import ConfigError


def test_runs_of_an_analysis_are_read_from_the_earlier_program_s_config(tmp_path: Path) -> None:
    config = tmp_path / "analyze.yaml"
    config.write_text(
        "runs_to_analyze:\n  - name: default\n    run: 0\n  - {name: other, run: -1}\noutput_report: ./reports/a.md\n"
    )
    settings = load_settings(AnalyzeSettings, config)
    assert settings.runs_to_analyze == ["default/0", "other/-1"]
    assert settings.output_report == Path("reports/a.md")
    assert load_settings(AnalyzeSettings, config, {"runs_to_analyze": ["third/2"]}).runs_to_analyze == ["third/2"]


def test_a_run_in_other_words_is_refused_with_those_that_are_meant() -> None:
    for wrong in ({"name": "default"}, {"name": "default", "run": 0, "epoch": 3}):
        with pytest.raises(ConfigError, match="NAME/RUN or a mapping of name, run, got one of"):
            load_settings(AnalyzeSettings, None, {"runs_to_analyze": [wrong]})


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="auc-near-lowest-ks"):
        load_settings(AnalyzeSettings, None, {"rule": "gut feeling"})


def test_a_network_to_export_is_read_from_the_earlier_program_s_config(tmp_path: Path) -> None:
    config = tmp_path / "convert.yaml"
    config.write_text("run_to_convert:\n  name: default\n  run: 0\n  epoch: 1\noutput_json: model.json\n")
    settings = load_settings(ConvertTrainingSettings, config)
    assert settings.training == "default/0/1"
    assert settings.output_json == Path("model.json")
    assert settings.format == "fdeep"


def test_the_word_on_the_command_line_wins_over_the_config(tmp_path: Path) -> None:
    config = tmp_path / "convert.yaml"
    config.write_text("run_to_convert: {name: default, run: 0, epoch: 1}\n")
    assert load_settings(ConvertTrainingSettings, config, {"training": "other/2/best"}).training == "other/2/best"


def test_a_run_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "convert.yaml"
    config.write_text("run_to_convert: {name: default}\n")
    with pytest.raises(ConfigError, match="training: should be NAME/RUN/EPOCH or a mapping of name, run, epoch"):
        load_settings(ConvertTrainingSettings, config)


def test_scaling_within_the_file_is_for_onnx_only() -> None:
    with pytest.raises(ConfigError, match="with_preprocessing is for ONNX files, but the format is fdeep"):
        load_settings(ConvertTrainingSettings, None, {"training": "a/0/best", "with_preprocessing": True})
    with pytest.raises(ConfigError, match="opset is for ONNX files, but the format is keras"):
        load_settings(ConvertTrainingSettings, None, {"training": "a/0/best", "opset": 17, "format": "keras"})
    given = {"training": "a/0/best", "with_preprocessing": True, "format": "onnx", "opset": 10}
    with pytest.raises(ConfigError, match="opset: should be at least 11"):
        load_settings(ConvertTrainingSettings, None, given)

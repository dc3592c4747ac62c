"""Settings of `cr_trainer analyze`, those of the earlier program among them."""

from pathlib import Path

import pytest

from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.runs import AnalyzeSettings
from cal_ratio_trainer.errors import ConfigError


def test_a_configuration_of_the_earlier_program_is_read(tmp_path: Path) -> None:
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
        with pytest.raises(ConfigError, match="NAME/RUN or with name and run"):
            load_settings(AnalyzeSettings, None, {"runs_to_analyze": [wrong]})


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="auc-near-lowest-ks"):
        load_settings(AnalyzeSettings, None, {"rule": "gut feeling"})

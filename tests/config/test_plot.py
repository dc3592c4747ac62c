"""Settings of `cr_trainer plot`: words of the command line, configurations of the earlier program."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.config.plot import PlotInput, PlotSettings
from cal_ratio_trainer.errors import ConfigError

OLD_CONFIG = """
common_plots:
  - [jet_pT, jet_pt]
  - mcEventWeight
  - [MSeg_t0_1, nn_MSeg_t0_1]
data_labels_adversary: {0: Multijet MC, 2: Multijet Data}
data_labels_main: {0: Multijet MC, 1: Signal MC, 2: BIB Data}
plot_every_column: False
output_report: ./reports/report.md
input_files:
  - input_file: https://example.org/control.pkl
    legend_name: Adversary Data
  - input_file: main.pkl
    legend_name: Test Training Data
"""


def inputs(*words: str) -> list[tuple[str, str | None]]:
    """(file, name) of the inputs on the command line."""
    return [(each.input_file, each.legend_name) for each in PlotSettings.make(input_files=list(words)).input_files]


def test_a_word_is_a_file_or_a_name_and_a_file() -> None:
    assert inputs("a.pkl", "new data=b.pkl") == [("a.pkl", None), ("b.pkl", "new data")]


@pytest.mark.parametrize("word", ["data/year=2018/a.pkl", "https://x.org/f?a=b", "/a=b/c", "./a=b.pkl"])
def test_an_equals_sign_in_a_path_or_an_address_separates_no_name(word: str) -> None:
    assert inputs(word) == [(word, None)]


def test_a_name_may_stand_before_a_path_with_equals_signs() -> None:
    assert inputs("x=data/year=2018/a.pkl") == [("data/year=2018/a.pkl", "x")]


def test_a_file_that_is_there_under_the_whole_word_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b.pkl").touch()
    monkeypatch.chdir(tmp_path)
    assert inputs("a=b.pkl") == [("a=b.pkl", None)]


@pytest.mark.parametrize("word", ["=a.pkl", "name=", " =a.pkl"])
def test_half_a_pair_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match="should be NAME=FILE"):
        inputs(word)


def test_two_files_of_one_given_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two files are called a"):
        inputs("a=x.pkl", "a=y.pkl")


def test_a_configuration_of_the_earlier_program_is_understood(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD_CONFIG)
    settings = load_settings(PlotSettings, tmp_path / "old.yaml")
    assert settings.variables == [("jet_pT", "jet_pt"), ("mcEventWeight",), ("MSeg_t0_1", "nn_MSeg_t0_1")]
    assert settings.compared == [
        PlotInput(input_file="https://example.org/control.pkl", legend_name="Adversary Data"),
        PlotInput(input_file="main.pkl", legend_name="Test Training Data"),
    ]
    assert settings.data_labels_adversary == {0: "Multijet MC", 2: "Multijet Data"}
    assert settings.output_report == Path("reports/report.md")


@pytest.mark.parametrize("nothing", ["input_files: null", "input_files: []", ""])
def test_without_files_the_training_files_are_compared(tmp_path: Path, nothing: str) -> None:
    (tmp_path / "own.yaml").write_text(f"main_training_file: a.pkl\ncr_training_file: b.pkl\n{nothing}\n")
    settings = load_settings(PlotSettings, tmp_path / "own.yaml")
    assert [(each.input_file, each.legend_name) for each in settings.compared] == [
        ("a.pkl", "Main"),
        ("b.pkl", "Control region"),
    ]


def test_the_demo_does_not_take_the_place_of_a_file_that_is_not_given() -> None:
    with pytest.raises(ConfigError, match=r"main_training_file is a\.pkl, and cr_training_file is the demo"):
        load_settings(PlotSettings, flags={"main_training_file": "a.pkl"})


def test_the_packaged_configuration_of_the_analysis_names_both_files() -> None:
    first, second = load_settings(PlotSettings, "calratio2019").compared
    assert first.input_file.startswith("https://")
    assert second.input_file.endswith("processed_output_controlRegion_corrected.pkl")


def test_files_and_a_run_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="not both"):
        load_settings(PlotSettings, flags={"input_files": ["a.pkl"], "run": "default/0"})


def test_an_entry_without_a_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        PlotSettings.make(common_plots=[[]])

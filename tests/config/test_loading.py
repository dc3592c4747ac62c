"""Settings from defaults, YAML files and flags."""

import itertools
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from cal_ratio_trainer.config import loading
from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.loading import load_settings, read_config
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError


class Pot(Settings):
    """A nested part."""

    size: int = Field(default=1, ge=1, description="How large it is. [l]")


class Garden(Settings):
    """Settings for these tests."""

    aliases: ClassVar[dict[str, str]] = {"anzahl": "flowers"}
    ignored: ClassVar[dict[str, str]] = {"weather": "nobody can set it"}

    flowers: int = Field(default=3, ge=0, description="How many there are. [flowers]")
    height: float = Field(default=1.5, gt=0, description="How high they are. [m]")
    names: list[str] = Field(default=[], description="What they are called.")
    pot: Pot = Field(default=Pot(), description="What they stand in.")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Path of the YAML file of a test."""
    return tmp_path / "garden.yaml"


def test_a_flag_wins_over_the_file_and_the_file_over_the_defaults(config: Path) -> None:
    config.write_text("flowers: 5\nheight: 2.0\n")
    settings = load_settings(Garden, config, {"flowers": "7"})
    assert (settings.flowers, settings.height, settings.names) == (7, 2.0, [])


def test_all_mistakes_are_told_at_once_with_where_they_stand(config: Path) -> None:
    config.write_text("flowrs: 5\nheight: -1\npot: {sise: 2}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(Garden, config, {"flowers": "many"})
    said = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 4
    assert f"{config}: flowrs is no setting of this command (did you mean flowers?)" in said
    assert f"{config}: height: should be above 0, got -1" in said
    assert "pot.sise is no setting of this command (did you mean size?)" in said
    assert "command line: flowers: should be a whole number, got 'many'" in said
    assert all(mistake in str(caught.value) for mistake in caught.value.mistakes)


def test_an_old_name_is_accepted_but_not_beside_its_new_one(config: Path) -> None:
    config.write_text("anzahl: 4\n")
    assert load_settings(Garden, config).flowers == 4
    config.write_text("anzahl: 4\nflowers: 5\n")
    with pytest.raises(ConfigError, match="anzahl and flowers are names of the same setting; give only flowers"):
        load_settings(Garden, config)


def test_a_flag_under_the_new_name_wins_over_the_old_name_in_a_file(config: Path) -> None:
    config.write_text("anzahl: 4\n")
    assert load_settings(Garden, config, {"flowers": 6}).flowers == 6


def test_a_setting_without_meaning_is_passed_over_with_a_word(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text("weather: fine\n")
    assert load_settings(Garden, config) == Garden()
    assert "weather is ignored: nobody can set it" in caplog.text


def test_an_empty_file_changes_nothing(config: Path) -> None:
    config.write_text("# nothing yet\n")
    assert load_settings(Garden, config) == Garden()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n- b\n", "but holds a list"),
        ("a: [1\nb: 2\n", "is not valid YAML: line 2: expected ',' or ']', but got ':'"),
        ("a: \0\n", "is not valid YAML"),
        ("just words", "but holds a str"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_by_name(content: str, said: str, config: Path) -> None:
    config.write_text(content)
    with pytest.raises(InputFileError, match=rf"garden\.yaml: .*{said}"):
        load_settings(Garden, config)


@pytest.mark.parametrize(
    "value", ["2020-99-99", "9" * 5000, "!!timestamp x", "!!float x", "!!int x", "!!bool x", "!!int ''"]
)
def test_a_value_that_the_parser_stumbles_over_is_told_as_bad_yaml(value: str, config: Path) -> None:
    config.write_text(f"flowers: {value}\n")
    with pytest.raises(InputFileError, match=r"garden\.yaml: is not valid YAML: [^\n]+$"):
        load_settings(Garden, config)


def test_aliases_that_multiply_or_go_round_in_a_circle_are_refused_at_once(config: Path) -> None:
    names = "abcdefghij"
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in itertools.pairwise(names)]
    for content in ("\n".join([*lines, "flowers: *j"]), "flowers: &x [*x]", "flowers: &x {a: *x}"):
        config.write_text(content)
        with pytest.raises(InputFileError, match=r"garden\.yaml: holds more than 100000 values, or refers to itself"):
            load_settings(Garden, config)
    config.write_text("bed: &bed {name: roses}\nbeds: [*bed, *bed]\n")
    assert read_config(config)["beds"] == [{"name": "roses"}] * 2


def test_mappings_merged_into_each_other_do_not_multiply(config: Path) -> None:
    # PyYAML before 6.0.4 makes 9^29 pairs of these.
    lines = ["a0: &a0 {k: 1}", *(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}" for i in range(29))]
    config.write_text("\n".join(lines))
    assert read_config(config)["a29"] == {"k": 1}


def test_a_text_of_too_many_values_is_not_read_to_its_end(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_MAX_VALUES", 100)
    names = [f"name{number}: 1" for number in range(100)]
    config.write_text("\n".join(names[:99]))
    assert len(read_config(config)) == 99
    # The end is not YAML, so reading that far would raise an error.
    for content in ("\n".join([*names, "a: ]"]), f"flowers: [{'1, ' * 200} }}"):
        config.write_text(content)
        with pytest.raises(InputFileError, match=r"garden\.yaml: holds more than 100000 values"):
            load_settings(Garden, config)


def test_settings_know_which_of_them_were_given(config: Path) -> None:
    config.write_text("note: a word\n")
    given = load_settings(TrainSettings, config, {"epochs": TrainSettings().epochs})
    assert given.model_fields_set == {"note", "epochs"}
    assert given == TrainSettings(note="a word")


def test_a_long_value_is_told_by_its_beginning(config: Path) -> None:
    config.write_text(f"flowers: [{', '.join(['1'] * 1000)}]\n")
    with pytest.raises(ConfigError, match=r"flowers: should be .*, got \[1, 1, .*, 1\.\.\.$") as raised:
        load_settings(Garden, config)
    assert len(str(raised.value)) < 500


def test_a_file_of_jets_given_as_config_is_refused_by_name(config: Path) -> None:
    config.write_bytes(b"PAR1\xb5\xff")
    with pytest.raises(InputFileError, match=r"garden\.yaml: is no text file"):
        load_settings(Garden, config)


def test_a_file_with_more_text_than_settings_can_have_is_not_read(config: Path) -> None:
    config.write_text("# " + "x" * 2**24)
    with pytest.raises(InputFileError, match=r"garden\.yaml: has more than 16777216 bytes, too many for settings"):
        load_settings(Garden, config)
    config.write_text("flowers: 5")
    assert read_config(config, largest=10) == {"flowers": 5}
    with pytest.raises(InputFileError, match="more than 9 bytes"):
        read_config(config, largest=9)


def test_a_missing_file_is_answered_with_the_packaged_ones(tmp_path: Path) -> None:
    with pytest.raises(
        InputFileError, match=r"no such config file; packaged ones are calratio2019, calratio2019_full$"
    ):
        load_settings(TrainSettings, tmp_path / "none.yaml")
    with pytest.raises(InputFileError, match=r"no such config file \(did you mean calratio2019\?\); packaged"):
        load_settings(TrainSettings, "calratio2018")
    with pytest.raises(InputFileError, match=r"no such config file$"):
        load_settings(Garden, tmp_path / "none.yaml")


def test_settings_as_yaml_read_back_to_the_same(config: Path) -> None:
    settings = Garden(flowers=9, names=["rose", "tulip: red", "7"], pot=Pot(size=3))
    config.write_text(settings.as_yaml())
    assert load_settings(Garden, config) == settings


def test_settings_cannot_be_changed_after_they_are_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Garden().flowers = 1


def test_a_tilde_in_a_yaml_file_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shed(Settings):
        folder: Path | None = Field(default=None, description="Where the tools lie.")

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "shed.yaml").write_text("folder: ~/tools\n")
    assert load_settings(Shed, tmp_path / "shed.yaml").folder == tmp_path / "tools"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epochs: 3\n# more\nepochs: 5\n", "gives epochs twice, in lines 1 and 3"),
        ("{epochs: 3, seed: 1, epochs: 3}", "gives epochs twice, in lines 1 and 1"),
        (
            "input_files:\n  - input_file: a\n    data_type: qcd\n    input_file: b\n",
            "input_file twice, in lines 2 and 4",
        ),
    ],
)
def test_a_name_that_stands_twice_in_one_mapping_is_a_mistake(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(InputFileError, match=rf"config\.yaml: .*{said}"):
        read_config(file)

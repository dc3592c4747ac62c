"""Training settings that come from several sources and depend on each other."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cal_ratio_trainer.config.loading import layers_of, load_settings, read_packaged, settings_from
from cal_ratio_trainer.config.profiles import profile_notice, resolve_layers
from cal_ratio_trainer.config.training import EARLIER_NAMES, FIRST_SETTINGS, TrainSettings
from cal_ratio_trainer.errors import ConfigError

DEFAULTS = ("packaged defaults", TrainSettings.defaults())


def resolved(config: dict[str, Any] | None = None, **flags: Any) -> tuple[TrainSettings, list[str]]:
    files = [("a.yaml", TrainSettings.with_new_names(config))] if config is not None else []
    layers = [DEFAULTS, *files, ("command line", flags)]
    new_layers, notices = resolve_layers(layers)
    return settings_from(TrainSettings, new_layers), notices


def test_without_a_config_file_the_profile_is_best_and_the_demo_has_few_epochs() -> None:
    settings, _ = resolved()
    assert (settings.profile, settings.epochs, settings.sample_fraction) == ("best", 15, 1.0)
    assert (settings.agreement, settings.agreement_strength) == ("distance", 6.0)
    layers, _ = resolve_layers([DEFAULTS, ("command line", {"epochs": 3})])
    assert profile_notice(layers).startswith("profile best (the default): agreement distance")
    assert profile_notice(layers).endswith(", sample_fraction 1.0")
    other, _ = resolved(main_training_file="a.parquet")
    assert (other.profile, other.epochs, other.sample_fraction) == ("best", 100, 0.5)


def test_a_config_file_begins_from_the_best_profile_and_may_ask_for_the_manual_one() -> None:
    settings, _ = resolved({})
    assert (settings.profile, settings.agreement, settings.agreement_strength) == ("best", "distance", 6.0)
    assert (settings.epochs, settings.sample_fraction) == (100, 0.5)
    assert resolved({"profile": "manual"})[0] == TrainSettings()
    assert resolved({"profile": "best"}, profile="manual")[0] == TrainSettings()
    assert resolved({"profile": "best", "agreement_strength": 5})[0].agreement_strength == 5
    with pytest.raises(ConfigError, match="profile"):
        resolved({"profile": "beast"})


@pytest.mark.parametrize("name", sorted(EARLIER_NAMES))
def test_a_config_file_of_the_earlier_program_has_the_manual_profile(name: str, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    value = {"filters": [8, 4, 2], "nodes": 8, "layers": 1}.get(name.partition("_")[0], 0.1)
    file.write_text(f"{name}: {value}\n")
    layers, _ = resolve_layers(layers_of(TrainSettings, file, {}))
    assert settings_from(TrainSettings, layers).profile == "manual"
    assert profile_notice(layers).startswith(
        f"profile manual ({file} has {name}, a setting of the earlier program): agreement"
    ) == (name != "adversary_weight")
    file.write_text(file.read_text() + "profile: best\n")
    layers, _ = resolve_layers(layers_of(TrainSettings, file, {}))
    assert settings_from(TrainSettings, layers).profile == "best"
    assert profile_notice(layers).startswith(f"profile best ({file}): ")


def test_the_settings_of_a_run_that_stored_no_profile_have_the_manual_one(tmp_path: Path) -> None:
    file = tmp_path / "training_params.yaml"
    stored = yaml.safe_load(TrainSettings().as_yaml())
    file.write_text(yaml.safe_dump({name: stored[name] for name in FIRST_SETTINGS}))
    layers, _ = resolve_layers(layers_of(TrainSettings, file, {}))
    assert settings_from(TrainSettings, layers) == TrainSettings()
    assert "has the settings of a run without a profile" in profile_notice(layers)


def test_a_flag_for_the_weight_of_the_adversary_changes_the_agreement_only(tmp_path: Path) -> None:
    settings, _ = resolved(adversary_weight=3)
    assert (settings.agreement, settings.agreement_strength) == ("adversary", 3.0)
    best, _ = resolved()
    assert settings.model_copy(update={"agreement": "distance", "agreement_strength": 6.0}) == best


def test_the_packaged_manual_profile_is_that_of_the_defaults() -> None:
    profile = read_packaged("manual", "profiles")
    assert TrainSettings.make(**profile) == TrainSettings()
    assert profile.keys() >= read_packaged("best", "profiles").keys()


@pytest.mark.parametrize(
    ("flags", "agreement", "strength"),
    [
        ({"adversary_weight": "1"}, "adversary", 1.0),
        ({"adversary_weight": 0}, "none", None),
        ({"agreement": "adversary"}, "adversary", 10.0),
        ({"agreement": "adversary", "agreement_strength": 3}, "adversary", 3.0),
        ({"agreement": "none"}, "none", None),
        ({"agreement": "another"}, "another", 1.0),
        ({"agreement_strength": 3}, "distance", 3.0),
        ({"domain_loss": "adversary", "adversary_weight": 2.5}, "adversary", 2.5),
    ],
)
def test_the_method_of_agreement_and_its_strength(
    flags: dict[str, Any], agreement: str, strength: float | None
) -> None:
    settings, _ = resolved(**TrainSettings.with_new_names(flags))
    assert (settings.agreement, settings.agreement_strength) == (agreement, strength)
    assert "adversary_weight" not in settings.as_yaml()


@pytest.mark.parametrize(
    "given",
    [
        {"adversary_weight": 1, "agreement_strength": 1},
        {"adversary_weight": 1, "agreement": "distance"},
        {"adversary_weight": 0, "agreement": "distance"},
        {"adversary_weight": 1, "agreement": "none"},
    ],
)
def test_the_adversary_and_another_method_at_once_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"adversary_weight .* give one of the two"):
        load_settings(TrainSettings, flags=given)


def test_the_strength_that_a_method_has_by_default_does_not_count_as_given() -> None:
    assert "agreement_strength" not in TrainSettings(epochs=2).model_fields_set


def test_a_flag_wins_over_the_demo_profile() -> None:
    assert resolved(epochs="3")[0].epochs == 3


@pytest.mark.parametrize("flags", [{"main_training_file": "a.parquet"}, {"cr_training_file": "a.parquet"}])
def test_any_other_input_keeps_the_epochs_and_splits_of_the_manual(flags: dict[str, Any]) -> None:
    settings, notices = resolved(**flags)
    assert (settings.epochs, settings.num_splits, settings.sample_fraction) == (100, 50, 0.5)
    assert notices == []


def test_a_config_file_takes_the_demo_as_it_says() -> None:
    assert resolved({"learning_rate": 0.001})[0].epochs == 100


@pytest.mark.parametrize(
    ("flags", "masses"),
    [
        ({}, "all"),
        ({"include_low_mass": True}, "low"),
        ({"include_high_mass": True}, "high"),
        ({"include_low_mass": True, "include_high_mass": True}, "all"),
        ({"include_low_mass": False}, "high"),
        ({"include_low_mass": False, "include_high_mass": False}, "all"),
    ],
)
def test_a_mass_flag_alone_means_only_these_masses(flags: dict[str, Any], masses: str) -> None:
    assert resolved(**flags)[0].masses == masses


def test_num_splits_wins_over_batch_size_where_both_come_from_a_file_and_it_is_said_once() -> None:
    settings, notices = resolved({"num_splits": 7, "batch_size": 512, "main_training_file": "a"})
    assert (settings.num_splits, settings.batch_size) == (7, None)
    assert len(notices) == 1


def test_batch_size_alone_takes_the_place_of_the_default_num_splits() -> None:
    for settings, _ in (resolved({"batch_size": 512}), resolved(batch_size="512")):
        assert (settings.num_splits, settings.batch_size) == (None, 512)


def test_batch_size_alone_is_enough_in_an_object_too() -> None:
    settings = TrainSettings(batch_size=512)
    assert (settings.num_splits, settings.batch_size) == (None, 512)


def test_all_settings_of_an_object_may_be_given_though_one_of_the_two_is_null() -> None:
    for settings in (TrainSettings(batch_size=512), TrainSettings(num_splits=7)):
        given = {name: getattr(settings, name) for name in TrainSettings.model_fields}
        assert resolved(**given)[0] == settings


def test_a_flag_takes_the_place_of_the_other_one_in_the_file() -> None:
    assert resolved({"num_splits": 7}, batch_size="512")[0].num_splits is None
    assert resolved({"batch_size": 512}, num_splits="7")[0].batch_size is None


def test_both_on_the_command_line_is_an_error() -> None:
    with pytest.raises(ConfigError, match="either --num_splits or --batch_size"):
        resolved(num_splits="7", batch_size="512")


def test_a_configuration_of_the_earlier_program_runs_unchanged() -> None:
    old = {
        "model_name": "old",
        "filters_cnn_constit": [64, 32],
        "frac_list": 0.25,
        "nodes_constit_lstm": 22,
        "reg_values": 1e-9,
        "dropout_array": 0.1,
        "layers_list": 2,
        "filters_cnn_track": [8],
        "nodes_track_lstm": 5,
        "filters_cnn_MSeg": [4],
        "nodes_MSeg_lstm": 3,
        "learning_rate": 0.01,  # the first versions had it under both names
        "lr_values": 0.01,
        "data_cache": "/tmp/calratio_training",
        "batch_size": 512,
        "num_splits": 10,
        "include_low_mass": True,
        "include_high_mass": False,
    }
    settings, _ = resolved(old)
    assert settings.cluster_filters == [64, 32]
    assert settings.sample_fraction == 0.25
    assert (settings.learning_rate, settings.lstm_layers, settings.dropout) == (0.01, 2, 0.1)
    assert settings.masses == "low"


def test_the_order_of_the_keys_of_a_file_does_not_matter(tmp_path: Path) -> None:
    given = {
        **{"profile": "best", "agreement": "distance", "agreement_strength": 3.0, "encoder": "transformer"},
        **{"encoder_options": ["width=16", "heads=2"], "lr_values": 0.002, "batch_size": 500, "folds": 3, "seed": 7},
        **{"include_low_mass": False, "cr_training_file": {"a": "a.parquet", "b": "b.parquet"}, "epochs": 12},
        "cr_shares": {"a": 0.25, "b": 0.75},
    }
    found = []
    for number, keys in enumerate((list(given), sorted(given), sorted(given, reverse=True))):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump({key: given[key] for key in keys}, sort_keys=False))
        layers, notices = resolve_layers(layers_of(TrainSettings, file, {"dropout": 0.1}))
        found.append((settings_from(TrainSettings, layers), notices))
    assert found[0] == found[1] == found[2]
    assert (found[0][0].learning_rate, found[0][0].agreement_strength, found[0][0].epochs) == (0.002, 3.0, 12)


def test_an_old_and_a_new_name_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="lr_values and learning_rate are names of the same setting"):
        load_settings(TrainSettings, flags={"lr_values": 0.1, "learning_rate": 0.2})


def test_all_mistakes_are_told_at_once_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(TrainSettings, flags={"epoch": 3, "dropout": "1.5", "device": "tpu", "model_name": "../up"})
    text = "\n".join(error.value.mistakes)
    assert len(error.value.mistakes) == 4
    assert "epoch is no setting of this command (did you mean epochs?)" in text
    for name in ("dropout", "device", "model_name"):
        assert name in text


@pytest.mark.parametrize("name", ["calratio2019", "calratio2019_full"])
def test_the_packaged_configurations_name_the_files_of_the_group(name: str) -> None:
    settings = load_settings(TrainSettings, name)
    assert settings.main_training_file.startswith("https://cernbox.cern.ch/")
    assert str(settings.cr_training_file).endswith("processed_output_controlRegion_corrected.pkl")
    assert settings.epochs == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", "inf"),
        ("cluster_filters", [64, 0]),
        ("muon_segment_filters", ["-2"]),
        ("track_filters", [99999999999]),
        ("hidden_layer_fraction", 1e9),
        ("seed", 2**63),
        ("pt_ranges", [0.3, 0.3]),
        ("pt_ranges", [0.0, 0.3]),
    ],
)
def test_values_that_no_training_could_use_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        load_settings(TrainSettings, flags={name: value})


def test_one_network_of_a_set_needs_the_size_of_the_set() -> None:
    with pytest.raises(ConfigError, match=r"^--fold 1 trains one network of a set: add --folds with"):
        load_settings(TrainSettings, flags={"fold": "1"})
    with pytest.raises(ConfigError, match="fold goes from 0 to 2 with 3 folds, got 5"):
        load_settings(TrainSettings, flags={"fold": "5", "folds": "3"})


def test_a_file_that_says_no_number_of_mini_batches_is_told_what_to_give() -> None:
    with pytest.raises(ConfigError, match="num_splits or batch_size must be given, one of them; neither is"):
        resolved({"num_splits": None})


def test_a_main_file_without_agreement_needs_no_control_region() -> None:
    for flags in ({"adversary_weight": "0"}, {"adversary_weight": 0}, {"agreement": "none"}):
        given = TrainSettings.with_new_names({"main_training_file": "a.parquet", **flags})
        assert resolved(**given)[0].cr_training_file is None
        assert resolved(**given, cr_training_file="b.parquet")[0].cr_training_file == "b.parquet"
    assert resolved({"main_training_file": "a.parquet", "adversary_weight": 0})[0].cr_training_file is None
    assert resolved(agreement="none")[0].cr_training_file == "demo"


def test_agreement_without_control_region_is_refused() -> None:
    assert resolved(main_training_file="a.parquet")[0].cr_training_file == "demo"
    with pytest.raises(ConfigError, match="agreement adversary needs a control region"):
        load_settings(TrainSettings, flags={"main_training_file": "a.parquet", "cr_training_file": None})

"""Settings of a training that come from several sources and depend on each other: profiles, the demo, mass flags."""

from typing import Any

from cal_ratio_trainer.config.learning import NO_AGREEMENT
from cal_ratio_trainer.config.loading import Layers, read_packaged
from cal_ratio_trainer.config.training import DEMO, FIRST_SETTINGS, TrainSettings
from cal_ratio_trainer.errors import ConfigError

DEMO_PROFILE = "demo profile"
PROFILES = ("manual profile", "best profile", DEMO_PROFILE)
"""Names of the layers of settings that come from a profile."""


def resolve_layers(layers: Layers) -> tuple[Layers, list[str]]:
    """Resolves settings that depend on each other across layers.

    * A single `--include_low_mass` on the command line means low masses only; the same for high masses.
    * num_splits and batch_size: the one given later wins; both in one file: num_splits.
    * A profile comes right above the defaults: the one asked for; 'manual' for a config file of the earlier program
      or of a run that stored no profile; else 'best'. The built-in demo without a config file has fewer epochs, of all
      jets.
    * A layer that asks for another agreement without a strength takes the default strength of that method.
    * Without agreement a main training file needs no control region: by default it has none, not the demo's.

    Args:
        layers: (source, settings) from the packaged defaults to the command line.

    Returns:
        The layers to validate, and sentences for the user.

    Raises:
        ConfigError: num_splits and batch_size both on the command line, or one setting under two names.
    """
    try:
        result = [(source, TrainSettings.with_new_names(content)) for source, content in layers]
    except ValueError as error:
        raise ConfigError([str(error)]) from error
    notices: list[str] = []
    flags = result[-1][1]
    if flags.get("num_splits") is not None and flags.get("batch_size") is not None:
        raise ConfigError(["give either --num_splits or --batch_size"])
    _lone_mass_flag(flags)
    has_config, merged = len(layers) > 2, _merged(result[1:])
    files = [merged.get(name, DEMO) for name in ("main_training_file", "cr_training_file")]
    for place, (source, content) in enumerate(result[1:], 1):
        if "profile" not in content and content.keys() >= set(FIRST_SETTINGS):
            result.insert(place, (f"{source} has the settings of a run without a profile", {"profile": "manual"}))
            break
    profile = _merged(result[1:]).get("profile", "best")
    if profile in ("manual", "best"):
        result.insert(1, (f"{profile} profile", {"profile": profile, **read_packaged(profile, "profiles")}))
    if files == [DEMO, DEMO] and not has_config:
        result.insert(-1, (DEMO_PROFILE, demo_profile()))
    agreement = TrainSettings.model_fields["agreement"].default
    for source, content in result[1:]:
        if content.get("agreement", agreement) != agreement:
            agreement = content["agreement"]
            content.setdefault("agreement_strength", None)
        if content.get("num_splits") is not None and content.get("batch_size") is not None:
            notices.append(f"{source} gives num_splits and batch_size; num_splits counts")
            content["batch_size"] = None
        elif content.get("num_splits") is not None:
            content["batch_size"] = None
        elif content.get("batch_size") is not None:
            content["num_splits"] = None
    if _merged(result).get("main_training_file", DEMO) != DEMO and agreement == NO_AGREEMENT:
        result[0][1]["cr_training_file"] = None
    return result, notices


def demo_beside_file(main: str, control: str) -> str | None:
    """Returns the mistake if only one training file is the demo; else None."""
    if (main == DEMO) == (control == DEMO):
        return None
    given, file, missing = "main_training_file", main, "cr_training_file"
    if main == DEMO:
        given, file, missing = "cr_training_file", control, "main_training_file"
    return f"{given} is {file}, and {missing} is the demo, whose jets are not mixed with others: give both files"


def profile_notice(layers: Layers) -> str:
    """Sentence on the profile in use, the reason for it, and the settings that come from it."""
    from_profile = dict[str, Any]()
    given = dict[str, Any]()
    reason = "the default"
    for source, content in layers[1:]:
        (from_profile if source in PROFILES else given).update(content)
        if "profile" in content and source not in PROFILES:
            reason = source or "as given"
    profile = given.get("profile", from_profile.get("profile", "manual"))
    told = [f"{name} {value}" for name, value in from_profile.items() if name != "profile" and name not in given]
    return f"profile {profile} ({reason}){': ' if told else ''}{', '.join(told)}"


def demo_profile() -> dict[str, Any]:
    """Returns settings under which the demo trains in a few minutes on two cores: all jets, few epochs."""
    return {"epochs": 15, "sample_fraction": 1.0}


def default_words() -> dict[str, str]:
    """Returns texts for --help of the defaults that depend on the profile or on the demo, by setting."""
    defaults = TrainSettings.defaults()
    best, manual = (read_packaged(name, "profiles") for name in ("best", "manual"))
    words = {name: f"{best[name]}; profile manual: {manual[name]}" for name in best}
    words |= {name: f"{defaults[name]}; demo: {value}" for name, value in demo_profile().items()}
    return {**words, "profile": "best; for a config file of the earlier program: manual"}


def _merged(layers: Layers) -> dict[str, Any]:
    return {name: value for _, content in layers for name, value in content.items()}


def _lone_mass_flag(flags: dict[str, Any]) -> None:
    for given, other in (("include_low_mass", "include_high_mass"), ("include_high_mass", "include_low_mass")):
        if flags.get(given) is True and other not in flags:
            flags[other] = False
            return

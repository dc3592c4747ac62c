"""Settings of `cr_trainer tune`, and the space of settings that it searches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from cal_ratio_trainer.config.base import FigureSettings, ModelName, SchedulingSettings, Settings
from cal_ratio_trainer.config.loading import mistakes_of, read_packaged, read_yaml, shown
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, did_you_mean

Objective = Literal["auc", "rejection"]
Measure = Literal["c2st", "ks"]

USUAL_TRIALS = 20
"""Number of trials of a study if neither trials nor hours are given."""

_NOT_SEARCHED = {
    *("model_name", "main_training_file", "cr_training_file", "cr_shares", "cr_judge_file", "output_path", "tag"),
    *("note", "cache_path", "seed"),
    *("start_from", "profile", "sample_fraction", "train_fraction", "split", "folds", "fold", "include_low_mass"),
    *("include_high_mass", "low_masses", "high_masses", "weight_column", "bad_weights", "pt_ranges", "c2st_every"),
    *("mH_parametrization", "mS_parametrization", "keep_weights", "ks_limit", "threads", "device", "data_place"),
    *("seeds", "member", "epoch_plots", "epoch_plots_of", "plot_processes", "tensorboard", "mlflow"),
    *FigureSettings.model_fields,
}
"""Settings that do not change how a network learns: the jets that a trial reads and is judged on, and its place."""


class TuneSettings(SchedulingSettings, TrainSettings):
    """Settings of `cr_trainer tune`; the settings of a training are for all that is not searched."""

    study: ModelName = Field(
        default="tune",
        description="Name of the study: its trials are the runs of a model of this name, with the report beside them.",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        description="Number of trials of the study in all, those of earlier calls included; null takes "
        f"{USUAL_TRIALS}, or with hours as many as fit. [trials]",
    )
    hours: float | None = Field(
        default=None,
        gt=0,
        description="No trial begins that would end later than this after the start; null sets no limit. [h]",
    )
    objective: Objective = Field(
        default="auc",
        description="First objective, on the validation part: AUC, or background rejection at 90 % signal efficiency.",
    )
    agreement_measure: Measure = Field(
        default="c2st",
        description="Second objective, on the validation part: excess of C2ST or of the K-S sum over identical "
        "distributions, in units of their spread.",
    )
    search: Path | None = Field(
        default=None,
        description="YAML file with the settings to search: ranges {low, high, log} or lists of choices; null takes a "
        "packaged one. A setting that the command line gives is not searched.",
    )
    random_trials: int = Field(
        default=10,
        ge=1,
        description="Number of trials with settings drawn at random before the sampler learns from them. [trials]",
    )
    prune: int | None = Field(
        default=3,
        ge=1,
        description="Stop a trial after an epoch in which this number of other trials were clearly better in both "
        "objectives; null never stops one. [trials]",
    )
    keep_trials: Literal["all", "front"] = Field(
        default="all",
        description="Keep the networks and test jets of all trials, or only of those on the front when the study ends.",
    )
    resume: bool = Field(default=False, description="Continue a study; trials that were killed are tried again.")

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        for name in ("folds", "seeds"):
            if getattr(self, name) is not None:
                raise ValueError(f"tune trains single networks: give {name} to 'cr_trainer train --config best.yaml'")
        if self.cr_training_file is None:
            raise ValueError("tune judges trials in a control region: give cr_training_file")
        if self.agreement_measure == "c2st" and not self.c2st_every:
            raise ValueError("agreement_measure c2st needs c2st_every above 0")
        return self

    def base(self) -> TrainSettings:
        """Returns the settings of a training without the settings of the study."""
        names = TrainSettings.model_fields.keys() - {"adversary_weight"}
        return TrainSettings.model_validate({name: getattr(self, name) for name in names})


class Range(Settings):
    """Range of a setting that is searched.

    Attributes:
        low, high: its ends, both included; whole numbers for a setting of whole numbers.
        log: equal factors are equally likely, in place of equal steps.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low should be below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low should be above 0 where log is true, got {self.low:g}")
        return self


SearchSpace = dict[str, Range | list[Any]]
"""Settings of a training by name, with a range or a list of choices each."""


def read_search_space(file: Path | None, base: TrainSettings, fixed: set[str] | None = None) -> SearchSpace:
    """Reads the settings to search, and checks each of their values with the other settings.

    Args:
        file: YAML; None takes the packaged one, without the strength of agreement if `base` has no agreement.
        base: settings of a training, for all that is not searched.
        fixed: names to leave out, because the user gave their values.

    Raises:
        ConfigError: an unknown setting (and the nearest good one), one that cannot be searched, a bad range or value.
        InputFileError: the file is missing or is no YAML mapping.
    """
    if file is None:
        content = read_packaged("default", "search")
        if not base.has_agreement:
            del content["agreement_strength"]
    else:
        content = read_yaml(file)
    return search_space(content, base, str(file or "search space"), fixed or set())


def search_space(content: Mapping[str, Any], base: TrainSettings, source: str, fixed: set[str]) -> SearchSpace:
    """Returns a checked search space from plain content; arguments and errors as `read_search_space`."""
    space: SearchSpace = {}
    mistakes: list[str] = []
    for given, values in content.items():
        name = TrainSettings.aliases.get(given, given)
        if name in fixed:
            continue
        try:
            space[name] = _checked(name, values, base)
        except ConfigError as error:
            mistakes += [f"{source}: {mistake}" for mistake in error.mistakes]
    if not mistakes and not space:
        mistakes = [f"{source}: there is nothing to search"]
    if mistakes:
        raise ConfigError(mistakes)
    return space


def _checked(name: str, values: Any, base: TrainSettings) -> Range | list[Any]:
    if name not in TrainSettings.model_fields:
        raise ConfigError([f"{name} is no setting of a training{did_you_mean(name, TrainSettings.model_fields)}"])
    if name == "adversary_weight":
        raise ConfigError(["adversary_weight is the agreement_strength of agreement adversary; search that"])
    if name in _NOT_SEARCHED:
        raise ConfigError([f"{name} cannot be searched: trials would not be comparable, or it changes no network"])
    if isinstance(values, dict):
        try:
            found = Range.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{name}: {mistake}" for mistake in mistakes_of(Range, error)) from error
        annotation = TrainSettings.model_fields[name].annotation
        kinds = {annotation, *get_args(annotation)}
        if float in kinds:
            found = Range(low=float(found.low), high=float(found.high), log=found.log)
        elif int not in kinds:
            raise ConfigError([f"{name}: takes a list of choices, not a range"])
        elif isinstance(found.low, float) or isinstance(found.high, float):
            raise ConfigError([f"{name}: low and high should be whole numbers"])
        for value in (found.low, found.high):
            settings_with(base, {name: value})
        return found
    if not isinstance(values, list) or not values:
        raise ConfigError([f"{name}: should be {{low, high, log}} or a list of choices, got {shown(values)}"])
    if any(values.count(value) > 1 for value in values):
        raise ConfigError([f"{name}: lists a choice twice"])
    for value in values:
        settings_with(base, {name: value})
    return values


def settings_with(base: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """Returns the settings of a training with some values changed.

    Another agreement without a strength gets the default strength of its method, and of `num_splits` and `batch_size`
    the one in `values` counts.

    Raises:
        ConfigError: they are no valid settings; names all mistakes.
    """
    content = {name: getattr(base, name) for name in base.model_fields_set | {"agreement_strength"}}
    content.pop("adversary_weight", None)
    if "agreement" in values and values["agreement"] != base.agreement:
        content["agreement_strength"] = None
    if "batch_size" in values or "num_splits" in values:
        content |= {"batch_size": None, "num_splits": None}
    content |= values
    try:
        return TrainSettings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(mistakes_of(TrainSettings, error)) from error

"""Plan of a study: the settings that all its trials have in common, and those that are searched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import Measure, Objective, Range, SearchSpace, search_space, settings_with

if TYPE_CHECKING:
    import optuna


class Checked(BaseModel):
    """Entries of an untrusted journal; those without a field here are not checked."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _PlanEntries(Checked):
    settings: dict[str, Any]
    search: dict[str, Any]
    objective: Objective
    agreement_measure: Measure
    prune: PositiveInt | None
    random_trials: PositiveInt


@dataclass(frozen=True)
class Plan:
    """Everything that the trials of a study have in common.

    Attributes:
        settings: of a training, for all settings that are not searched.
        search: settings that are searched.
        objective, measure: the two objectives.
        prune: number of clearly better trials at which a trial is stopped; None never stops one.
        random_trials: number of trials with random settings.
    """

    settings: TrainSettings
    search: SearchSpace
    objective: Objective
    measure: Measure
    prune: int | None
    random_trials: int

    def as_plain(self) -> dict[str, Any]:
        """Returns the content in types of JSON."""
        search = {
            name: values.model_dump() if isinstance(values, Range) else values for name, values in self.search.items()
        }
        return {
            "settings": self.settings.model_dump(mode="json"),
            "search": search,
            "objective": self.objective,
            "agreement_measure": self.measure,
            "prune": self.prune,
            "random_trials": self.random_trials,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Plan":
        """Returns the plan from its plain content.

        Raises:
            ValueError: it is no plan.
            ConfigError: this version refuses its settings.
        """
        _PlanEntries.model_validate(plain)
        settings = TrainSettings.make(**plain["settings"])
        search = search_space(plain["search"], settings, "search space of the study", set())
        return cls(
            settings,
            search,
            plain["objective"],
            plain["agreement_measure"],
            plain["prune"],
            plain["random_trials"],
        )

    def distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        """Returns the search space for Optuna; a choice that is a list is written as text."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, values in self.search.items():
            if not isinstance(values, Range):
                found[name] = CategoricalDistribution([_as_choice(value) for value in values])
            elif isinstance(values.low, int) and isinstance(values.high, int):
                found[name] = IntDistribution(values.low, values.high, log=values.log)
            else:
                found[name] = FloatDistribution(values.low, values.high, log=values.log)
        return found

    def searched(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values of the searched settings, from the parameters of a trial."""
        found = {}
        for name, value in params.items():
            values = self.search.get(name)
            choices = values if isinstance(values, list) else ()
            found[name] = next((choice for choice in choices if _as_choice(choice) == value), value)
        return found

    def settings_of(self, params: Mapping[str, Any]) -> TrainSettings:
        """Returns the settings of a training with those of a trial; errors as `settings_with`."""
        return settings_with(self.settings, self.searched(params))

    def first_params(self) -> dict[str, Any] | None:
        """Returns the parameters of a trial with the plan's own settings; None where the space lacks one of them."""
        params = {}
        for name, values in self.search.items():
            value = getattr(self.settings, name)
            if isinstance(values, Range):
                is_inside = value is not None and values.low <= value <= values.high
            else:
                is_inside = value in values
            if not is_inside:
                return None
            params[name] = _as_choice(value)
        return params


def _as_choice(value: Any) -> Any:
    return yaml.safe_dump(value, default_flow_style=True).strip() if isinstance(value, list) else value

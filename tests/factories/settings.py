"""Settings from a YAML file and flags, as a command makes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.loading import SettingsType, layers_of, settings_from


def load_settings(
    model: type[SettingsType], config: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> SettingsType:
    """The settings of a command from its config file and flags."""
    return settings_from(model, layers_of(model, config, flags))

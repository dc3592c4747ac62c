"""Settings from their sources: packaged defaults, then a YAML file, then flags; all mistakes told at once."""

import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.mistakes import mistakes_of
from cal_ratio_trainer.errors import ConfigError, InputFileError, did_you_mean

SettingsType = TypeVar("SettingsType", bound=Settings)

DEFAULTS = "packaged defaults"
"""Name of the layer with the defaults of a model."""

LARGEST_FILE = 2**24
"""Bytes that a config file may have: about as many as the most values take, with long names."""

LARGEST_OF_A_RUN = 2**20
"""The same of the settings in a run's folder, of which a table of runs reads many; reading this much takes seconds."""

_MOST_VALUES = 100_000
"""How many a file may hold. A few lines of aliases can stand for more than the memory takes."""
_TOO_MUCH = f"holds more than {_MOST_VALUES} values, or refers to itself"

_log = logging.getLogger(__name__)


def load_settings(
    model: type[SettingsType], config: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> SettingsType:
    """The settings of a command.

    Args:
        model: which settings.
        config: a YAML file, or the name of a packaged one (see `packaged_configs`); None for defaults only.
        flags: what the command line gave, by field name; the last word.

    Raises:
        ConfigError: with all mistakes: unknown names (and the nearest good one), wrong types, values out of range.
        InputFileError: the file is not there or is no YAML mapping.
    """
    return settings_from(model, layers_of(model, config, flags))


def layers_of(
    model: type[Settings],
    config: str | Path | None,
    flags: Mapping[str, Any] | None,
    source: str = "command line",
) -> list[tuple[str, dict[str, Any]]]:
    """The sources of settings, weakest first, each with a name for messages, under today's names."""
    layers = [(DEFAULTS, model.defaults())]
    if config is not None:
        layers.append((str(config), read_config(config, model=model)))
    layers.append((source, dict(flags or {})))
    for source, content in layers:
        for name in model.ignored.keys() & {model.aliases.get(key, key) for key in content}:
            _log.warning("%s: %s is ignored: %s", source, name, model.ignored[name])
    try:
        return [(source, model.with_new_names(content)) for source, content in layers]
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def settings_from(model: type[SettingsType], layers: list[tuple[str, dict[str, Any]]]) -> SettingsType:
    """One settings object from layers, later ones winning; its `model_fields_set` names what is not a plain default.

    Raises:
        ConfigError: as `load_settings`.
    """
    merged: dict[str, Any] = {}
    for source, content in layers:
        merged |= _changed(model, content) if source == DEFAULTS else content
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(mistakes_of(model, error, layers)) from error


def _changed(model: type[Settings], content: dict[str, Any]) -> dict[str, Any]:
    defaults = model.defaults()
    return {name: value for name, value in content.items() if name not in defaults or value != defaults[name]}


def read_config(config: str | Path, largest: int = LARGEST_FILE, model: type[Settings] | None = None) -> dict[str, Any]:
    """The content of a YAML file, or of a packaged configuration named without folder and ending.

    Whatever YAML comes from outside is read by this: no size, depth or aliases of a file can take up time or memory.

    Args:
        config: the file, or the name.
        largest: how many bytes it may have.
        model: whose packaged configurations are named where there is no such file; None names all.

    Raises:
        InputFileError: the file is not there, is no YAML mapping, or is more than settings can be.
        OSError: it cannot be read.
    """
    path = Path(config)
    if str(config) in packaged_configs():
        text = resources.files("cal_ratio_trainer.config").joinpath("packaged", f"{config}.yaml").read_text("utf-8")
    elif path.is_file():
        text = _text_of(path, largest)
    else:
        names = packaged_configs(model)
        packaged = f"; packaged ones are {', '.join(names)}" if names else ""
        raise InputFileError(config, f"no such config file{did_you_mean(str(config), names)}{packaged}")
    content = _parsed(config, text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputFileError(config, f"should hold 'name: value' lines, but holds a {type(content).__name__}")
    return {str(name): value for name, value in content.items()}


def _text_of(path: Path, largest: int) -> str:
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise InputFileError(path, f"has more than {largest} bytes, too many for settings")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(path, "is no text file, so it cannot be a config file") from error


def _parsed(config: str | Path, text: str) -> Any:
    """What a YAML text says; InputFileError where it is none, or where its aliases multiply to more than is read."""
    try:
        content = _CountingLoader(text).get_single_data()
    except _TooMuch as error:
        raise InputFileError(config, _TOO_MUCH) from error
    except _TwiceTheSame as error:
        raise InputFileError(config, str(error)) from error
    except RecursionError as error:
        raise InputFileError(config, "is nested too deeply for settings") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The parser lets through what Python says of a date with 99 days or a number of 5000 digits.
        raise InputFileError(config, f"is not valid YAML: {' '.join(str(error).split())}") from error
    if _is_too_much(content):
        raise InputFileError(config, _TOO_MUCH)
    return content


class _TooMuch(Exception):
    """More stands in a text than is read."""


class _TwiceTheSame(Exception):
    """A name stands twice in one mapping; says which, and where."""


class _CountingLoader(yaml.SafeLoader):
    """Ends before it has made of a long text more than settings can be: a few MiB would take minutes, and GiB."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._met = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._met += 1
        # A value in a mapping has a name, which is a node too.
        if self._met > 2 * _MOST_VALUES:
            raise _TooMuch
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            line = name.start_mark.line + 1
            if name.value in lines:
                raise _TwiceTheSame(f"gives {name.value} twice, in lines {lines[name.value]} and {line}")
            lines[name.value] = line
        return node


def _is_too_much(content: Any) -> bool:
    """Whether there are too many values, those behind aliases counted wherever they stand."""
    waiting, met = [content], 0
    while waiting and met <= _MOST_VALUES:
        value = waiting.pop()
        met += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return met > _MOST_VALUES


def packaged_configs(model: type[Settings] | None = None) -> list[str]:
    """Names of the configurations that come with the program; of those that fit a command's settings, where given."""
    folder = resources.files("cal_ratio_trainer.config").joinpath("packaged")
    names = sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
    if model is None:
        return names
    return [name for name in names if model.with_new_names(read_config(name)).keys() <= model.model_fields.keys()]

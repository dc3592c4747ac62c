"""Settings from their sources: defaults, then a YAML file, then flags. All mistakes are reported at once."""

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

MAX_BYTES = 2**24
"""Limit on the bytes of a config file: room for `_MAX_VALUES` values with long names."""

MAX_BYTES_OF_RUN = 2**20
"""Limit on the bytes of settings in a run's folder, of which a table of runs reads many."""

_MAX_VALUES = 100_000
"""Limit on the values of a file. A few lines of YAML aliases can expand to more than fits in memory."""
_TOO_MANY = f"holds more than {_MAX_VALUES} values, or refers to itself"

_log = logging.getLogger(__name__)


def load_settings(
    model: type[SettingsType], config: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> SettingsType:
    """Returns the settings of a command.

    Args:
        model: type of the settings.
        config: a YAML file, or the name of a packaged one (see `packaged_configs`); None for defaults only.
        flags: flags of the command line, by field name, which win.

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
    """Returns the sources of settings under their present names, weakest first, each with a name for messages."""
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
    """Merges layers to one settings object; later ones win, and `model_fields_set` names what is no plain default.

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


def read_config(config: str | Path, largest: int = MAX_BYTES, model: type[Settings] | None = None) -> dict[str, Any]:
    """Reads a YAML file, or a packaged configuration named without folder and ending.

    All untrusted YAML is read here: size, depth and aliases of a file are limited.

    Args:
        config: the file, or the name.
        largest: largest size in bytes.
        model: settings whose packaged configurations an error names; None names all.

    Raises:
        InputFileError: the file is not there, is no YAML mapping, or is more than settings can be.
        OSError: it cannot be read.
    """
    path = Path(config)
    if str(config) in packaged_configs():
        text = resources.files("cal_ratio_trainer.config").joinpath("packaged", f"{config}.yaml").read_text("utf-8")
    elif path.is_file():
        return read_yaml(path, largest)
    else:
        names = packaged_configs(model)
        packaged = f"; packaged ones are {', '.join(names)}" if names else ""
        raise InputFileError(config, f"no such config file{did_you_mean(str(config), names)}{packaged}")
    return _mapping(config, text)


def read_yaml(path: Path, largest: int = MAX_BYTES) -> dict[str, Any]:
    """Reads a YAML file with a mapping, and never a packaged configuration; arguments and errors as `read_config`."""
    if not path.is_file():
        raise InputFileError(path, "no such file")
    return _mapping(path, _text_of(path, largest))


def _mapping(config: str | Path, text: str) -> dict[str, Any]:
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
    """Content of a YAML text; raises InputFileError where it is invalid or its aliases expand to too many values."""
    try:
        content = _CountingLoader(text).get_single_data()
    except _TooManyValues as error:
        raise InputFileError(config, _TOO_MANY) from error
    except _DuplicateName as error:
        raise InputFileError(config, str(error)) from error
    except RecursionError as error:
        raise InputFileError(config, "is nested too deeply for settings") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The parser lets through what Python says of a date with 99 days or a number of 5000 digits.
        raise InputFileError(config, f"is not valid YAML: {' '.join(str(error).split())}") from error
    if _has_too_many_values(content):
        raise InputFileError(config, _TOO_MANY)
    return content


class _TooManyValues(Exception):
    """The text holds more than `_MAX_VALUES` values."""


class _DuplicateName(Exception):
    """A mapping has one name twice; says which, and in which lines."""


class _CountingLoader(yaml.SafeLoader):
    """Stops at `_MAX_VALUES` values: a few MiB of YAML would take minutes and GiB."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        # A value in a mapping has a name, which is a node too.
        if self._nodes > 2 * _MAX_VALUES:
            raise _TooManyValues
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            line = name.start_mark.line + 1
            if name.value in lines:
                raise _DuplicateName(f"gives {name.value} twice, in lines {lines[name.value]} and {line}")
            lines[name.value] = line
        return node


def _has_too_many_values(content: Any) -> bool:
    """True where there are too many values, with those behind aliases counted each time."""
    waiting, met = [content], 0
    while waiting and met <= _MAX_VALUES:
        value = waiting.pop()
        met += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return met > _MAX_VALUES


def packaged_configs(model: type[Settings] | None = None) -> list[str]:
    """Names of the packaged configurations; with a model, of those that fit it."""
    folder = resources.files("cal_ratio_trainer.config").joinpath("packaged")
    names = sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
    if model is None:
        return names
    return [name for name in names if model.with_new_names(read_config(name)).keys() <= model.model_fields.keys()]

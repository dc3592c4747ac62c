"""Settings from their sources: defaults, then a YAML file, then flags. All mistakes are reported at once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.errors import ConfigError, InputFileError, did_you_mean

SettingsType = TypeVar("SettingsType", bound=Settings)

Layers = list[tuple[str, dict[str, Any]]]
"""Sources of settings, weakest first: the name of each for messages, and its settings."""

DEFAULTS = "packaged defaults"
"""Name of the layer with the defaults of a model."""

MAX_BYTES = 2**24
"""Limit on the bytes of a config file: room for `_MAX_VALUES` values with long names."""

MAX_BYTES_OF_RUN = 2**20
"""Limit on the bytes of settings in a run's folder, of which a table of runs reads many."""

_MAX_VALUES = 100_000
"""Limit on the values of a file. A few lines of YAML aliases can expand to more than fits in memory."""
_TOO_MANY = f"holds more than {_MAX_VALUES} values, or refers to itself"

_MAX_LENGTH = 200
_IN_YAML = {None: "null", True: "true", False: "false"}
_KINDS = ("str", "int", "float", "bool", "constrained-str", "constrained-float")
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
    "string_too_short": "a text of at least {min_length} characters",
    "path_type": "a path",
    "list_type": "a list",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    **dict.fromkeys(("literal_error", "enum"), "{expected}"),
}
"""Expected values by pydantic's name of the error."""

_log = logging.getLogger(__name__)


def load_settings(
    model: type[SettingsType], config: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> SettingsType:
    """Returns the settings of a command from a config and flags; see `layers_of` and `settings_from`."""
    return settings_from(model, layers_of(model, config, flags))


def layers_of(
    model: type[Settings],
    config: str | Path | None,
    flags: Mapping[str, Any] | None,
    source: str = "command line",
) -> Layers:
    """Returns the sources of settings under their present names, weakest first, each with a name for messages.

    Args:
        model: type of the settings.
        config: a YAML file, or the name of a packaged one (see `packaged_configs`); None for defaults only.
        flags: settings that win, e.g. of the command line, by field name.
        source: name of the flags for messages.

    Raises:
        ConfigError: one setting under two names.
        InputFileError: the config is not there or is no YAML mapping.
    """
    layers = [(DEFAULTS, model.defaults())]
    if config is not None:
        content = read_config(config, model=model)
        if implied := model.implied_by(content):
            layers.append((f"{config} {implied[0]}", implied[1]))
        layers.append((str(config), content))
    layers.append((source, dict(flags or {})))
    for source, content in layers:
        for name in model.ignored.keys() & {model.aliases.get(key, key) for key in content}:
            if model.ignored[name]:
                _log.warning("%s: %s is ignored: %s", source, name, model.ignored[name])
    try:
        return [(source, model.with_new_names(content)) for source, content in layers]
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def settings_from(model: type[SettingsType], layers: Layers) -> SettingsType:
    """Merges layers to one settings object; later ones win, and `model_fields_set` names what is no plain default.

    Raises:
        ConfigError: with all mistakes: unknown names (and the nearest good one), wrong types, values out of range.
    """
    merged: dict[str, Any] = {}
    for source, content in layers:
        if source == DEFAULTS:
            # Only changed defaults count as given.
            plain = model.defaults()
            content = {name: value for name, value in content.items() if name not in plain or value != plain[name]}
        merged |= content
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(mistakes_of(model, error, layers)) from error


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
        return read_packaged(str(config))
    if path.is_file():
        return read_yaml(path, largest)
    names = packaged_configs(model)
    packaged = f"; packaged ones are {', '.join(names)}" if names else ""
    if path.is_dir() and str(config):
        raise InputFileError(config, "is a folder where a config file was expected")
    raise InputFileError(str(config) or "''", f"no such config file{did_you_mean(str(config), names)}{packaged}")


def read_packaged(name: str, folder: Literal["", "profiles", "search"] = "") -> dict[str, Any]:
    """Reads a packaged YAML file.

    Args:
        name: name without ending. It may come from the settings of an untrusted run, and be a path.
        folder: profiles of `cr_trainer train`, spaces that `cr_trainer tune` searches, or '' for configurations.

    Raises:
        InputFileError: there is none of this name.
    """
    files = _packaged(folder)
    if name not in files:
        raise InputFileError(name, f"no such {folder.removesuffix('s') or 'configuration'}")
    return _mapping(name, files[name].read_text("utf-8"))


def packaged_configs(model: type[Settings] | None = None) -> list[str]:
    """Names of the packaged configurations; with a model, only of configurations that fit it."""
    names = sorted(_packaged(""))
    if model is None:
        return names
    return [name for name in names if model.with_new_names(read_packaged(name)).keys() <= model.model_fields.keys()]


def _packaged(folder: str) -> dict[str, Traversable]:
    there = resources.files("cal_ratio_trainer.config").joinpath("packaged", folder).iterdir()
    return {file.name.removesuffix(".yaml"): file for file in there if file.name.endswith(".yaml")}


def read_yaml(path: Path, largest: int = MAX_BYTES) -> dict[str, Any]:
    """Reads a YAML file with a mapping, and never a packaged configuration; arguments and errors as `read_config`."""
    if not path.is_file():
        raise InputFileError(path, "no such file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise InputFileError(path, f"has more than {largest} bytes, too many for settings")
    try:
        return _mapping(path, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputFileError(path, "is no text file, so it cannot be a config file") from error


def _mapping(config: str | Path, text: str) -> dict[str, Any]:
    content = _parsed(config, text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputFileError(config, f"should hold 'name: value' lines, but holds a {type(content).__name__}")
    return {str(name): value for name, value in content.items()}


def _parsed(config: str | Path, text: str) -> Any:
    """Content of a YAML text. Raises InputFileError if it is invalid, or its aliases expand to too many values."""
    try:
        content = _CountingLoader(text).get_single_data()
    except _Refused as error:
        raise InputFileError(config, str(error)) from error
    except RecursionError as error:
        raise InputFileError(config, "is nested too deeply for settings") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise InputFileError(config, f"is not valid YAML: {line}{error.problem}") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The parser passes on Python's errors for a date with 99 days or a number of 5000 digits.
        raise InputFileError(config, f"is not valid YAML: {' '.join(str(error).split())}") from error
    if _has_too_many_values(content):
        raise InputFileError(config, _TOO_MANY)
    return content


class _Refused(Exception):
    """A text is no settings, as the message says: too many values, or one name twice."""


class _CountingLoader(yaml.SafeLoader):
    """Stops at `_MAX_VALUES` values: a few MiB of YAML would take minutes and GiB."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        # A value in a mapping has a name, which is a node too.
        if self._nodes > 2 * _MAX_VALUES:
            raise _Refused(_TOO_MANY)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            line = name.start_mark.line + 1
            if name.value in lines:
                raise _Refused(f"gives {name.value} twice, in lines {lines[name.value]} and {line}")
            lines[name.value] = line
        return node


def _has_too_many_values(content: Any) -> bool:
    """True if there are too many values; values behind an alias count each time."""
    waiting, met = [content], 0
    while waiting and met <= _MAX_VALUES:
        value = waiting.pop()
        met += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return met > _MAX_VALUES


def mistakes_of(model: type[Settings], error: ValidationError, layers: Layers | None = None) -> list[str]:
    """Returns all mistakes as sentences, from the errors of pydantic.

    Args:
        model: type of the settings.
        error: error of their validation.
        layers: sources of the settings, so that the source of a value can be named; None names no sources.
    """
    by_place: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in error.errors():
        by_place.setdefault(_place(detail), []).append(detail)
    sentences = [
        sentence
        for place, details in by_place.items()
        if not _is_reported_deeper(place, details, by_place)
        for sentence in _sentences(model, place, details, layers or [])
    ]
    return list(dict.fromkeys(sentences))


def shown(value: Any) -> str:
    """Returns a value in YAML's notation, shortened if it is long.

    >>> shown(None), shown("a b"), shown(3)
    ('null', "'a b'", '3')
    """
    text = _IN_YAML[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


def _place(detail: ErrorDetails) -> tuple[str, ...]:
    """Place of the value in the settings, without the parts that name alternatives of a union."""
    parts = [str(part) for part in detail["loc"]]
    # The first part is a setting. An unknown name is the user's own, even if a type has the same name, e.g. 'int'.
    names = {0, len(parts) - 1} if detail["type"] == "extra_forbidden" else {0}
    return tuple(
        part for number, part in enumerate(parts) if number in names or (part not in _KINDS and "[" not in part)
    )


def _is_reported_deeper(
    place: tuple[str, ...], details: Sequence[ErrorDetails], places: Mapping[tuple[str, ...], object]
) -> bool:
    """True if a part of the value has an error of its own, which is the one to report."""
    has_kinds = all(len(detail["loc"]) > len(place) for detail in details)
    return has_kinds and any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _sentences(
    model: type[Settings], place: tuple[str, ...], details: Sequence[ErrorDetails], layers: Layers
) -> Iterator[str]:
    name = ".".join(place)
    source = next((source for source, content in reversed(layers) if place and place[0] in content), "")
    source = f"{source}: " if source and source != DEFAULTS else ""
    expected = [words for detail in details if (words := _expected(detail)) is not None]
    if expected:
        value = details[0]["input"]
        yield f"{source}{name or 'it'}: should be {' or '.join(dict.fromkeys(expected))}, got {shown(value)}"
    for detail in details:
        if detail["type"] == "extra_forbidden":
            near = did_you_mean(place[-1], set(_known_names(model)))
            yield f"{source}{name} is no setting of this command{near}"
        elif detail["type"] == "missing":
            has_command = any(source for source, _ in layers)
            how = " (on the command line or in the config file)" if len(place) == 1 and has_command else ""
            yield f"{source}{name} must be given{how}"
        elif _expected(detail) is None:
            message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            yield f"{source}{name}: {message}" if name else f"{source}{message}"


def _expected(detail: ErrorDetails) -> str | None:
    words = _EXPECTED.get(detail["type"])
    limits = {name: f"{each:g}" if isinstance(each, float) else each for name, each in detail.get("ctx", {}).items()}
    return None if words is None else words.format(**limits)


def _known_names(model: type[Settings]) -> Iterator[str]:
    yield from model.aliases
    for name, field in model.model_fields.items():
        yield name
        for nested in _settings_within(field.annotation):
            yield from _known_names(nested)


def _settings_within(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in get_args(annotation):
        yield from _settings_within(argument)

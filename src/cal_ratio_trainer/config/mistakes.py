"""Mistakes in settings as sentences for users, one for each, from the errors of pydantic."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.errors import did_you_mean

Layers = Sequence[tuple[str, Mapping[str, Any]]]

_MAX_LENGTH = 200
_IN_YAML = {None: "null", True: "true", False: "false"}
_KINDS = ("str", "int", "float", "bool")
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


def mistakes_of(model: type[Settings], error: ValidationError, layers: Layers = ()) -> list[str]:
    """Returns all mistakes as sentences.

    Args:
        model: the settings.
        error: of validation.
        layers: (source, settings), weakest first, to name the source of a value; none are named without.
    """
    by_place: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in error.errors():
        by_place.setdefault(_place(detail), []).append(detail)
    sentences = [
        sentence
        for place, details in by_place.items()
        if not _is_reported_deeper(place, details, by_place)
        for sentence in _sentences(model, place, details, layers)
    ]
    return list(dict.fromkeys(sentences))


def shown(value: Any) -> str:
    """Returns a value in YAML's notation, shortened where it is long.

    >>> shown(None), shown("a b"), shown(3)
    ('null', "'a b'", '3')
    """
    text = _IN_YAML[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


def _place(detail: ErrorDetails) -> tuple[str, ...]:
    """Place of the value in the settings, without the parts that name alternatives of a union."""
    parts = [str(part) for part in detail["loc"]]
    # The first is a setting, and what is no setting is called as the user calls it: 'int' too.
    names = {0, len(parts) - 1} if detail["type"] == "extra_forbidden" else {0}
    return tuple(
        part for number, part in enumerate(parts) if number in names or (part not in _KINDS and "[" not in part)
    )


def _is_reported_deeper(
    place: tuple[str, ...], details: Sequence[ErrorDetails], places: Mapping[tuple[str, ...], object]
) -> bool:
    """True where a part of the value has an error of its own, which is the one to report."""
    has_kinds = all(len(detail["loc"]) > len(place) for detail in details)
    return has_kinds and any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _sentences(
    model: type[Settings], place: tuple[str, ...], details: Sequence[ErrorDetails], layers: Layers
) -> Iterator[str]:
    name, source = ".".join(place), _source(place, layers)
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


def _source(place: tuple[str, ...], layers: Layers) -> str:
    source = next((name for name, content in reversed(layers) if place and place[0] in content), "")
    return f"{source}: " if source and source != "packaged defaults" else ""


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

"""Dataclasses of numbers as plain JSON and back, number for number."""

import dataclasses
import math
import types
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

_Made = TypeVar("_Made")


def to_plain(value: Any) -> Any:
    """Converts a dataclass (of dataclasses, tuples, arrays, numbers, strings) to dicts, lists, numbers and strings.

    What JSON has no number for becomes 'nan', 'inf' or '-inf'.

    Raises:
        TypeError: something else is in it.
    """
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, int | str):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form here")


def from_plain(made: type[_Made], plain: Mapping[str, Any]) -> _Made:
    """Inverse of `to_plain` for a dataclass, by its annotations.

    Args:
        made: the dataclass; its `older_names`, if any, are those of fields in files of earlier versions.
        plain: what `to_plain` gave.

    Raises:
        KeyError, TypeError, ValueError: not such an object.
    """
    hints = _hints(made)  # type: ignore[arg-type]
    older, given = getattr(made, "older_names", {}), {}
    for field in dataclasses.fields(made):  # type: ignore[arg-type]
        name = field.name if field.name in plain else older.get(field.name, field.name)
        if name not in plain and field.default is not dataclasses.MISSING:
            continue
        given[field.name] = _value(hints[field.name], plain[name])
    return made(**given)


def rounded(values: NDArray[np.floating[Any]], digits: int) -> NDArray[np.float64]:
    """Values rounded to `digits` significant digits: shorter as text, without a visible change of a figure."""
    result = np.array(values, dtype=np.float64)
    chosen = np.isfinite(result) & (result != 0)
    shift = digits - 1 - np.floor(np.log10(np.abs(result[chosen]))).astype(np.int64)
    # Both powers are exact, so the quotient is the double nearest to the decimal number.
    up, down = 10.0 ** np.maximum(shift, 0), 10.0 ** np.maximum(-shift, 0)
    result[chosen] = np.round(result[chosen] * up / down) / up * down
    return result


def _plain_array(values: NDArray[Any]) -> Any:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values.tolist()
    written = values.astype(object)
    unwritable = ~np.isfinite(values)
    written[unwritable] = [str(value) for value in values[unwritable].tolist()]
    return written.tolist()


@cache
def _hints(made: type[Any]) -> dict[str, Any]:
    return get_type_hints(made)


def _value(hint: Any, plain: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (known,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if plain is None else _value(known, plain)
    if origin is tuple:
        return tuple(_value(arguments[0], item) for item in plain)
    if origin is np.ndarray:
        return np.array(plain, dtype=get_args(arguments[1])[0])
    return from_plain(hint, plain) if dataclasses.is_dataclass(hint) and isinstance(hint, type) else hint(plain)

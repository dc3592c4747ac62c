"""Arrays as frugally-deep's JSON holds them: float32, little endian, base64, cut into strings."""

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_LETTERS_A_STRING = 1024


class BadFloats(ValueError):
    """Something in the place of an array is none in frugally-deep's form."""


def encoded_floats(values: np.ndarray[Any, Any]) -> list[str]:
    """The numbers of an array in C order, as strings of at most 1024 characters.

    >>> encoded_floats(np.float32([1, -2]))
    ['AACAPwAAAMA=']
    """
    text = base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")
    return [text[start : start + _LETTERS_A_STRING] for start in range(0, len(text), _LETTERS_A_STRING)]


def decoded_floats(strings: Any) -> FloatArray:
    """The numbers [n] in what `encoded_floats` gave; a list of plain numbers is one too.

    Raises:
        BadFloats: it is neither, or no whole number of floats.
    """
    if not isinstance(strings, list):
        raise BadFloats(f"{type(strings).__name__} where a list of strings was expected")
    if strings and all(type(each) in (int, float) for each in strings):
        return _plain_numbers(strings)
    if not all(isinstance(each, str) for each in strings):
        raise BadFloats("a list that holds other things than strings")
    try:
        content = base64.b64decode("".join(strings), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadFloats(f"no base64: {error}") from error
    if len(content) % 4:
        raise BadFloats(f"{len(content)} bytes are no whole number of floats")
    return np.frombuffer(content, dtype="<f4").astype(np.float32)


def _plain_numbers(numbers: list[int | float]) -> FloatArray:
    try:
        return np.asarray(numbers, dtype=np.float32)
    except OverflowError as error:
        raise BadFloats("a whole number that is too large") from error

"""How settings name a network and a model."""

import re
from typing import Any

_PARTS = ("name", "run", "epoch")


def in_one_word(given: Any) -> Any:
    """The earlier program's mapping of name, run and epoch as NAME/RUN/EPOCH; all else as it is.

    Raises:
        ValueError: a mapping lacks one of the three.
    """
    if not isinstance(given, dict):
        return given
    if missing := [part for part in _PARTS if part not in given]:
        raise ValueError(f"lacks {', '.join(missing)}; expected name, run and epoch")
    return "/".join(str(given[part]) for part in _PARTS)


def model_name(given: str) -> str:
    """A name of a model that can be a folder's name too.

    Raises:
        ValueError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", given):
        raise ValueError(f"should be letters, digits and . _ + - only, a letter or digit first, got {given!r}")
    return given

"""How settings name a network."""

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

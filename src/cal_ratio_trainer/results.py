"""Results of the public functions: a line in a terminal, a table in a notebook, a frame in pandas; Markdown texts."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.errors import UserError, harmless

if TYPE_CHECKING:
    import pandas as pd


_BREAK = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPECIAL = set("\\`*_{}[]<>#+!|~$&")


def escaped(text: str) -> str:
    r"""Escapes text so that Markdown shows it literally, on one line; unprintable characters as in `harmless`.

    >>> escaped("a_b | <c>")
    'a\\_b \\| \\<c\\>'
    >>> escaped("\x1b[2J")
    '\\\\x1b\\[2J'
    """
    shown = harmless(_BREAK.sub(" ", text), kept="")
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in shown)


def code(text: str) -> str:
    """Formats a name as inline code; as `escaped` text if inline code cannot show all characters.

    >>> code("a_b.json"), code("a`|b")
    ('`a_b.json`', 'a\\\\`\\\\|b')
    """
    return f"`{text}`" if text.isprintable() and text.strip() and not set("`|\\\\") & set(text) else escaped(text)


_MAX_SHOWN = 50


class MissingPandas(UserError):
    """A frame is asked for where pandas is not installed."""

    def __init__(self) -> None:
        super().__init__("frames need pandas: pip install 'cal_ratio_trainer[notebook]'")


class Result:
    """Base of results. Dataclasses that derive from it are made with `repr=False`."""

    @property
    def headline(self) -> str:
        """One line that says what was done."""
        raise NotImplementedError

    def records(self) -> Sequence[Mapping[str, Any]]:
        """The table of the result, a mapping of columns to values for each row; empty where it has none."""
        return ()

    def to_pandas(self) -> "pd.DataFrame":
        """The table as a frame.

        Raises:
            MissingPandas: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingPandas from error
        return pd.DataFrame([dict(row) for row in self.records()])

    def __repr__(self) -> str:
        return f"<{self.headline}>"

    def _repr_html_(self) -> str:
        records = self.records()
        parts = [f"<p>{escape(self.headline)}</p>"]
        if records:
            # Epochs of an earlier version may lack figures that later ones have.
            names = list(dict.fromkeys(name for row in records for name in row))
            parts.append("<table><thead><tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr></thead>")
            for row in records[:_MAX_SHOWN]:
                parts.append("<tr>" + "".join(f"<td>{escape(shown(row.get(name)))}</td>" for name in names) + "</tr>")
            parts.append("</table>")
        if len(records) > _MAX_SHOWN:
            parts.append(f"<p>{len(records) - _MAX_SHOWN:,} more rows: to_pandas() has all.</p>")
        return "".join(parts)


def shown(value: Any) -> str:
    """A value of a table as text; nothing for None.

    >>> shown(0.123456789), shown(12345), shown(None)
    ('0.12346', '12,345', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)

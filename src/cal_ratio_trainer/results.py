"""Base of what the public functions return: a line in a terminal, a table in a notebook, a frame in pandas."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

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

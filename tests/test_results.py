"""Tables of results in notebooks."""

from collections.abc import Mapping, Sequence
from typing import Any

from cal_ratio_trainer.results import Result


class Uneven(Result):
    """A table whose second row has a column that the first lacks, as the history of a run of an earlier version."""

    @property
    def headline(self) -> str:
        """See `Result`."""
        return "uneven <rows>"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """See `Result`."""
        return [{"epoch": 0, "auc": 0.5}, {"epoch": 1, "loss": 2.0, "auc": 0.75}]


def test_every_value_stands_below_its_name() -> None:
    assert Uneven()._repr_html_() == (
        "<p>uneven &lt;rows&gt;</p><table><thead><tr><th>epoch</th><th>auc</th><th>loss</th></tr></thead>"
        "<tr><td>0</td><td>0.5</td><td></td></tr><tr><td>1</td><td>0.75</td><td>2</td></tr></table>"
    )
    assert list(Uneven().to_pandas().columns) == ["epoch", "auc", "loss"]

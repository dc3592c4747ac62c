"""Constituents feature by feature."""

import numpy as np
import pytest

from cal_ratio_trainer.jets import CONSTITUENTS, Ragged
from cal_ratio_trainer.jets.ragged import ListColumns
from tests.factories.jets import converted_jets

JETS = converted_jets(40)


def same(first: Ragged, second: Ragged) -> bool:
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("values", "offsets", "padding"))
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("kind", CONSTITUENTS, ids=lambda kind: kind.name)
def test_they_are_those_of_ragged_lists(kind: object) -> None:
    ragged = JETS.constituents[kind.name]  # type: ignore[attr-defined]
    kept = np.arange(40) % 3 == 0
    columns = ListColumns.of(ragged)
    assert same(columns.ragged(), ragged)
    assert same(ListColumns.viewing(ragged).where(kept).ragged(), ragged.take(np.flatnonzero(kept)))
    assert same(columns.where(~kept & kept).ragged(), ragged.slice(0, 0))
    assert same(columns.filled(30).ragged(), ragged.filled(30))
    assert columns.where(np.ones(40, bool)) is columns

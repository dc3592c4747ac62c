"""All jets are kept up to a limit, and a uniform sample above it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.scoring.tally import KeptJets


@given(st.lists(st.integers(0, 40), max_size=12))
@settings(max_examples=30, deadline=None)
def test_below_the_limit_everything_stays_in_order(lengths: list[int]) -> None:
    kept, start = KeptJets(max_rows=1000), 0
    for length in lengths:
        kept.add({"number": np.arange(start, start + length)})
        start += length
    assert kept.rows == kept.rows_seen == start
    if lengths:
        np.testing.assert_array_equal(kept.column("number"), np.arange(start))


def test_above_the_limit_an_even_sample_stays_however_the_rows_came() -> None:
    together, bit_by_bit = KeptJets(max_rows=1000), KeptJets(max_rows=1000)
    rows = np.arange(50_000)
    together.add({"number": rows})
    for start in range(0, len(rows), 130):
        bit_by_bit.add({"number": rows[start : start + 130]})
    for kept in (together, bit_by_bit):
        assert 500 <= kept.rows <= 1000
        assert kept.rows_seen == 50_000
        numbers = np.asarray(kept.column("number"), dtype=np.int64)
        assert (np.diff(numbers) > 0).all()
        assert numbers.mean() == pytest.approx(25_000, rel=0.1)
        in_quarters = np.histogram(numbers, 4, (0, 50_000))[0]
        assert in_quarters == pytest.approx(kept.rows / 4, rel=0.3)

"""Jets in a given order, shuffled through buckets on disk."""

from tempfile import TemporaryFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building import shuffle as shuffle_module
from cal_ratio_trainer.building.shuffle import POSITION, Buckets, DifferentPadding, Scatter, in_order
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019
from tests.factories.jets import converted_jets


@given(
    count=st.integers(0, 60),
    bucket=st.integers(1, 70),
    cut=st.integers(1, 30),
    held=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_jets_come_back_in_order_of_their_places(count: int, bucket: int, cut: int, held: int, seed: int) -> None:
    jets, places = converted_jets(count), np.random.default_rng(seed).permutation(count)
    order = Buckets.of(count, bucket)
    # Like two processes that each wrote a file.
    with pytest.MonkeyPatch.context() as patch, TemporaryFile() as first, TemporaryFile() as second:
        patch.setattr(shuffle_module, "JETS_AT_A_TIME", held)
        scatters = [Scatter(file, order) for file in (first, second)]
        for start in range(0, count, cut):
            scatters[start // cut % 2].add(jets.slice(start, start + cut), places[start : start + cut])
        parts = list(in_order([(first, scatters[0].finish()), (second, scatters[1].finish())], order, CALRATIO_2019))
    if count == 0:
        assert parts == []
        return
    found, expected = Jets.concatenate(parts), jets.take(np.argsort(places))
    assert found[POSITION].tolist() == list(range(count))
    for name in jets.scalars.column_names:
        assert found.scalars.column(name).to_pylist() == expected.scalars.column(name).to_pylist()
    for kind, ragged in expected.constituents.items():
        np.testing.assert_array_equal(found.constituents[kind].values, ragged.values)
        np.testing.assert_array_equal(found.constituents[kind].offsets, ragged.offsets)


def test_padding_rows_survive() -> None:
    jets = converted_jets(4)
    lists = {name: Ragged(r.values, r.offsets, r.padding - 1) for name, r in jets.constituents.items()}
    order = Buckets.of(4, 2)
    with TemporaryFile() as file:
        scatter = Scatter(file, order)
        scatter.add(Jets(jets.scalars, lists), np.arange(4))
        for part in in_order([(file, scatter.finish())], order, CALRATIO_2019):
            assert all(np.all(ragged.padding == -1) for ragged in part.constituents.values())


def test_jets_with_other_values_in_empty_slots_are_refused_and_never_joined() -> None:
    jets, order = converted_jets(4), Buckets.of(4, 2)
    lists = {name: Ragged(r.values, r.offsets, r.padding - 1) for name, r in jets.constituents.items()}
    others = Jets(jets.scalars, lists)
    with TemporaryFile() as first, TemporaryFile() as second:
        scatters = [Scatter(first, order), Scatter(second, order)]
        scatters[0].add(jets, np.arange(4))
        with pytest.raises(DifferentPadding, match="different values in empty slots of clusters"):
            scatters[0].add(others, np.arange(4))
        scatters[1].add(others, np.arange(4))
        parts = [(first, scatters[0].finish()), (second, scatters[1].finish())]
        with pytest.raises(DifferentPadding):
            list(in_order(parts, order, CALRATIO_2019))


def test_many_jets_do_not_mean_many_buckets() -> None:
    assert Buckets.of(10**9).number <= shuffle_module.MAX_BUCKETS

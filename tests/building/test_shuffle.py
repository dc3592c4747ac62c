"""Jets in a given order, by way of buckets on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building import shuffle as shuffle_module
from cal_ratio_trainer.building.shuffle import POSITION, Shuffle
from cal_ratio_trainer.jets import Jets, Ragged

from .jet_files import random_jets


@given(
    count=st.integers(0, 60),
    bucket=st.integers(1, 70),
    cut=st.integers(1, 30),
    held=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jets_come_back_in_order_of_their_places(
    tmp_path: Path, count: int, bucket: int, cut: int, held: int, seed: int
) -> None:
    jets, places = random_jets(count), np.random.default_rng(seed).permutation(count)
    with pytest.MonkeyPatch.context() as patch, Shuffle(tmp_path, count, bucket) as shuffle:
        patch.setattr(shuffle_module, "JETS_AT_A_TIME", held)
        for start in range(0, count, cut):
            shuffle.add(jets.slice(start, start + cut), places[start : start + cut])
        parts = list(shuffle.in_order())
    assert list(tmp_path.iterdir()) == []
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


def test_padding_rows_survive(tmp_path: Path) -> None:
    jets = random_jets(4)
    lists = {name: Ragged(r.values, r.offsets, r.padding - 1) for name, r in jets.constituents.items()}
    with Shuffle(tmp_path, 4, 2) as shuffle:
        shuffle.add(Jets(jets.scalars, lists), np.arange(4))
        for part in shuffle.in_order():
            assert all(np.all(ragged.padding == -1) for ragged in part.constituents.values())


def test_many_jets_do_not_mean_many_files(tmp_path: Path) -> None:
    with Shuffle(tmp_path, 10**9) as shuffle:
        assert len(shuffle._buckets) <= shuffle_module.MOST_BUCKETS

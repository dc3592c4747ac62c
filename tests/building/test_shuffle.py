"""Jets in a given order, shuffled through buckets on disk."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.building import shuffle as shuffle_module
from cal_ratio_trainer.building.shuffle import POSITION, DifferentPadding, ScatteredJets, bucket_for, in_order, scatter
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019
from tests.factories.jets import converted_jets


def shuffled(parts: Sequence[ScatteredJets]) -> list[Jets]:
    """Jets in their order, bucket by bucket."""
    return list(in_order(parts, CALRATIO_2019))


def with_other_padding(jets: Jets) -> Jets:
    """The same jets with -1 in empty slots."""
    return Jets(
        jets.scalars,
        {name: Ragged(r.values, r.offsets, r.padding - 1) for name, r in jets.constituents.items()},
    )


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
    batches = [(jets.slice(start, start + cut), places[start : start + cut]) for start in range(0, count, cut)]
    # Like two processes that each wrote a file.
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(shuffle_module, "JETS_AT_A_TIME", held)
        parts = shuffled([scatter(Path(folder) / f"{first}", batches[first::2], bucket) for first in (0, 1)])
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
    jets = with_other_padding(converted_jets(4))
    for part in shuffled([scatter(tmp_path / "piece", [(jets, np.arange(4))], 2)]):
        assert all(np.all(ragged.padding == -1) for ragged in part.constituents.values())


def test_jets_with_other_values_in_empty_slots_are_refused_and_never_joined(tmp_path: Path) -> None:
    batches = [(jets, np.arange(4)) for jets in (converted_jets(4), with_other_padding(converted_jets(4)))]
    with pytest.raises(DifferentPadding, match="different values in empty slots of clusters"):
        scatter(tmp_path / "both", batches, 2)
    parts = [scatter(tmp_path / f"{number}", [batch], 2) for number, batch in enumerate(batches)]
    with pytest.raises(DifferentPadding):
        shuffled(parts)


def test_many_jets_do_not_mean_many_buckets() -> None:
    assert 10**9 / bucket_for(10**9) <= shuffle_module.MAX_BUCKETS

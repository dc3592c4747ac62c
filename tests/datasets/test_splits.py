"""Assignment of jets to training, validation and test part."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.datasets.splits import Part, split_jets
from cal_ratio_trainer.jets import Jets
from tests.factories.jets import synthetic_jets

FRACTIONS: dict[str, Any] = {"sample_fraction": 1.0, "train_fraction": 0.9, "seed": 3}


def some_jets(n: int = 3000, events_of: int = 3) -> Jets:
    return synthetic_jets(np.random.default_rng(1).integers(0, 3, n), seed=1, events_of=events_of)


def test_no_event_stands_in_two_parts() -> None:
    jets = some_jets()
    split = split_jets(jets, **FRACTIONS)
    events = np.stack([jets["mcChannelNumber"].astype(np.int64), jets["eventNumber"].astype(np.int64)], axis=1)
    for event in np.unique(events, axis=0):
        assert len(np.unique(split.part[(events == event).all(axis=1)])) == 1


def test_shares_are_those_asked_for() -> None:
    split = split_jets(some_jets(30000, events_of=1), sample_fraction=0.5, train_fraction=0.8, seed=1)
    shares = [len(split.positions(part)) / 30000 for part in Part]
    assert shares == pytest.approx([0.4, 0.05, 0.05, 0.5], abs=0.01)


@given(order_seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_file_does_not_matter(order_seed: int) -> None:
    jets = some_jets(300)
    order = np.random.default_rng(order_seed).permutation(len(jets))
    whole, shuffled = split_jets(jets, **FRACTIONS), split_jets(jets.take(order), **FRACTIONS)
    np.testing.assert_array_equal(shuffled.part, whole.part[order])


def test_another_seed_gives_another_split() -> None:
    jets = some_jets()
    first, second = (split_jets(jets, sample_fraction=1.0, train_fraction=0.5, seed=seed) for seed in (1, 2))
    # By chance 0.5 ^ 2 + 2 * 0.25 ^ 2 = 0.375 of the events agree.
    assert 0.33 < np.mean(first.part == second.part) < 0.42


def test_sampling_and_splitting_are_independent() -> None:
    jets = some_jets(20000, events_of=1)
    split = split_jets(jets, sample_fraction=0.5, train_fraction=0.9, seed=1)
    used = split.part[split.part != Part.UNUSED]
    assert np.mean(used == Part.TRAIN) == pytest.approx(0.9, abs=0.01)


def test_without_event_numbers_each_jet_counts_for_itself_and_it_is_said() -> None:
    jets = some_jets().without_columns(["eventNumber"])
    split = split_jets(jets, **FRACTIONS)
    assert "no usable event numbers" in split.identity
    assert np.mean(split.part == Part.TRAIN) == pytest.approx(0.9, abs=0.03)


def test_jets_without_event_number_beside_others_do_not_stand_in_one_part_together() -> None:
    jets = some_jets(events_of=1)
    numbers = pa.array([None if row < 1000 else row for row in range(len(jets))], pa.uint64())
    split = split_jets(jets.with_columns({"eventNumber": numbers}), **FRACTIONS)
    assert np.mean(split.part[:1000] == Part.TRAIN) == pytest.approx(0.9, abs=0.03)
    assert "1000 jets without event number" in split.identity


def test_event_numbers_that_are_floats_are_no_identity() -> None:
    jets = some_jets()
    table = jets.scalars
    position = table.column_names.index("eventNumber")
    rounded = table.set_column(position, "eventNumber", table.column("eventNumber").cast("float32"))
    assert "no usable event numbers" in split_jets(type(jets)(rounded, jets.constituents), **FRACTIONS).identity


def test_by_row_an_event_can_stand_in_two_parts() -> None:
    jets = some_jets()
    split = split_jets(jets, **FRACTIONS, by_row=True)
    first_of_event, second_of_event = split.part[0::3], split.part[1::3]
    assert np.any(first_of_event != second_of_event)


def test_a_column_that_is_missing_counts_as_one_that_is_null_throughout() -> None:
    jets = some_jets()
    without = jets.without_columns(["mcChannelNumber"])
    null = without.with_columns({"mcChannelNumber": pa.nulls(len(jets), pa.uint32())})
    np.testing.assert_array_equal(split_jets(without, **FRACTIONS).part, split_jets(null, **FRACTIONS).part)
    partly = without.with_columns({"mcChannelNumber": pa.array([364700, *[None] * (len(jets) - 1)], pa.uint32())})
    np.testing.assert_array_equal(split_jets(without, **FRACTIONS).part[3:], split_jets(partly, **FRACTIONS).part[3:])

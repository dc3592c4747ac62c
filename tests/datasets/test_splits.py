"""Assignment of jets to training, validation and test part, and to folds."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import FoldRule, Part, seen_jets, split_jets
from cal_ratio_trainer.errors import ConfigError, InputFileError
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
    shares = [np.count_nonzero(split.part == part) / 30000 for part in Part]
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


FILE = Path("main.parquet")
EVENT_NUMBERS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40)


def jets_of(event_numbers: list[int]) -> Jets:
    jets = synthetic_jets(np.arange(len(event_numbers)) % 3, seed=1)
    return jets.with_columns({"eventNumber": pa.array(event_numbers, pa.uint64())})


@given(numbers=EVENT_NUMBERS, count=st.integers(2, 100))
@settings(max_examples=50, deadline=None)
def test_the_fold_of_an_event_is_the_remainder_of_its_number(numbers: list[int], count: int) -> None:
    folds = FoldRule(count).folds_of(jets_of(numbers), FILE)
    assert folds.tolist() == [number % count for number in numbers]


@given(numbers=EVENT_NUMBERS, count=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_event_is_in_two_folds_or_parts_and_its_part_is_the_same_in_every_run_that_reads_it(
    numbers: list[int], count: int, seed: int
) -> None:
    # Every event twice, and one of every fold so that none is empty.
    jets = jets_of([*range(count), *numbers, *range(count), *numbers])
    events = list(zip(jets["mcChannelNumber"].tolist(), jets["eventNumber"].tolist(), strict=True))
    seen_in: dict[tuple[int, int], list[int]] = {}
    part_of: dict[tuple[int, int], set[int]] = {}
    for fold in range(count):
        seen = jets.where(seen_jets(TrainSettings.make(folds=count, fold=fold), jets, FILE)[0])
        split = split_jets(seen, sample_fraction=1.0, train_fraction=0.5, seed=seed)
        there = list(zip(seen["mcChannelNumber"].tolist(), seen["eventNumber"].tolist(), strict=True))
        for event, part in zip(there, split.part.tolist(), strict=True):
            part_of.setdefault(event, set()).add(part)
        for event in set(there):
            seen_in.setdefault(event, []).append(fold)
    assert {event: sorted(set(range(count)) - set(folds)) for event, folds in seen_in.items()} == {
        event: [event[1] % count] for event in set(events)
    }
    assert all(len(parts) == 1 for parts in part_of.values())


def test_without_folds_all_jets_are_seen() -> None:
    seen, notes = seen_jets(TrainSettings.make(), jets_of([1, 2, 3]), FILE)
    assert seen.tolist() == [True, True, True]
    assert notes == []


def test_what_is_left_out_is_noted() -> None:
    seen, notes = seen_jets(TrainSettings.make(folds=2, fold=1), jets_of([1, 2, 3, 4, 6]), FILE)
    assert seen.tolist() == [False, True, False, True, True]
    assert notes == ["2 jets with eventNumber % 2 == 1 are the fold that is left out"]


def test_a_number_below_zero_counts_as_the_ntuple_has_it_without_sign() -> None:
    jets = synthetic_jets(np.zeros(2, dtype=int), seed=1)
    signed = Jets(
        jets.scalars.set_column(
            jets.scalars.column_names.index("eventNumber"), "eventNumber", pa.array([-1, 25], pa.int64())
        ),
        jets.constituents,
    )
    # Without a sign it is 18446744073709551615.
    assert FoldRule(10).folds_of(signed, FILE).tolist() == [5, 5]


def test_a_file_in_which_a_fold_has_no_jets_is_refused_and_says_why() -> None:
    with pytest.raises(InputFileError) as error:
        seen_jets(TrainSettings.make(folds=2, fold=1), jets_of([1, 3, 5, 7]), FILE)
    told = str(error.value)
    assert "main.parquet: has no jets in fold 0 of 2" in told
    assert "eventNumber % 2 is 1 for all 4 jets, as after a selection by eventNumber" in told


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (None, "has no column eventNumber"),
        (pa.array([1.0, 2.0, 3.5]), "has no whole numbers in eventNumber, but double"),
        (pa.array([1, None, 3], pa.uint64()), "1 of 3 jets have no eventNumber"),
    ],
    ids=["without", "broken", "unknown"],
)
def test_jets_without_a_whole_event_number_have_no_fold(column: pa.Array | None, told: str) -> None:
    jets = jets_of([1, 2, 3])
    scalars = jets.scalars.drop_columns(["eventNumber"])
    if column is not None:
        scalars = scalars.append_column("eventNumber", column)
    with pytest.raises(InputFileError, match=told):
        seen_jets(TrainSettings.make(folds=2, fold=0), Jets(scalars, jets.constituents), FILE)


@pytest.mark.parametrize("given_fold", [{"fold": 1}, {"folds": 3, "fold": 3}, {"folds": 1}])
def test_a_fold_that_cannot_be_is_a_mistake_of_the_settings(given_fold: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"fold"):
        TrainSettings.make(**given_fold)


def test_folds_without_a_fold_are_no_training_of_one_network() -> None:
    with pytest.raises(ConfigError, match="folds is given without fold"):
        seen_jets(TrainSettings.make(folds=2), jets_of([1, 2]), FILE)

"""Tables of jets in memory."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.errors import ConfigError, MissingColumn
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, extended_schema
from cal_ratio_trainer.jets.table import scrambled
from tests.factories.jets import assert_same_jets, converted_jets


@given(st.integers(0, 20), st.data())
@settings(max_examples=20, deadline=None)
def test_cutting_and_joining_gives_the_same_jets(count: int, data: st.DataObject) -> None:
    jets = converted_jets(count)
    cut = data.draw(st.integers(0, count))
    assert_same_jets(Jets.concatenate([jets.slice(0, cut), jets.slice(cut, count)]), jets)


@given(st.integers(0, 20), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_jets_for_which_something_holds_and_the_others_are_all_jets(count: int, seed: int) -> None:
    jets = converted_jets(count)
    kept = np.random.default_rng(seed).random(count) < 0.5
    both = Jets.concatenate([jets.where(kept), jets.where(~kept)])
    order = np.argsort(np.concatenate([np.flatnonzero(kept), np.flatnonzero(~kept)]))
    assert_same_jets(both.take(order), jets)


def test_a_slice_past_the_end_stops_at_the_end() -> None:
    assert len(converted_jets(5).slice(3, 99)) == 2


def test_a_column_that_one_part_lacks_is_null_there() -> None:
    jets = Jets.concatenate([converted_jets(2, flatWeight=np.ones(2)), converted_jets(3)])
    assert jets.scalars.column("flatWeight").to_pylist() == [1, 1, None, None, None]
    assert "flatWeight" in jets
    assert not jets.is_known("flatWeight")
    assert jets.is_known("jet_pt")


def test_a_missing_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(MissingColumn, match=r"jet_pT \(did you mean jet_pt\?\)"):
        converted_jets(2)["jet_pT"]


def test_a_table_without_labels_is_no_table_of_jets() -> None:
    jets = converted_jets(2)
    with pytest.raises(MissingColumn, match="label"):
        Jets(jets.scalars.drop_columns(["label"]), jets.constituents)


def test_lists_of_another_number_of_jets_are_refused() -> None:
    jets = converted_jets(2)
    with pytest.raises(ValueError, match="clusters"):
        Jets(jets.scalars, {**jets.constituents, "clusters": Ragged.empty(12, jets=3)})


def test_columns_are_added_replaced_and_dropped() -> None:
    jets = converted_jets(2).with_columns({"jet_pt": np.array([50.0, 60.0]), "new": np.array([1, 2])})
    assert jets["jet_pt"].tolist() == [50, 60]
    assert jets["jet_pt"].dtype == np.float32
    assert jets["new"].tolist() == [1, 2]
    assert "new" not in jets.without_columns(["new", "never there"])


def test_known_columns_take_their_type_on_disk() -> None:
    jets = converted_jets(2, eventNumber=np.array([5, 6], dtype=np.int64), label=np.array([0.0, 2.0]))
    assert jets.scalars.schema.field("eventNumber").type == pa.uint64()
    assert jets.label.dtype == np.int8


def test_no_parts_make_no_table() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Jets.concatenate([])


def test_an_empty_table_has_the_required_columns() -> None:
    assert len(Jets.empty()) == 0
    assert "jet_pt" in Jets.empty()


def test_features_of_a_schema_are_chosen_by_name_and_those_that_lack_are_named() -> None:
    own = extended_schema(
        "own.yaml",
        {
            "jet": [{"name": "jet_width", "unit": "1"}],
            "constituents": {"tracks": {"features": [{"name": "dEdx", "unit": "MeV"}]}},
        },
    )
    other = extended_schema("other.yaml", {"constituents": {"tracks": {"features": [{"name": "more", "unit": "mm"}]}}})
    both = own.joined(other)
    assert both.kind("tracks").columns[-2:] == ("track_dEdx", "track_more")
    assert both.joined(own) == both
    jets = Jets.empty(both)
    assert jets.with_schema(own).constituents["tracks"].values.shape[1] == len(own.kind("tracks").features)
    assert jets.with_schema(CALRATIO_2019).schema == CALRATIO_2019
    with pytest.raises(MissingColumn, match=r"lacks jet_width .*, track_dEdx"):
        Jets.empty(other).with_schema(own)
    unlike = extended_schema("unlike.yaml", {"jet": [{"name": "jet_width", "unit": "mm"}]})
    with pytest.raises(ConfigError, match="jet_width has another unit"):
        own.joined(unlike)


def test_words_are_those_of_splitmix64() -> None:
    # The generator's states from a seed are seed, seed + step, ...; its outputs are published for seed 1234567.
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + number * step) % 2**64 for number in range(5)], dtype=np.uint64)
    assert scrambled(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]

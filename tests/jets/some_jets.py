"""Random jets for tests: as convert stores them, small, the same for the same seed."""

from typing import Any

import numpy as np

from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Ragged
from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units

MEAN_CONSTITUENTS = {"clusters": 6, "tracks": 3, "muon_segments": 2}


def some_jets(count: int, data_type: DataType = DataType.QCD, seed: int = 1, **columns: Any) -> Jets:
    """`count` jets, two to an event, with known origin; `columns` replace or add scalars."""
    random = np.random.default_rng(seed)
    lists = {}
    for kind in CONSTITUENTS:
        lengths = np.minimum(random.poisson(MEAN_CONSTITUENTS[kind.name], count), kind.limit)
        values = random.uniform(0.5, 90.0, (lengths.sum(), len(kind.features)))
        values *= random.choice([-1, 1], values.shape, p=[0.2, 0.8])
        lists[kind.name] = Ragged.from_lengths(values.astype(np.float32), lengths)
    number = np.arange(count)
    scalars = {
        "label": np.full(count, data_type.label, dtype=np.int8),
        "jet_pt": random.uniform(40, 500, count).astype(np.float32),
        "jet_eta": random.uniform(-2.5, 2.5, count).astype(np.float32),
        "jet_phi": random.uniform(-np.pi, np.pi, count).astype(np.float32),
        "eventNumber": (10_000 * seed + number // 2).astype(np.uint64),
        "runNumber": np.full(count, 284500, dtype=np.uint32),
        "mcEventWeight": random.exponential(1.0, count),
        "llp_mH": np.zeros(count, dtype=np.float32),
        "jet_isClean_LooseBadLLP": np.ones(count, dtype=np.int8),
        "source_file": np.full(count, f"file_{seed}.root"),
        "source_entry": number // 2,
        "jet_index": (number % 2).astype(np.int16),
        "mcChannelNumber": np.full(count, 364700 + seed, dtype=np.uint32),
    }
    return Jets.from_columns(scalars | columns, lists)


def converted(data_type: DataType = DataType.QCD, **changes: Any) -> JetMetadata:
    """The metadata of a converted file."""
    return JetMetadata(stage="converted", data_type=data_type, units=converted_units(), **changes)


def assert_same_constituents(first: Jets, second: Jets) -> None:
    """Asserts equal lists, bit by bit (NaN equal to NaN), with equal padding rows."""
    for kind in CONSTITUENTS:
        one, other = first.constituents[kind.name], second.constituents[kind.name]
        np.testing.assert_array_equal(one.offsets, other.offsets, err_msg=kind.name)
        np.testing.assert_array_equal(one.values, other.values, err_msg=kind.name)
        np.testing.assert_array_equal(one.padding, other.padding, err_msg=kind.name)


def assert_same_jets(first: Jets, second: Jets) -> None:
    """Asserts equal scalars (by name) and constituents."""
    assert set(first.scalars.column_names) == set(second.scalars.column_names)
    for name in first.scalars.column_names:
        assert first.scalars.column(name).to_pylist() == second.scalars.column(name).to_pylist(), name
    assert_same_constituents(first, second)

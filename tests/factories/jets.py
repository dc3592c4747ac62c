"""Random jets: as convert stores them, and scaled ones with a difference to learn; the same for the same seed."""

from typing import Any

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Label, Ragged
from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units

_MEAN_CONSTITUENTS = {"clusters": 6, "tracks": 3, "muon_segments": 2}


def converted_jets(count: int, data_type: DataType = DataType.QCD, seed: int = 1, **columns: Any) -> Jets:
    """`count` jets of known origin, two to an event, with numbers of the size that real ones have.

    Args:
        count: of jets.
        data_type: sets their labels; data have no mcChannelNumber.
        seed: of the random numbers; event numbers and channels of different seeds differ.
        columns: replace or add scalars.
    """
    random = np.random.default_rng([seed, data_type.label])
    lists = {}
    for kind in CONSTITUENTS:
        lengths = np.minimum(random.poisson(_MEAN_CONSTITUENTS[kind.name], count), kind.limit)
        values = random.normal(size=(int(lengths.sum()), len(kind.features)))
        for position, feature in enumerate(kind.features):
            if feature.unit == "MeV":
                values[:, position] = random.exponential(2e4, len(values)) + 1
            elif feature.unit in ("GeV", "mm"):
                values[:, position] = random.exponential(20.0, len(values)) + 0.5
        lists[kind.name] = Ragged.from_lengths(values.astype(np.float32), lengths)
    number = np.arange(count)
    scalars = {
        "label": np.full(count, data_type.label, dtype=np.int8),
        "jet_pt": random.uniform(40, 500, count).astype(np.float32),
        "jet_eta": random.uniform(-2.5, 2.5, count).astype(np.float32),
        "jet_phi": random.uniform(-np.pi, np.pi, count).astype(np.float32),
        "eventNumber": (1_000_000 * seed + number // 2).astype(np.uint64),
        "runNumber": np.full(count, 284500, dtype=np.uint32),
        "mcEventWeight": random.exponential(1.0, count),
        "llp_mH": np.zeros(count, dtype=np.float32),
        "HLT_jet_pT": np.ones(count),
        "jet_isClean_LooseBadLLP": np.ones(count, dtype=np.int8),
        "source_file": np.full(count, f"{data_type}_{seed}.root"),
        "source_entry": number // 2,
        "jet_index": (number % 2).astype(np.int16),
        "mcChannelNumber": np.full(count, 364700 + seed, dtype=np.uint32)
        if data_type.is_simulation
        else pa.nulls(count, pa.uint32()),
    }
    return Jets.from_columns(scalars | columns, lists)


def mixed_jets(count: int, seed: int = 1, **columns: Any) -> Jets:
    """Jets like `converted_jets` of one sample, with random labels."""
    scalars: dict[str, Any] = {
        "label": np.random.default_rng(seed).integers(0, len(Label), count),
        "mcChannelNumber": np.full(count, 361020, dtype=np.uint32),
    }
    return converted_jets(count, seed=seed, **scalars | columns)


def converted_metadata(data_type: DataType = DataType.QCD, **changes: Any) -> JetMetadata:
    """The metadata of a converted file."""
    return JetMetadata(stage="converted", data_type=data_type, units=converted_units(), **changes)


_MEAN_LENGTHS = {0: (15, 11, 2), 1: (9, 2, 3), 2: (7, 3, 7)}


def synthetic_jets(labels: np.ndarray, seed: int, events_of: int = 2) -> Jets:
    """Built jets whose number of constituents and first features depend on the label; `events_of` jets per event."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    lists = {}
    for position, kind in enumerate(CONSTITUENTS):
        mean = np.array([_MEAN_LENGTHS[int(label)][position] for label in labels])
        lengths = np.minimum(rng.poisson(mean), kind.limit)
        values = rng.normal(size=(int(lengths.sum()), len(kind.features))) * 0.3
        values[:, 0] += np.repeat(0.4 * labels, lengths)
        lists[kind.name] = Ragged.from_lengths(values.astype(np.float32), lengths)
    signal = labels == 1
    columns = {
        "label": labels,
        "jet_pt": rng.uniform(0.08, 1.0, n),
        "jet_eta": rng.uniform(-2.5, 2.5, n),
        "jet_phi": rng.uniform(-3.1, 3.1, n),
        "eventNumber": np.arange(n) // events_of + 1,
        "runNumber": np.full(n, 284500),
        "mcChannelNumber": np.where(signal, 311314, 364700),
        "mcEventWeight": rng.uniform(0.5, 1.5, n),
        "llp_mH": np.where(signal, rng.choice([125.0, 600.0], n), 0.0),
        "llp_mS": np.where(signal, 50.0, 0.0),
    }
    return Jets.from_columns(columns, lists)


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

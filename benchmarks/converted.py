"""Converted jets of random numbers, with as many constituents as real ones, for benchmarks of building and loading."""

from pathlib import Path

import numpy as np

from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Ragged
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units
from cal_ratio_trainer.jets.store import JetsWriter

MEAN_CONSTITUENTS = {"clusters": 11, "tracks": 5, "muon_segments": 4}
"""Constituents of a mean jet of the main file, between multijets and the other classes."""

JETS_A_BATCH = 50_000


def converted_jets(jets: int, data_type: DataType, first_event: int, seed: int) -> Jets:
    """Random jets, two per event, as convert would store them."""
    random = np.random.default_rng(seed)
    lists = {}
    for kind in CONSTITUENTS:
        lengths = np.minimum(random.poisson(MEAN_CONSTITUENTS[kind.name], jets), kind.limit)
        values = random.exponential(10.0, (lengths.sum(), len(kind.features))).astype(np.float32)
        lists[kind.name] = Ragged.from_lengths(values, lengths)
    number = np.arange(jets)
    columns = {
        "label": np.full(jets, data_type.label, dtype=np.int8),
        "jet_pt": random.uniform(40, 500, jets).astype(np.float32),
        "jet_eta": random.uniform(-2.5, 2.5, jets).astype(np.float32),
        "jet_phi": random.uniform(-np.pi, np.pi, jets).astype(np.float32),
        "eventNumber": (first_event + number // 2).astype(np.uint64),
        "runNumber": np.full(jets, 310000, dtype=np.uint32),
        "mcEventWeight": random.exponential(1.0, jets),
        "jet_isClean_LooseBadLLP": np.ones(jets, dtype=np.int8),
        "source_file": np.full(jets, "random.root"),
        "source_entry": number // 2,
        "jet_index": (number % 2).astype(np.int16),
        "mcChannelNumber": np.full(jets, 364702, dtype=np.uint32),
    }
    return Jets.from_columns(columns, lists)


def write_converted(path: Path, jets: int, data_type: DataType) -> None:
    """Writes a file of this many jets, in batches."""
    with writing(path, JetsWriter) as writer:
        for number, start in enumerate(range(0, jets, JETS_A_BATCH)):
            writer.write(converted_jets(min(JETS_A_BATCH, jets - start), data_type, start // 2, seed=number))
        writer.finish(JetMetadata(stage="converted", data_type=data_type, units=converted_units()))

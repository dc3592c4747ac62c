"""Files of random jets for tests of building."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Ragged
from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units
from cal_ratio_trainer.jets.store import write_jets


def random_jets(count: int, data_type: DataType = DataType.QCD, seed: int = 1, **columns: Any) -> Jets:
    """`count` converted jets, two to an event, of known origin."""
    random = np.random.default_rng([seed, data_type.label])
    lists = {}
    for kind in CONSTITUENTS:
        lengths = np.minimum(random.poisson(3, count), kind.limit)
        values = random.normal(50.0, 40.0, (lengths.sum(), len(kind.features)))
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
        "jet_isClean_LooseBadLLP": np.ones(count, dtype=np.int8),
        "HLT_jet_pT": np.ones(count),
        "source_file": np.full(count, f"{data_type}_{seed}.root"),
        "source_entry": number // 2,
        "jet_index": (number % 2).astype(np.int16),
        "mcChannelNumber": np.full(count, 364700 + seed, dtype=np.uint32)
        if data_type.is_simulation
        else pa.nulls(count, pa.uint32()),
    }
    return Jets.from_columns(scalars | columns, lists)


def write_converted(
    folder: Path, count: int, data_type: DataType = DataType.QCD, seed: int = 1, **metadata: Any
) -> Path:
    """A converted file of random jets, named after its data type and seed."""
    path = folder / f"{data_type}_{seed}.parquet"
    described = JetMetadata(stage="converted", data_type=data_type, units=converted_units(), **metadata)
    write_jets(path, random_jets(count, data_type, seed), described)
    return path


def settings_for(output: Path, *inputs: Any, **changes: Any) -> BuildSettings:
    """Settings of a build of these inputs, by default with the weights of the files."""
    given = [str(each) if isinstance(each, Path) else each for each in inputs]
    weights = {} if changes.keys() & {"samples", "normalise"} else {"normalise": "none"}
    return BuildSettings.make(input_files=given, output_file=output, **weights, **changes)

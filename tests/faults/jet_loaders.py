"""Files of jets and other Parquet files of this program, for the fuzz campaigns."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample
from cal_ratio_trainer.datasets.used_events import EVENTS_FILE, read_used_events, write_used_events
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import open_jets, read_jets
from cal_ratio_trainer.jets.metadata import METADATA_KEY, JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.runs.test_sample import MAIN_FILE, TestJets
from tests.factories.files import write_flat
from tests.factories.jets import converted_jets, converted_metadata, synthetic_jets
from tests.faults.campaign import Loader


def _digest(jets: Jets) -> str:
    """Digest of all values; NaN equals NaN."""
    digest = hashlib.sha256(repr(jets.scalars.to_pydict()).encode())
    for ragged in jets.constituents.values():
        for part in (ragged.values, ragged.offsets, ragged.padding):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _jets(folder: Path) -> Path:
    file = folder / "jets.parquet"
    write_jets(file, converted_jets(8), converted_metadata())
    return file


def _read_jets(file: Path) -> object:
    loaded = open_jets(file)
    return _digest(loaded.load()), loaded.metadata


def _earlier_jets(folder: Path) -> Path:
    """File as an earlier version wrote it, with checksums of pages only; a damaged footer can be read as another."""
    file = _jets(folder)
    metadata = {METADATA_KEY: pq.read_metadata(file).metadata[METADATA_KEY]}
    pq.write_table(pq.read_table(file).replace_schema_metadata(metadata), file, write_page_checksum=True)
    return file


def _flat(folder: Path) -> Path:
    """File as pandas writes it, without checksums."""
    ours, file = folder / "ours.parquet", folder / "flat.parquet"
    write_flat(ours, converted_jets(4), converted_metadata())
    pq.write_table(pq.read_table(ours).replace_schema_metadata(None), file)
    ours.unlink()
    return file


def _pickle(folder: Path) -> Path:
    file = folder / "frame.pkl"
    write_flat(file, converted_jets(4), converted_metadata())
    return file


def _read_any(file: Path) -> None:
    read_jets(file)


def _events(folder: Path) -> Path:
    main, control = (_sample(labels) for labels in ([0, 1, 2, 1], [0, 2]))
    write_used_events(folder, TrainingData(main, control, None, (control,), None), by_row=False)
    return folder / EVENTS_FILE


def _sample(labels: list[int]) -> TrainingSample:
    jets = synthetic_jets(np.array(labels), seed=len(labels), events_of=1)
    parts, weights = np.arange(len(jets), dtype=np.int8) % 3, np.ones(len(jets))
    return TrainingSample(Path("none"), JetMetadata(stage="built"), jets, parts, weights, weights, "")


def _read_events(file: Path) -> object:
    groups = read_used_events(file.parent) or ()
    return [(each.sample, each.columns, each.words.tolist(), each.part.tolist(), each.runs) for each in groups]


def _test_sample(folder: Path) -> Path:
    jets = synthetic_jets(np.array([0, 1, 2, 2]), seed=1).with_columns({"evaluation_weight": np.ones(4)})
    scaling = Scaling(min_jet_pt=0, max_jet_pt=500)
    write_jets(folder / MAIN_FILE, jets, JetMetadata(stage="built", kind="main", scaling=scaling))
    return folder / MAIN_FILE


def _read_test_sample(file: Path) -> object:
    found = TestJets.read(file)
    return _digest(found.jets), found.metadata


LOADERS: dict[str, Loader] = {
    "jets": Loader(_jets, _read_jets),
    "jets of an earlier version": Loader(_earlier_jets, _read_any),
    "flat frame": Loader(_flat, _read_any),
    "pickled frame": Loader(_pickle, _read_any),
    "list of events": Loader(_events, _read_events),
    "test sample": Loader(_test_sample, _read_test_sample),
}

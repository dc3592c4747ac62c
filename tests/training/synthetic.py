"""Small training files of random numbers, with a difference between the classes."""

from pathlib import Path
from typing import Literal

import numpy as np

from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets

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


def write_training_files(
    folder: Path, main_jets: int = 1200, control_jets: int = 800, seed: int = 7, simulation: str | None = "demo"
) -> tuple[Path, Path]:
    """Main and control-region training file; `simulation` is the value in their metadata."""
    rng = np.random.default_rng(seed)
    scaling = Scaling(min_jet_pt=0, max_jet_pt=500)
    main, control = folder / "main.parquet", folder / "control.parquet"
    kinds: tuple[tuple[Path, Literal["main", "control"], np.ndarray], ...] = (
        (main, "main", rng.integers(0, 3, main_jets)),
        (control, "control", rng.choice([0, 2], control_jets)),
    )
    for path, kind, labels in kinds:
        jets = synthetic_jets(labels, seed + len(labels))
        write_jets(path, jets, JetMetadata(stage="built", kind=kind, scaling=scaling, simulation=simulation))
    return main, control

"""Files of made-up jets."""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import choose_training_data, read_training_data
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import writing_layout
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.network.batch import JetTensors
from tests.factories.jets import synthetic_jets

SCALING = Scaling(min_jet_pt=0, max_jet_pt=500)


def write_converted(path: Path, jets: Jets, **metadata: Any) -> Path:
    """A file of converted jets."""
    write_jets(path, jets, JetMetadata(stage="converted", **metadata))
    return path


def write_built(path: Path, jets: Jets, scaling: Scaling = SCALING) -> Path:
    """A file of scaled jets."""
    write_jets(path, jets, JetMetadata(stage="built", kind="main", scaling=scaling))
    return path


def write_flat(path: Path, jets: Jets, metadata: JetMetadata) -> None:
    """A flat frame, a pickle by its name, else Parquet."""
    with writing_layout(path, "flat") as writer:
        writer.write(jets)
        writer.finish(metadata)


def write_training_files(
    folder: Path, main_jets: int = 1200, control_jets: int = 800, seed: int = 7, simulation: str | None = "demo"
) -> tuple[Path, Path]:
    """Main and control-region training file; `simulation` is the value in their metadata."""
    rng = np.random.default_rng(seed)
    main, control = folder / "main.parquet", folder / "control.parquet"
    kinds: tuple[tuple[Path, Literal["main", "control"], np.ndarray], ...] = (
        (main, "main", rng.integers(0, 3, main_jets)),
        (control, "control", rng.choice([0, 2], control_jets)),
    )
    for path, kind, labels in kinds:
        jets = synthetic_jets(labels, seed + len(labels))
        write_jets(path, jets, JetMetadata(stage="built", kind=kind, scaling=SCALING, simulation=simulation))
    return main, control


def load_training_data(
    settings: TrainSettings, main_file: Path, control_file: Path | None = None
) -> tuple[TrainingData, JetTensors]:
    """The jets of a training and what the network reads of them, in memory."""
    return read_training_data(choose_training_data(settings, main_file, *filter(None, [control_file])))


def white_png(width: int, height: int) -> bytes:
    """A white picture. [pixels]"""
    content = BytesIO()
    Image.new("P", (width, height), 1).save(content, "png")
    return content.getvalue()

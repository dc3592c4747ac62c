"""Output about the data before the first epoch."""

from pathlib import Path

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data_table import data_sentences
from cal_ratio_trainer.datasets.splits import Part, split_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from tests.factories.files import load_training_data, write_training_files
from tests.factories.jets import synthetic_jets

SETTINGS = TrainSettings.make(sample_fraction=1.0, train_fraction=0.8, split="row")


def test_a_class_that_is_missing_where_it_is_measured_is_told(tmp_path: Path) -> None:
    main, control = write_training_files(tmp_path, main_jets=300, control_jets=200)
    jets = synthetic_jets(np.random.default_rng(3).integers(0, 3, 300), 1)
    part = split_jets(jets, sample_fraction=1.0, train_fraction=0.8, seed=SETTINGS.seed, by_row=True).part
    without = jets.where((part != Part.VALIDATION) | (jets.label != 1))
    write_jets(main, without, JetMetadata(stage="built", kind="main", simulation="demo"))
    said = "\n".join(data_sentences(load_training_data(SETTINGS, main, control)[0], SETTINGS))
    assert "warning: main has no signal jets to validate" in said
    assert "to test:" not in said

"""From two training files to jets with parts and weights, and to what the network reads of them."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import Sample, TrainingData
from cal_ratio_trainer.datasets.selection import (
    ChosenData,
    ChosenJets,
    WeightedRows,
    choose_training_data,
    control_rows,
    main_rows,
)
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.training_file import mask_of
from cal_ratio_trainer.datasets.weights import WeightArray
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.filling import Memory, Storage, WholeLists
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.network.inputs import InputFilling, NetworkInputs

__all__ = [
    "Sample",
    "TrainingData",
    "WeightedJets",
    "choose_training_data",
    "load_control_jets",
    "load_main_jets",
    "load_training_data",
    "read_training_data",
]

_log = logging.getLogger(__name__)


def load_training_data(
    settings: TrainSettings, main_file: Path, control_file: Path | None = None
) -> tuple[TrainingData, NetworkInputs]:
    """Read the files into memory and prepare them.

    Scalar columns are read first and say which jets are used; then each file's constituents come in one pass.

    Args:
        settings: of the training.
        main_file: to read.
        control_file: likewise; None for a training without control region.

    Raises:
        InputFileError, MissingColumn: a file cannot be used; says which and why.
        ConfigError: the settings do not fit the data.
    """
    return read_training_data(choose_training_data(settings, main_file, control_file), Memory())


def read_training_data(chosen: ChosenData, storage: Storage) -> tuple[TrainingData, NetworkInputs]:
    """Read the constituents of the jets that are used, in one pass through each file.

    Args:
        chosen: which jets.
        storage: where the constituents are to lie.

    Raises:
        InputFileError, MissingColumn: a file is damaged.
    """
    if chosen.fill_slots:
        files = (chosen.main.source.file, chosen.control.source.file)
        _log.warning("%s and %s have different padding rows; empty slots are written out", *files)
    inputs = InputFilling(len(chosen.main.rows) + len(chosen.control.rows), chosen.most_constituents, storage)
    main, control = (_read(part, chosen.fill_slots, inputs, storage) for part in (chosen.main, chosen.control))
    return TrainingData(main, control, chosen.masses), inputs.finish()


def _read(chosen: ChosenJets, fill_slots: bool, inputs: InputFilling, storage: Storage) -> Sample:
    if not len(chosen.rows):
        # Stands for a control region that is not there; its source is the main file, which is read for the main sample.
        return chosen.sample
    sample, jets = chosen.sample, len(chosen.source.jets)
    used, tested = mask_of(chosen.rows, jets), mask_of(chosen.rows[sample.part == Part.TEST], jets)
    whole = WholeLists(int(tested.sum()), storage=storage)
    reading = chosen.source.constituents(fill_slots=fill_slots)
    for place, batch in reading.batches():
        inputs.append(reading.chosen(batch, used[place]))
        whole.append(reading.chosen(batch, tested[place]))
    return replace(sample, notes=reading.notes(), test_constituents=whole.finish())


@dataclass(frozen=True)
class WeightedJets:
    """All jets of a training file that have a weight, before any split.

    Attributes:
        jets: cleaned for training.
        weights: [jets]; of a main file as it has them, of a control region matched.
        metadata: what the file says of itself.
        notes: what was odd, a sentence each.
    """

    jets: Jets
    weights: WeightArray
    metadata: JetMetadata
    notes: tuple[str, ...]


def load_main_jets(settings: TrainSettings, file: Path) -> WeightedJets:
    """Every signal, QCD and BIB jet of a main training file, with the file's weights.

    Raises:
        InputFileError, MissingColumn: the file cannot be used; says which and why.
    """
    return _whole(main_rows(settings, file))


def load_control_jets(settings: TrainSettings, file: Path) -> WeightedJets:
    """Every jet of a control region, the simulation's weights matched to the data; errors as `load_main_jets`."""
    return _whole(control_rows(settings, file))


def _whole(found: WeightedRows) -> WeightedJets:
    source, kept = found.source, mask_of(found.rows, len(found.source.jets))
    lists = WholeLists(len(found.rows), source.opened.most_constituents())
    reading = source.constituents()
    for place, batch in reading.batches():
        lists.append(reading.chosen(batch, kept[place]))
    return WeightedJets(Jets(found.jets.scalars, lists.finish()), found.weights, source.metadata, reading.notes())

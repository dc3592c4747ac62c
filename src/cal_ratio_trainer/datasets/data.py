"""Jets of a training from two training files, with parts and weights, and the network's inputs.

Scalars decide which jets are used, in which part and with which weight; the constituents are read afterwards.
"""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import (
    TrainingData,
    TrainingSample,
    WeightArray,
    evaluation_weights,
    file_weights,
    loss_weights,
    matched_control_weights,
    parametrised_masses,
    select_masses,
)
from cal_ratio_trainer.datasets.splits import Part, split_jets
from cal_ratio_trainer.datasets.training_file import TrainingFile, mask_of, refuse_different_files
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, JetScalars, Label
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY
from cal_ratio_trainer.jets.filling import Storage, WholeLists
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.network.inputs import InputFilling, NetworkInputs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChosenJets:
    """The jets of one file that are used, before their constituents are read.

    Attributes:
        source: the file.
        rows: [jets] where they stand in it, rising.
        sample: all but notes and constituents.
    """

    source: TrainingFile
    rows: IndexArray
    sample: TrainingSample

    @cached_property
    def mean_constituents(self) -> dict[str, float]:
        """Mean number of constituents per jet, by kind: from the metadata of the file, or from its first jets."""
        opened = self.source.opened
        if most := opened.max_constituents():
            return {name: number / opened.rows for name, number in most.items()}
        first = opened.first(JETS_TO_JUDGE_BY)
        return {name: float(ragged.lengths.mean()) for name, ragged in first.constituents.items()}


@dataclass(frozen=True)
class ChosenData:
    """The jets of both files that are used, before their constituents are read; masses as in `TrainingData`."""

    main: ChosenJets
    control: ChosenJets
    masses: NDArray[np.float32] | None

    @property
    def schema(self) -> Schema:
        """The features of the jets of both files."""
        return self.main.sample.metadata.feature_schema

    @property
    def fill_slots(self) -> bool:
        """True where the padding rows of the files differ: empty slots of both then become constituents."""
        paddings = self.main.source.padding, self.control.source.padding
        return any(not np.array_equal(paddings[0][name], paddings[1][name]) for name in paddings[0])

    @property
    def mean_constituents(self) -> dict[str, tuple[float, float]]:
        """Approximate mean number of constituents of a main and of a control-region jet, by kind."""
        if self.fill_slots:
            return {kind.name: (kind.limit, kind.limit) for kind in self.schema.constituents}
        main, control = self.main.mean_constituents, self.control.mean_constituents
        return {kind.name: (main[kind.name], control[kind.name]) for kind in self.schema.constituents}

    @property
    def max_constituents(self) -> dict[str, int]:
        """For each kind's name at least as many constituents as the files hold; 0 where that is not known."""
        parts = [part for part in (self.main, self.control) if len(part.rows)]
        if self.fill_slots:
            jets = sum(len(part.rows) for part in parts)
            return {kind.name: kind.limit * jets for kind in self.schema.constituents}
        known = [part.source.opened.max_constituents() for part in parts]
        return {
            kind.name: sum(each[kind.name] for each in known) if all(kind.name in each for each in known) else 0
            for kind in self.schema.constituents
        }


@dataclass(frozen=True)
class WeightedRows:
    """The jets of a file that have a weight, before any split.

    Attributes:
        source: the file.
        rows: [jets] where they stand in it, rising.
        jets: their scalars.
        weights: [jets]; of a main file as it has them, of a control region matched.
    """

    source: TrainingFile
    rows: IndexArray
    jets: JetScalars
    weights: WeightArray

    def where(self, kept: NDArray[np.bool_]) -> "WeightedRows":
        """Rows for which `kept` [jets] is true."""
        if kept.all():
            return self
        return WeightedRows(self.source, self.rows[kept], self.jets.where(kept), self.weights[kept])


def choose_training_data(settings: TrainSettings, main_file: Path, control_file: Path | None = None) -> ChosenData:
    """Chooses the jets of a training, with parts and weights, by their scalars.

    Args:
        settings: of the training.
        main_file: to read.
        control_file: likewise; None for a training without control region.

    Raises:
        InputFileError, MissingColumn: a file cannot be used; says which and why.
        ConfigError: the settings do not fit the data.
    """
    main = _main_sample(settings, main_file)
    if control_file is None:
        control = ChosenJets(main.source, main.rows[:0], main.sample.without_jets())
        _refuse_empty_parts(main.sample)
    else:
        control = _control_sample(settings, control_file, main.source.opened.schema)
        refuse_different_files(main_file, main.sample.metadata, control_file, control.sample.metadata)
        for sample in (main.sample, control.sample):
            _refuse_empty_parts(sample)
    trained = main.sample.part == Part.TRAIN
    both = [main.sample.jets, control.sample.jets]
    masses = parametrised_masses(both, settings.parametrised_masses, settings.seed, trained)
    return ChosenData(main, control, masses)


def _main_sample(settings: TrainSettings, file: Path) -> ChosenJets:
    found, part, identity = _divided(settings, main_rows(settings, file))
    trained, labels = part == Part.TRAIN, found.jets.label
    try:
        in_loss = loss_weights(found.weights, labels, trained, settings.loss_weights)
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    missing = [label.name for label in Label if not np.any(trained & (labels == label))]
    if missing:
        raise InputFileError(file, f"has no {' and no '.join(missing)} jets to train on")
    weight = evaluation_weights(found.weights, labels)
    sample = TrainingSample(file, found.source.metadata, found.jets, part, in_loss, weight, identity)
    return ChosenJets(found.source, found.rows, sample)


def _control_sample(settings: TrainSettings, file: Path, schema: Schema) -> ChosenJets:
    found, part, identity = _divided(settings, control_rows(settings, file, schema))
    sample = TrainingSample(file, found.source.metadata, found.jets, part, found.weights, found.weights, identity)
    return ChosenJets(found.source, found.rows, sample)


def _divided(settings: TrainSettings, rows: WeightedRows) -> tuple[WeightedRows, NDArray[np.int8], str]:
    """The rows that are used, their parts, and how events were told apart."""
    split = split_jets(
        rows.jets,
        sample_fraction=settings.sample_fraction,
        train_fraction=settings.train_fraction,
        seed=settings.seed,
        by_row=settings.split == "row",
    )
    part = select_masses(rows.jets, split.part, settings) if rows.source.kind == "main" else split.part
    return rows.where(part != Part.UNUSED), part[part != Part.UNUSED], split.identity


def _refuse_empty_parts(sample: TrainingSample) -> None:
    names = {Part.TRAIN: "train on", Part.VALIDATION: "validate with", Part.TEST: "test with"}
    empty = [name for part, name in names.items() if not len(sample.positions(part))]
    if empty:
        raise InputFileError(
            sample.file,
            f"has too few jets: of the {len(sample.jets)} in use none is left to {' or to '.join(empty)}; take more "
            "jets, or change train_fraction or sample_fraction",
        )


def main_rows(settings: TrainSettings, file: Path) -> WeightedRows:
    """Every signal, QCD and BIB jet of a main training file. Raises InputFileError, MissingColumn."""
    return _weighted(settings, TrainingFile.open(settings, file, kind="main"))


def control_rows(settings: TrainSettings, file: Path, schema: Schema | None = None) -> WeightedRows:
    """Every jet of a control region, with the features of a schema. Raises InputFileError, MissingColumn."""
    found = _weighted(settings, TrainingFile.open(settings, file, "control", schema))
    try:
        return replace(found, weights=matched_control_weights(found.weights, found.jets.label))
    except ValueError as error:
        raise InputFileError(file, str(error)) from error


def _weighted(settings: TrainSettings, source: TrainingFile) -> WeightedRows:
    weights = file_weights(source.jets, settings.weight_column, settings.bad_weights, str(source.file))
    rows = np.arange(len(weights), dtype=np.int64)
    return WeightedRows(source, rows, source.jets, weights).where(np.isfinite(weights))


def read_training_data(chosen: ChosenData, storage: Storage) -> tuple[TrainingData, NetworkInputs]:
    """Reads the constituents of the jets that are used, in one pass through each file.

    Args:
        chosen: selected jets.
        storage: place for the constituents.

    Raises:
        InputFileError, MissingColumn: a file is damaged.
    """
    if chosen.fill_slots:
        files = (chosen.main.source.file, chosen.control.source.file)
        _log.warning("%s and %s have different padding rows; empty slots are written out", *files)
    inputs = InputFilling(
        len(chosen.main.rows) + len(chosen.control.rows), chosen.max_constituents, storage, chosen.schema
    )
    main, control = (_read(part, chosen.fill_slots, inputs, storage) for part in (chosen.main, chosen.control))
    return TrainingData(main, control, chosen.masses), inputs.finish()


def _read(chosen: ChosenJets, fill_slots: bool, inputs: InputFilling, storage: Storage) -> TrainingSample:
    if not len(chosen.rows):
        # Stands for a control region that is not there; its source is the main file, which is read for the main sample.
        return chosen.sample
    schema = chosen.source.opened.schema
    sample, jets = chosen.sample, len(chosen.source.jets)
    used, tested = mask_of(chosen.rows, jets), mask_of(chosen.rows[sample.part == Part.TEST], jets)
    whole = WholeLists(int(tested.sum()), storage=storage, schema=schema)
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
        metadata: metadata of the file.
        notes: unusual values, one sentence each.
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
    lists = WholeLists(len(found.rows), source.opened.max_constituents(), schema=source.opened.schema)
    reading = source.constituents()
    for place, batch in reading.batches():
        lists.append(reading.chosen(batch, kept[place]))
    return WeightedJets(
        Jets(found.jets.scalars, lists.finish(), schema=found.jets.schema),
        found.weights,
        source.metadata,
        reading.notes(),
    )

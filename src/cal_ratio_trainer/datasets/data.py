"""Jets of a training from a main file and control regions, with parts and weights, and the network's inputs.

Scalars decide which jets are used, in which part and with which weight; the constituents are read afterwards.
"""

import logging
from collections.abc import Mapping
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
from cal_ratio_trainer.datasets.splits import Part, UIntArray, split_jets
from cal_ratio_trainer.datasets.training_file import TrainingFile, mask_of, refuse_different_files
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, JetScalars, Label
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY
from cal_ratio_trainer.jets.filling import WholeLists
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
    """The jets of all files that are used, before their constituents are read; masses as in `TrainingData`.

    Attributes:
        main: signal, QCD and BIB.
        regions: the control regions to train on, by name.
        judged: those that are judged only.
        masses: see `TrainingData`.
    """

    main: ChosenJets
    regions: Mapping[str, ChosenJets]
    judged: Mapping[str, ChosenJets]
    masses: NDArray[np.float32] | None

    @property
    def files(self) -> list[ChosenJets]:
        """All of them, in the order in which a training holds their jets."""
        return [self.main, *self.regions.values(), *self.judged.values()]

    @property
    def schema(self) -> Schema:
        """The features of the jets of all files."""
        return self.main.sample.metadata.feature_schema

    @property
    def fill_slots(self) -> bool:
        """True where the padding rows of the files differ: empty slots of all then become constituents."""
        first, *others = (each.source.padding for each in self.files)
        return any(not np.array_equal(first[name], other[name]) for other in others for name in first)

    @property
    def mean_constituents(self) -> dict[str, tuple[float, float]]:
        """Approximate mean number of constituents of a main and of a control-region jet to train on, by kind."""
        if self.fill_slots:
            return {kind.name: (kind.limit, kind.limit) for kind in self.schema.constituents}
        main, regions = self.main.mean_constituents, list(self.regions.values())
        jets = [len(each.rows) for each in regions]
        control = {
            name: float(np.average([each.mean_constituents[name] for each in regions], weights=jets))
            for name in (main if len(regions) > 1 else ())
        }
        control = control or (regions[0].mean_constituents if regions else main)
        return {kind.name: (main[kind.name], control[kind.name]) for kind in self.schema.constituents}

    @property
    def max_constituents(self) -> dict[str, int]:
        """For each kind's name at least as many constituents as the files hold; 0 where that is not known."""
        if self.fill_slots:
            jets = sum(len(part.rows) for part in self.files)
            return {kind.name: kind.limit * jets for kind in self.schema.constituents}
        known = [part.source.opened.max_constituents() for part in self.files]
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


def choose_training_data(settings: TrainSettings, main_file: Path, *region_files: Path) -> ChosenData:
    """Chooses the jets of a training, with parts and weights, by their scalars.

    Args:
        settings: of the training.
        main_file: to read.
        region_files: likewise, the control regions to train on and then those that are judged only, in the order of
            the settings; none for a training without control region.

    Raises:
        InputFileError, MissingColumn: a file cannot be used; says which and why.
        ConfigError: the settings do not fit the data.
    """
    main = _main_sample(settings, main_file)
    names = [*settings.control_files, *settings.judged_files]
    files = dict(zip(names, region_files, strict=False))
    found = {name: control_rows(settings, file, main.source.opened.schema) for name, file in files.items()}
    for file, rows in zip(region_files, found.values(), strict=True):
        refuse_different_files(main_file, main.sample.metadata, file, rows.source.metadata)
    trained = {name: rows for name, rows in found.items() if name in settings.control_files}
    regions = {name: _control_sample(settings, rows) for name, rows in _in_shares(settings, trained).items()}
    _refuse_empty_parts(main.sample)
    for each in regions.values():
        _refuse_empty_parts(each.sample)
    judged = {}
    if len(trained) < len(found):
        samples = [each.sample for each in (main, *regions.values())]
        seen = np.concatenate([sample.events[sample.positions(Part.TRAIN)] for sample in samples])
        judged = {name: _judged_sample(settings, found[name], seen) for name in found if name not in trained}
    jets = [each.sample.jets for each in (main, *regions.values(), *judged.values())]
    masses = parametrised_masses(jets, settings.parametrised_masses, settings.seed, main.sample.part == Part.TRAIN)
    return ChosenData(main, regions, judged, masses)


def _in_shares(settings: TrainSettings, regions: Mapping[str, WeightedRows]) -> Mapping[str, WeightedRows]:
    """Control regions whose weights sum to their shares of the sum of all; a single one as it is."""
    if len(regions) < 2:
        return regions
    sums = [rows.weights.sum() for rows in regions.values()]
    factors = [share * sum(sums) / each for share, each in zip(settings.control_shares, sums, strict=True)]
    return {
        name: replace(rows, weights=rows.weights * factor)
        for (name, rows), factor in zip(regions.items(), factors, strict=True)
    }


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


def _control_sample(settings: TrainSettings, rows: WeightedRows) -> ChosenJets:
    found, part, identity = _divided(settings, rows)
    file, metadata = found.source.file, found.source.metadata
    sample = TrainingSample(file, metadata, found.jets, part, found.weights, found.weights, identity)
    return ChosenJets(found.source, found.rows, sample)


def _judged_sample(settings: TrainSettings, rows: WeightedRows, seen: UIntArray) -> ChosenJets:
    """A region that nothing is trained on: events of the training part are divided between the other two.

    None of its events is used that is in the training part of another file; `seen` [events] are these. An event of
    the validation or test part of another file is in the same part here.
    """
    chosen = _control_sample(settings, rows)
    sample, trained = chosen.sample, chosen.sample.part == Part.TRAIN
    halves = _divided(settings.model_copy(update={"train_fraction": settings.train_fraction / 2}), rows)[1]
    half = np.where(halves == Part.TRAIN, Part.VALIDATION, Part.TEST)
    part = np.where(trained, half, sample.part).astype(np.int8)
    kept = np.flatnonzero(~(trained & np.isin(sample.events, seen)))
    sample = replace(
        sample,
        jets=sample.jets.take(kept),
        part=part[kept],
        loss_weight=sample.loss_weight[kept],
        weight=sample.weight[kept],
    )
    if missing := [name for name, wanted in _JUDGED_PARTS.items() if not len(sample.positions(wanted))]:
        raise InputFileError(
            sample.file,
            f"has no jets to {' and to '.join(missing)} with, of the {len(trained)} in use, whose events are not "
            "trained on",
        )
    return ChosenJets(chosen.source, chosen.rows[kept], sample)


_JUDGED_PARTS = {"validate": Part.VALIDATION, "test": Part.TEST}


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


def read_training_data(chosen: ChosenData, folder: Path | None = None) -> tuple[TrainingData, NetworkInputs]:
    """Reads the constituents of the jets that are used, in one pass through each file.

    Args:
        chosen: selected jets.
        folder: folder for files that hold the constituents; None for memory.

    Raises:
        InputFileError, MissingColumn: a file is damaged.
    """
    if chosen.fill_slots:
        files = " and ".join(str(each.source.file) for each in chosen.files)
        _log.warning("%s have different padding rows; empty slots are written out", files)
    jets = sum(len(each.rows) for each in chosen.files)
    inputs = InputFilling(jets, chosen.max_constituents, folder, chosen.schema)
    main = _read(chosen.main, chosen.fill_slots, inputs, folder)
    regions, judged = (
        {name: _read(each, chosen.fill_slots, inputs, folder) for name, each in some.items()}
        for some in (chosen.regions, chosen.judged)
    )
    return TrainingData.of_regions(main, regions, judged, chosen.masses), inputs.finish()


def _read(chosen: ChosenJets, fill_slots: bool, inputs: InputFilling, folder: Path | None) -> TrainingSample:
    schema = chosen.source.opened.schema
    sample, jets = chosen.sample, len(chosen.source.jets)
    used, tested = mask_of(chosen.rows, jets), mask_of(chosen.rows[sample.part == Part.TEST], jets)
    whole = WholeLists(int(tested.sum()), folder=folder, schema=schema)
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

"""From two training files to jets with parts and weights."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.features import MISSING_T0, MUON_SEGMENTS
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.loading import clean_for_training, is_built, load_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.training.compatibility import refuse_different_files, refuse_wrong_scale
from cal_ratio_trainer.training.folds import without_held_out
from cal_ratio_trainer.training.mass_selection import parametrised_masses, select_masses
from cal_ratio_trainer.training.splits import Part, Split, split_jets
from cal_ratio_trainer.training.step import TrainingTensors
from cal_ratio_trainer.training.weights import (
    WeightArray,
    evaluation_weights,
    file_weights,
    loss_weights,
    matched_control_weights,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """The jets of one file that a training uses.

    Attributes:
        file: where they came from.
        metadata: what the file says of itself.
        jets: cleaned for training.
        part: [jets], see `Part`.
        loss_weight: [jets], as the loss uses it.
        weight: [jets], as plots, K-S and figures of merit use it.
        identity: what told events apart in the split.
        notes: what was odd, a sentence each.
    """

    file: Path
    metadata: JetMetadata
    jets: Jets
    part: NDArray[np.int8]
    loss_weight: WeightArray
    weight: WeightArray
    identity: str
    notes: tuple[str, ...]

    def positions(self, part: Part) -> NDArray[np.int64]:
        """Positions of the jets of one part."""
        return np.flatnonzero(self.part == part).astype(np.int64)

    @property
    def is_data(self) -> NDArray[np.bool_]:
        """In a control region: true for data. [jets]"""
        return np.asarray(self.jets.label == CONTROL_DATA)


@dataclass(frozen=True)
class TrainingData:
    """Both samples, and the masses that a parametrised network reads ([main + control jets, 0, 1 or 2], TeV)."""

    main: Sample
    control: Sample
    masses: NDArray[np.float32] | None

    def tensors(self, device: torch.device) -> TrainingTensors:
        """Everything on the device: main jets first, then control jets."""
        jets = JetTensors.from_jets([self.main.jets, self.control.jets], device, self.masses)
        target = np.concatenate([self.main.jets.label, self.control.is_data]).astype(np.int64)
        weight = np.concatenate([self.main.loss_weight, self.control.loss_weight]).astype(np.float32)
        return TrainingTensors(jets, torch.from_numpy(target).to(device), torch.from_numpy(weight).to(device))

    def control_positions(self, part: Part) -> NDArray[np.int64]:
        """Positions of control jets in `tensors`."""
        return self.control.positions(part) + len(self.main.jets)

    @property
    def simulation(self) -> str | None:
        """What simulated the jets where it was not the experiment's own simulation, e.g. 'demo'."""
        return self.main.metadata.simulation or self.control.metadata.simulation


def load_training_data(settings: TrainSettings, main_file: Path, control_file: Path) -> TrainingData:
    """Read both files and prepare them.

    Raises:
        InputFileError, MissingColumn: a file cannot be used; says which and why.
        ConfigError: the settings do not fit the data.
    """
    main = _main_sample(settings, main_file)
    control = _control_sample(settings, control_file)
    refuse_different_files((main_file, main.metadata), (control_file, control.metadata))
    for sample in (main, control):
        _refuse_empty_parts(sample)
    main, control = _with_common_padding(main, control)
    trained = main.part == Part.TRAIN
    masses = parametrised_masses([main.jets, control.jets], settings.parametrised_masses, settings.seed, trained)
    return TrainingData(main, control, masses)


def _refuse_empty_parts(sample: Sample) -> None:
    names = {Part.TRAIN: "train on", Part.VALIDATION: "validate with", Part.TEST: "test with"}
    empty = [name for part, name in names.items() if not len(sample.positions(part))]
    if empty:
        raise InputFileError(
            sample.file,
            f"has too few jets: of the {len(sample.jets)} in use none is left to {' or to '.join(empty)}; take more "
            "jets, or change train_fraction or sample_fraction",
        )


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
    jets, metadata, notes = _load(settings, file, kind="main")
    _check_labels(
        file, jets, {int(label) for label in Label}, "a main training file has 0 (QCD), 1 (signal) and 2 (BIB)"
    )
    weights = file_weights(jets, settings.weight_column, settings.bad_weights, str(file))
    return WeightedJets(*_without_dropped(jets, weights), metadata, tuple(notes))


def load_control_jets(settings: TrainSettings, file: Path) -> WeightedJets:
    """Every jet of a control region, the simulation's weights matched to the data; errors as `load_main_jets`."""
    jets, metadata, notes = _load(settings, file, kind="control")
    _check_labels(file, jets, {int(CONTROL_MC), int(CONTROL_DATA)}, "a control region has 0 (MC) and 2 (data) only")
    weights = file_weights(jets, settings.weight_column, settings.bad_weights, str(file))
    jets, weights = _without_dropped(jets, weights)
    try:
        matched = matched_control_weights(weights, jets.label)
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    return WeightedJets(jets, matched, metadata, tuple(notes))


def _main_sample(settings: TrainSettings, file: Path) -> Sample:
    loaded = load_main_jets(settings, file)
    split = _split(settings, loaded.jets)
    part = select_masses(loaded.jets, split.part, settings)
    jets, part, weights = _used_only(loaded.jets, part, loaded.weights)
    trained = part == Part.TRAIN
    try:
        in_loss = loss_weights(weights, jets.label, trained, settings.loss_weights)
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    missing = [label.name for label in Label if not np.any(trained & (jets.label == label))]
    if missing:
        raise InputFileError(file, f"has no {' and no '.join(missing)} jets to train on")
    weight = evaluation_weights(weights, jets.label)
    return Sample(file, loaded.metadata, jets, part, in_loss, weight, split.identity, loaded.notes)


def _control_sample(settings: TrainSettings, file: Path) -> Sample:
    loaded = load_control_jets(settings, file)
    split = _split(settings, loaded.jets)
    jets, part, matched = _used_only(loaded.jets, split.part, loaded.weights)
    return Sample(file, loaded.metadata, jets, part, matched, matched, split.identity, loaded.notes)


def _check_labels(file: Path, jets: Jets, known: set[int], said: str) -> None:
    unknown = {int(label) for label in np.unique(jets.label)} - known
    if unknown:
        raise InputFileError(file, f"has jets labelled {', '.join(map(str, sorted(unknown)))}; {said}")


def _load(settings: TrainSettings, file: Path, kind: str) -> tuple[Jets, JetMetadata, list[str]]:
    loaded = load_jets(file)
    metadata = loaded.metadata
    if len(loaded.jets) == 0:
        raise InputFileError(file, "holds no jets")
    if metadata.kind is not None and metadata.kind != kind:
        raise InputFileError(file, f"is a {metadata.kind} training file, but was given as the {kind} one")
    seen, fold_notes = without_held_out(settings, loaded.jets, file)
    if not is_built(metadata, seen):
        raise InputFileError(
            file, "holds converted jets (pt in GeV); make a training file of it with 'cr_trainer build'"
        )
    refuse_wrong_scale(file, seen, metadata)
    jets, report = clean_for_training(seen)
    notes = [*fold_notes, *loaded.report.sentences(), *report.sentences()]
    for sentence in report.sentences():
        _log.warning("%s: %s", file, sentence)
    if settings.missing_t0 is not None:
        jets, replaced = with_missing_t0(jets, settings.missing_t0)
        notes.append(f"{replaced} values of MSeg_t0 were not measured and became {settings.missing_t0:g}")
    return jets, metadata, notes


def with_missing_t0(jets: Jets, value: float) -> tuple[Jets, int]:
    """The jets with `value` [ns] where a muon segment's time was not measured, and how many times that is."""
    segments = jets.constituents[MUON_SEGMENTS.name]
    position = MUON_SEGMENTS.position("t0")
    missing = segments.values[:, position] == np.float32(MISSING_T0)
    values = segments.values.copy()
    values[missing, position] = value
    lists = {**jets.constituents, MUON_SEGMENTS.name: segments.with_values(values)}
    return Jets(jets.scalars, lists), int(missing.sum())


def _split(settings: TrainSettings, jets: Jets) -> Split:
    return split_jets(
        jets,
        sample_fraction=settings.sample_fraction,
        train_fraction=settings.train_fraction,
        seed=settings.seed,
        by_row=settings.split == "row",
    )


def _without_dropped(jets: Jets, weights: WeightArray) -> tuple[Jets, WeightArray]:
    kept = np.isfinite(weights)
    return (jets, weights) if kept.all() else (jets.where(kept), weights[kept])


def _used_only(jets: Jets, part: NDArray[np.int8], weights: WeightArray) -> tuple[Jets, NDArray[np.int8], WeightArray]:
    used = part != Part.UNUSED
    return (jets, part, weights) if used.all() else (jets.where(used), part[used], weights[used])


def _with_common_padding(main: Sample, control: Sample) -> tuple[Sample, Sample]:
    """Where the padding rows of the files differ, empty slots of both become constituents with their file's values."""
    same = all(
        np.array_equal(ragged.padding, control.jets.constituents[name].padding)
        for name, ragged in main.jets.constituents.items()
    )
    if same:
        return main, control
    _log.warning("%s and %s have different padding rows; empty slots are written out", main.file, control.file)
    return (
        replace(main, jets=main.jets.with_filled_slots()),
        replace(control, jets=control.jets.with_filled_slots()),
    )

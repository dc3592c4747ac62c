"""From training files to the jets of a training: choice of jets by their scalars, then their constituents."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample
from cal_ratio_trainer.datasets.splits import Part, UIntArray, row_words, split_jets
from cal_ratio_trainer.datasets.training_file import TrainingFile, refuse_different_files
from cal_ratio_trainer.datasets.weights import evaluation_weights, loss_weights, parametrised_masses, select_masses
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Label, Ragged
from cal_ratio_trainer.jets.filling import WholeLists
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.network.batch import InputFilling, JetTensors

_log = logging.getLogger(__name__)

_VERBS = {Part.TRAIN: "train on", Part.VALIDATION: "validate with", Part.TEST: "test with"}
_JUDGED_PARTS = {"validate": Part.VALIDATION, "test": Part.TEST}


def choose_training_data(settings: TrainSettings, main_file: Path, *region_files: Path) -> TrainingData:
    """Chooses the jets of a training, with parts and weights, by their scalars.

    Args:
        settings: settings of the training.
        main_file: main training file.
        region_files: files of the control regions to train on and then of those that are judged only, in the order of
            the settings; none for a training without control region.

    Raises:
        InputFileError, MissingColumn: a file cannot be used; says which and why.
        ConfigError: the settings do not fit the data.
    """
    main = _main_sample(settings, main_file)
    names = [*settings.control_files, *settings.judged_files]
    shares = [*settings.control_shares, *[0.0] * len(settings.judged_files)]
    sources = [TrainingFile.open(settings, file, "control", main.jets.schema) for file in region_files]
    for source in sources:
        refuse_different_files(main_file, main.metadata, source.file, source.metadata)
    regions = [
        replace(_divided(settings, source), name=name, share=share)
        for name, share, source in zip(names, shares, _in_shares(shares, sources), strict=False)
    ]
    trained = [main, *(each for each in regions if each.share)]
    for sample in trained:
        if empty := [verb for part, verb in _VERBS.items() if not len(sample.positions(part))]:
            raise InputFileError(
                sample.file,
                f"has too few jets: of the {len(sample.jets)} in use none is left to {' or to '.join(empty)}; take "
                "more jets, or change train_fraction or sample_fraction",
            )
    if len(trained) <= len(regions):
        seen = np.concatenate([each.events[each.positions(Part.TRAIN)] for each in trained])
        regions = [each if each.share else _judged_region(settings, each, seen) for each in regions]
    jets = [each.jets for each in (main, *regions)]
    masses = parametrised_masses(jets, settings.parametrised_masses, settings.seed, main.part == Part.TRAIN)
    return TrainingData.of(main, regions, masses)


def shared_jets(data: TrainingData, settings: TrainSettings) -> list[str]:
    """Sentences on the jets that are in the main file and in a control region, told apart by pt, eta and phi.

    Raises:
        InputFileError: their events can be in another part in the control region, e.g. trained on in one file and
            tested with in the other.
    """
    words = row_words(data.main.jets)[0]
    order = np.argsort(words)
    sentences = []
    for region in data.regions:
        mine = row_words(region.jets)[0]
        place = np.minimum(np.searchsorted(words, mine, sorter=order), len(words) - 1)
        shared = words[order[place]] == mine
        if not shared.any():
            continue
        count = int(shared.sum())
        if settings.split == "row":
            reason = "split 'row' divides each file by itself; take split 'event'"
        elif "eventNumber" not in data.main.identity or "eventNumber" not in region.identity:
            reason = "a file has no event numbers to divide both in the same way"
        elif region.share and not np.array_equal(data.main.part[order[place]][shared], region.part[shared]):
            reason = "their mcChannelNumber or runNumber differ between the files, and so does the part of their events"
        else:
            use = (
                "the same jets serve classification and agreement, each event in the same part of both files"
                if region.share
                else "the region judges agreement on jets by which the network learns to classify"
            )
            sentences.append(
                f"warning: {count} of {len(mine)} jets of {region.file} are jets of {data.main.file} too, from "
                f"{len(np.unique(region.events[shared]))} events: {use}"
            )
            continue
        raise InputFileError(region.file, f"cannot be used beside {data.main.file}: {count} jets are in both: {reason}")
    return sentences


def _in_shares(shares: list[float], sources: list[TrainingFile]) -> list[TrainingFile]:
    """Control regions whose weights sum to their shares of the sum of all; without a share they stay as they are."""
    sums = [source.weights.sum() for source in sources]
    total = sum(each for each, share in zip(sums, shares, strict=False) if share)
    return [
        replace(source, weights=source.weights * (share * total / each)) if share else source
        for source, share, each in zip(sources, shares, sums, strict=False)
    ]


def _main_sample(settings: TrainSettings, file: Path) -> TrainingSample:
    sample = _divided(settings, TrainingFile.open(settings, file, "main"))
    trained, labels, weights = sample.part == Part.TRAIN, sample.jets.label, sample.weight
    try:
        in_loss = loss_weights(weights, labels, trained, settings.loss_weights)
    except ValueError as error:
        raise InputFileError(file, str(error)) from error
    missing = [label.name for label in Label if not np.any(trained & (labels == label))]
    if missing:
        raise InputFileError(file, f"has no {' and no '.join(missing)} jets to train on")
    return replace(sample, loss_weight=in_loss, weight=evaluation_weights(weights, labels))


def _judged_region(settings: TrainSettings, sample: TrainingSample, seen: UIntArray) -> TrainingSample:
    """A region that nothing is trained on: events of the training part are divided between the other two.

    None of its events is used that is in the training part of another file; `seen` [events] are these. An event of
    the validation or test part of another file is in the same part here.
    """
    trained = sample.part == Part.TRAIN
    # The same events are used, so that the smaller training part of this split lies within that of the other.
    halves = split_jets(
        sample.jets,
        sample_fraction=settings.sample_fraction,
        train_fraction=settings.train_fraction / 2,
        seed=settings.seed,
        by_row=settings.split == "row",
    )
    half = np.where(halves.part == Part.TRAIN, Part.VALIDATION, Part.TEST)
    kept = np.flatnonzero(~(trained & np.isin(sample.events, seen)))
    chosen = replace(sample, part=np.where(trained, half, sample.part).astype(np.int8)).take(kept)
    if missing := [verb for verb, wanted in _JUDGED_PARTS.items() if not len(chosen.positions(wanted))]:
        raise InputFileError(
            sample.file,
            f"has no jets to {' and to '.join(missing)} with, of the {len(trained)} in use, whose events are not "
            "trained on",
        )
    return chosen


def _divided(settings: TrainSettings, source: TrainingFile) -> TrainingSample:
    """The jets of a file that are used, with their parts."""
    split = split_jets(
        source.jets,
        sample_fraction=settings.sample_fraction,
        train_fraction=settings.train_fraction,
        seed=settings.seed,
        by_row=settings.split == "row",
    )
    part = select_masses(source.jets, split.part, settings) if source.kind == "main" else split.part
    sample = TrainingSample(
        source.file, source.metadata, source.jets, part, source.weights, source.weights, split.identity, source
    )
    return sample if np.all(part != Part.UNUSED) else sample.take(np.flatnonzero(part != Part.UNUSED))


def read_training_data(
    chosen: TrainingData,
    folder: Path | None = None,
    device: torch.device | None = None,
    kind: type[JetTensors] = JetTensors,
) -> tuple[TrainingData, JetTensors]:
    """Reads the constituents of the jets that are used, in one pass through each file.

    Args:
        chosen: selected jets.
        folder: folder for files that hold the constituents; None for memory.
        device: device of the network; None for the CPU.
        kind: `DistantJets` leaves the constituents where they are filled.

    Returns:
        The same jets with notes and test constituents, and what the network and the loss read of them, in the order
        main jets, control jets, jets that are judged only.

    Raises:
        InputFileError, MissingColumn: a file is damaged.
    """
    if chosen.fill_slots:
        files = " and ".join(str(source.file) for source in chosen.sources)
        _log.warning("%s have different padding rows; empty slots are written out", files)
    jets = sum(len(source.rows) for source in chosen.sources)
    inputs = InputFilling(jets, chosen.max_constituents, folder, chosen.schema)
    fillings = {
        name: WholeLists(len(sample.positions(Part.TEST)), folder=folder, schema=chosen.schema)
        for name, sample in chosen.samples.items()
    }
    read: list[TrainingSample] = []
    for sample in (chosen.main, *chosen.regions):
        whole = fillings["main" if not read else "control" if sample.share else "judged"]
        read.append(_read(sample, chosen.fill_slots, inputs.append, whole.append))
    tested = {name: filling.finish() for name, filling in fillings.items()}
    data = TrainingData(
        replace(read[0], test_constituents=tested["main"]),
        replace(chosen.control, test_constituents=tested.get("control", {})),
        None if chosen.judged is None else replace(chosen.judged, test_constituents=tested.get("judged", {})),
        tuple(read[1:]),
        chosen.masses,
    )
    samples = [each for each in (data.main, data.control, data.judged) if each is not None]
    tensors = kind.of_filling(inputs, [each.jets for each in samples], device or torch.device("cpu"), data.masses)
    target = np.concatenate([data.main.jets.label, *(each.is_data for each in samples[1:])]).astype(np.int64)
    region = np.zeros(len(target), dtype=np.uint8)
    if data.control.region is not None:
        region[len(data.main.jets) :][: len(data.control.jets)] = data.control.region
    weight = np.concatenate([each.loss_weight for each in samples]).astype(np.float32)
    return data, tensors.for_training(*map(torch.from_numpy, (target, weight, region)))


def _read(
    sample: TrainingSample,
    fill_slots: bool,
    take: Callable[[Mapping[str, Ragged]], None],
    take_tested: Callable[[Mapping[str, Ragged]], None],
) -> TrainingSample:
    """Hands over the constituents of all jets, and again those of the test part; adds the notes on the file."""
    source = sample.source
    assert source is not None, "the constituents come from the opened file"
    tested = source.rows[sample.positions(Part.TEST)]
    return replace(sample, notes=source.read([(source.rows, take), (tested, take_tested)], fill_slots=fill_slots))


def load_whole_file(settings: TrainSettings, file: Path, kind: str, schema: Schema | None = None) -> TrainingSample:
    """Every jet of a training file that has a weight, whole and in the test part.

    Args:
        settings: settings of the training.
        file: training file.
        kind: its use, 'main' or 'control'.
        schema: features to read; None takes those of the file.

    Raises:
        InputFileError, MissingColumn: the file cannot be used; says which and why.
    """
    source = TrainingFile.open(settings, file, kind, schema)
    lists = WholeLists(len(source.rows), source.opened.max_constituents(), schema=source.opened.schema)
    notes = source.read([(source.rows, lists.append)])
    weight = evaluation_weights(source.weights, source.jets.label) if kind == "main" else source.weights
    part = np.full(len(source.rows), Part.TEST, dtype=np.int8)
    return TrainingSample(
        file,
        source.metadata,
        source.jets,
        part,
        source.weights,
        weight,
        "",
        source,
        notes=notes,
        test_constituents=lists.finish(),
    )

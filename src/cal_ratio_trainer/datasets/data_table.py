"""Tables and notes about the data before the first epoch."""

from collections.abc import Iterator

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import Sample, TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.weights import ClassShare, class_shares, unfair_share
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.labels import CLASS_NAMES, CLASS_OF_LABEL, CONTROL_DATA, CONTROL_MC

_CLASS_NAMES = {
    "main": {label: label.title for label in Label},
    "control": {label: CLASS_NAMES[CLASS_OF_LABEL["control"][label]] for label in (CONTROL_MC, CONTROL_DATA)},
}


def data_sentences(data: TrainingData, settings: TrainSettings) -> Iterator[str]:
    """Files, parts, and what the loss sees of each class; warnings where something is far off."""
    for name, sample in data.samples.items():
        yield _parts_line(name, sample, settings)
    if "control" not in data.samples:
        yield "no control-region file: no K-S, no figures of the control region"
    yield f"what the loss sees (loss_weights: {settings.loss_weights}):"
    shares = {name: _trained_shares(sample) for name, sample in data.samples.items()}
    for name, each in shares.items():
        yield _table(each, name)
    warning = unfair_share(shares["main"])
    if warning:
        yield f"warning: {warning}"
    for name, sample in data.samples.items():
        yield from _missing_classes(name, sample)


def _missing_classes(name: str, sample: Sample) -> Iterator[str]:
    for part, verb in ((Part.VALIDATION, "validate"), (Part.TEST, "test")):
        there = np.unique(sample.jets.label[sample.part == part])
        missing = [title for label, title in _CLASS_NAMES[name].items() if label not in there]
        if missing:
            yield f"warning: {name} has no {' and no '.join(missing)} jets to {verb}: figures that need them are NaN"


def _trained_shares(sample: Sample) -> list[ClassShare]:
    trained = sample.positions(Part.TRAIN)
    return class_shares(sample.loss_weight[trained], sample.jets.label[trained])


def _parts_line(name: str, sample: Sample, settings: TrainSettings) -> str:
    counts = [len(sample.positions(part)) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)]
    told_apart = f"split by {sample.identity}" if settings.split == "event" else "split by row"
    used = f"using {100 * settings.sample_fraction:g} % of the jets (sample_fraction)"
    fraction = f", {used}" if settings.sample_fraction < 1 else ""
    left_out = f", without fold {settings.fold} of {settings.folds}" if settings.folds is not None else ""
    return (
        f"{name}: {sample.file}: {counts[0]} jets to train on, {counts[1]} to validate, {counts[2]} to test; "
        f"{told_apart}{fraction}{left_out}"
    )


def _table(shares: list[ClassShare], sample: str) -> str:
    rows = [f"  {sample + ' class':<16}{'jets':>10}{'sum of weights':>16}{'effective':>12}{'share of loss':>15}"]
    for row in shares:
        name = _CLASS_NAMES[sample][row.label]
        numbers = f"{row.jets:>10}{row.sum_of_weights:>16.4g}{row.effective_number:>12.1f}{100 * row.share:>13.3g} %"
        rows.append(f"  {name:<16}{numbers}")
    return "\n".join(rows)

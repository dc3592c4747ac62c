"""Tables and notes about the data before the first epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.weights import LabelArray, WeightArray
from cal_ratio_trainer.evaluation.scored import effective_number
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.labels import CLASS_NAMES, CLASS_OF_LABEL, CONTROL_DATA, CONTROL_MC

_CLASS_NAMES = {
    "main": {label: label.title for label in Label},
    "control": {label: CLASS_NAMES[CLASS_OF_LABEL["control"][label]] for label in (CONTROL_MC, CONTROL_DATA)},
}


_MAX_FAIR_RATIO = 100.0


@dataclass(frozen=True)
class ClassShare:
    """Weight of one class in the loss."""

    label: Label
    jets: int
    sum_of_weights: float
    effective_number: float
    share: float


def data_sentences(data: TrainingData, settings: TrainSettings) -> Iterator[str]:
    """Files, parts, and what the loss sees of each class; warnings where something is far off."""
    # (name, kind, sample): a single control region has no name of its own.
    samples = [("main", "main", data.main)] + [
        (f"control region {each.name}" if data.compares_regions else "control", "control", each)
        for each in data.regions
    ]
    for name, _, sample in samples:
        yield _parts_line(name, sample, settings)
    if "control" not in data.samples:
        yield "no control-region file: no K-S, no figures of the control region"
    yield f"share of each class in the loss (loss_weights: {settings.loss_weights}):"
    warning = None
    for name, kind, sample in samples:
        trained = sample.positions(Part.TRAIN)
        if not len(trained):
            continue
        shares = class_shares(sample.loss_weight[trained], sample.jets.label[trained])
        yield _table(shares, kind, name)
        warning = unfair_share(shares) if kind == "main" else warning
    if warning:
        yield f"warning: {warning}"
    for name, kind, sample in samples:
        yield from _missing_classes(name, kind, sample)


def _missing_classes(name: str, kind: str, sample: TrainingSample) -> Iterator[str]:
    for part, verb in ((Part.VALIDATION, "validate"), (Part.TEST, "test")):
        there = np.unique(sample.jets.label[sample.part == part])
        missing = [title for label, title in _CLASS_NAMES[kind].items() if label not in there]
        if missing:
            yield f"warning: {name} has no {' and no '.join(missing)} jets to {verb}: figures that need them are NaN"


def _parts_line(name: str, sample: TrainingSample, settings: TrainSettings) -> str:
    counts = [len(sample.positions(part)) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)]
    told_apart = f"split by {sample.identity}" if settings.split == "event" else "split by row"
    used = f"using {100 * settings.sample_fraction:g} % of the jets (sample_fraction)"
    fraction = f", {used}" if settings.sample_fraction < 1 else ""
    left_out = f", without fold {settings.fold} of {settings.folds}" if settings.folds is not None else ""
    return (
        f"{name}: {sample.file}: {counts[0]} jets to train on, {counts[1]} to validate, {counts[2]} to test; "
        f"{told_apart}{fraction}{left_out}"
    )


def _table(shares: list[ClassShare], kind: str, sample: str) -> str:
    width = max(16, len(sample) + 8)
    rows = [f"  {sample + ' class':<{width}}{'jets':>10}{'sum of weights':>16}{'effective':>12}{'share of loss':>15}"]
    for row in shares:
        name = _CLASS_NAMES[kind][row.label]
        numbers = f"{row.jets:>10}{row.sum_of_weights:>16.4g}{row.effective_number:>12.1f}{100 * row.share:>13.3g} %"
        rows.append(f"  {name:<{width}}{numbers}")
    return "\n".join(rows)


def class_shares(weights: WeightArray, labels: LabelArray) -> list[ClassShare]:
    """A row for each class that is there: jets, sum of weights, (sum w)^2 / sum w^2, share of the summed weights."""
    total = weights.sum()
    rows = []
    for label in Label:
        mine = weights[labels == label]
        if len(mine):
            rows.append(
                ClassShare(label, len(mine), float(mine.sum()), effective_number(mine), float(mine.sum() / total))
            )
    return rows


def unfair_share(shares: list[ClassShare]) -> str | None:
    """A sentence where one class counts over a hundred times as much as another; None where all is well."""
    if len(shares) < 2:
        return None
    largest, smallest = max(shares, key=lambda row: row.share), min(shares, key=lambda row: row.share)
    if smallest.share > 0 and largest.share / smallest.share <= _MAX_FAIR_RATIO:
        return None
    return (
        f"{largest.label.name} counts {largest.share / max(smallest.share, 1e-300):.3g} times as much in the loss as "
        f"{smallest.label.name}: the network will hardly learn {smallest.label.name}. "
        "loss_weights: balanced gives every class the same share"
    )

"""The cutflow of each sample of a build: what convert left of it, then what the build took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.building.weighing import Weighing
from cal_ratio_trainer.jets.metadata import Normalisation
from cal_ratio_trainer.ntuple.summary import sample_name, summed_cutflow

UNSAID = "frames that do not say what they hold"


@dataclass(frozen=True)
class SampleStep:
    """What is left of a sample after one step.

    Attributes:
        jets: how many.
        events: how many; None where that is not known.
        sum_of_weights: of these events' mcEventWeight; None for data, and where it is not known.
        expected: the same with cross section and luminosity; None where it was not weighed by them.
    """

    step: str
    jets: int
    events: int | None
    sum_of_weights: float | None
    expected: float | None


def cutflows(files: Sequence[ScannedFile], weighing: Weighing) -> dict[str, list[SampleStep]]:
    """The cutflow of each sample, by its name; a file that is given twice counts once up to the build.

    Args:
        files: with the weights that they came with.
        weighing: what became of these.
    """
    by_sample: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        by_sample.setdefault(_name(file, weighing.sample_of.get(place), weighing), []).append(place)
    return {name: _steps(files, places, weighing) for name, places in sorted(by_sample.items())}


def as_details(found: dict[str, list[SampleStep]]) -> dict[str, Any]:
    """For the metadata of the file."""
    return {name: [asdict(step) for step in steps] for name, steps in found.items()}


def _name(file: ScannedFile, number: int | None, weighing: Weighing) -> str:
    """The name of a file's sample; `number` is that among the samples that were weighed, where it was."""
    if file.data_type is not None and number is not None:
        # A file without events does not know it itself.
        return sample_name(file.data_type, [weighing.samples[number].channel])
    normalisation = file.metadata.normalisation or Normalisation()
    if file.data_type is None:
        return UNSAID
    channel = file.source.request.channel
    return sample_name(file.data_type, normalisation.channel_numbers or ([] if channel is None else [channel]))


def _steps(files: Sequence[ScannedFile], places: Sequence[int], weighing: Weighing) -> list[SampleStep]:
    once = {files[place].source.path.resolve(): place for place in reversed(places)}
    first = sorted(once.values())
    factor = _factor(places, weighing)
    steps = [
        SampleStep(each.step, each.jets, each.events, each.sum_of_weights, _times(each.sum_of_weights, factor))
        for each in summed_cutflow([files[place].metadata.cutflow for place in first])
    ]
    steps.append(SampleStep("given to build", sum(files[place].rows for place in first), None, None, None))
    if any(files[place].source.request.event_filter for place in places):
        steps.append(SampleStep("event_filter", sum(files[place].passed for place in places), None, None, None))
    return [*steps, _taken([files[place] for place in places], factor)]


def _taken(files: Sequence[ScannedFile], factor: float | None) -> SampleStep:
    counts = [_events(file) for file in files if len(file.taken)]
    events = sum(count for count, _ in counts) if all(count >= 0 for count, _ in counts) else None
    weights = [weight for _, weight in counts if weight is not None]
    total = float(sum(weights)) if events is not None and len(weights) == len(counts) and counts else None
    return SampleStep("taken", sum(len(file.taken) for file in files), events, total, _times(total, factor))


def _events(file: ScannedFile) -> tuple[int, float | None]:
    """Number of events of the taken jets and the sum of their weights (None for data); -1 where that is not known."""
    names = file.columns.column_names
    if file.metadata.stage != "converted" or "source_entry" not in names:
        return -1, None
    # Jets of an event follow each other in a converted file.
    is_first = np.diff(file.columns.column("source_entry").to_numpy(), prepend=-1) != 0
    is_weighted = file.data_type is not None and file.data_type.is_simulation and "mcEventWeight" in names
    weight = float(file.columns.column("mcEventWeight").to_numpy()[is_first].sum()) if is_weighted else None
    return int(is_first.sum()), weight


def _factor(places: Sequence[int], weighing: Weighing) -> float | None:
    numbers = {weighing.sample_of.get(place) for place in places}
    if len(numbers) != 1:
        return None
    (number,) = numbers
    return None if number is None else weighing.samples[number].factor


def _times(total: float | None, factor: float | None) -> float | None:
    return None if total is None or factor is None else total * factor

"""Results of a build or resampling, for a person and for the file's metadata: cutflows, counts, sums of weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.normalisation import WEIGHT
from cal_ratio_trainer.building.scan import Kind, ScannedFile, label_name
from cal_ratio_trainer.building.weighing import Weighing
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.evaluation.scored import effective_number
from cal_ratio_trainer.jets.metadata import Normalisation
from cal_ratio_trainer.ntuple.summary import sample_name, summed_cutflow
from cal_ratio_trainer.results import Result

UNSAID = "frames that do not say what they hold"


@dataclass(frozen=True)
class SampleStep:
    """Events and jets of a sample after one step.

    Attributes:
        jets: number of jets.
        events: number of events; None if unknown.
        sum_of_weights: sum of these events' mcEventWeight; None for data, and where it is not known.
        expected: sum of weights with cross section and luminosity; None if it was not weighed by them.
    """

    step: str
    jets: int
    events: int | None
    sum_of_weights: float | None
    expected: float | None


def cutflows(files: Sequence[ScannedFile], weighing: Weighing) -> dict[str, list[SampleStep]]:
    """The cutflow of each sample, by its name; a file that is given twice counts once up to the build.

    Args:
        files: files with the weights that they came with.
        weighing: effect on the weights.
    """
    by_sample: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        by_sample.setdefault(_name(file, weighing.sample_of.get(place), weighing), []).append(place)
    return {name: _steps(files, places, weighing) for name, places in sorted(by_sample.items())}


def _name(file: ScannedFile, number: int | None, weighing: Weighing) -> str:
    """The name of a file's sample; `number` is that among the samples that were weighed, if it was."""
    if file.data_type is not None and number is not None:
        # A file without events does not hold the channel number.
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
    """Number of events of the taken jets and the sum of their weights (None for data); -1 if that is not known."""
    names = file.columns.column_names
    if file.metadata.stage != "converted" or "source_entry" not in names:
        return -1, None
    # Jets of an event follow each other in a converted file.
    is_first = np.diff(file.columns.column("source_entry").to_numpy(), prepend=-1) != 0
    is_weighted = file.data_type is not None and file.data_type.is_simulation and WEIGHT in names
    weight = float(file.columns.column(WEIGHT).to_numpy()[is_first].sum()) if is_weighted else None
    return int(is_first.sum()), weight


def _factor(places: Sequence[int], weighing: Weighing) -> float | None:
    numbers = {weighing.sample_of.get(place) for place in places}
    if len(numbers) != 1:
        return None
    (number,) = numbers
    return None if number is None else weighing.samples[number].factor


def _times(total: float | None, factor: float | None) -> float | None:
    return None if total is None or factor is None else total * factor


@dataclass(frozen=True)
class JetGroup:
    """Number of jets of one label (and of one simulated sample, if it is known).

    Attributes:
        sum_of_weights: sum of mcEventWeight; None if some of it is not known.
        effective_number: (sum of weights)^2 / sum of squares; None as above.
        largest_share: the largest weight over the sum of the class (all jets of the label); None as above.
    """

    label: int
    name: str
    jets: int
    sum_of_weights: float | None
    mcChannelNumber: int | None = None
    effective_number: float | None = None
    largest_share: float | None = None


@dataclass(frozen=True)
class InputSummary:
    """Jets taken from one input file."""

    path: str
    data_type: str | None
    jets: int
    passed_filter: int
    taken: int


@dataclass(frozen=True, repr=False)
class BuildSummary(Result):
    """Result of `cr_trainer build`.

    Attributes:
        output_file: the training file.
        kind: main or control.
        jets: number of jets.
        classes, slices: counts and weights by label, and by label and simulated sample.
        inputs: jets taken from each input file.
        notes: notes for the user, one sentence each.
        weighing: normalisation of the jets; None without one.
        cutflows: cutflow of each sample.
        simulation: simulation of the jets if it is not the experiment's own, e.g. 'demo'.
        page: the HTML report; None if none was asked for.
    """

    output_file: Path
    kind: Kind
    jets: int
    classes: list[JetGroup]
    slices: list[JetGroup]
    inputs: list[InputSummary]
    notes: list[str] = field(default_factory=list)
    weighing: Weighing | None = None
    cutflows: dict[str, list[SampleStep]] = field(default_factory=dict)
    simulation: str | None = None
    page: Path | None = None

    def as_details(self) -> dict[str, Any]:
        """The tables, for the metadata of the file."""
        return {
            "classes": [asdict(group) for group in self.classes],
            "slices": [asdict(group) for group in self.slices],
            "inputs": [asdict(each) for each in self.inputs],
            "cutflow_by_sample": {name: [asdict(step) for step in steps] for name, steps in self.cutflows.items()},
            "weights": {"samples": [asdict(each) for each in self.weighing.samples]} if self.weighing else {},
        }

    def as_text(self) -> str:
        """The table that is printed."""
        head = f"{'jets':>12}{'sum of weights':>18}{'effective':>12}{'largest / sum':>16}"
        lines = [f"{'class':<16}{head}"]
        lines += [_line(group.name, group) for group in self.classes]
        named = [group for group in self.slices if group.mcChannelNumber is not None]
        if len(named) > 1:
            lines += ["", f"{'sample':<16}{head}   (sum of the class)"]
            lines += [_line(f"{group.name} {group.mcChannelNumber}", group) for group in named]
        if self.weighing is not None and self.weighing.notes:
            lines += ["", *self.weighing.notes]
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{self.jets} jets in {self.output_file}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per class."""
        return [asdict(group) for group in self.classes]


def _line(name: str, group: JetGroup) -> str:
    weights = "unknown" if group.sum_of_weights is None else f"{group.sum_of_weights:.6g}"
    effective = "unknown" if group.effective_number is None else f"{group.effective_number:.1f}"
    largest = "unknown" if group.largest_share is None else f"{group.largest_share:.3g}"
    return f"{name:<16}{group.jets:>12}{weights:>18}{effective:>12}{largest:>16}"


def classes_of(tables: Sequence[pa.Table], kind: Kind) -> list[JetGroup]:
    """Jets and sums of weights by label, of tables with the columns label and, if known, mcEventWeight."""
    labels = _joined(tables, "label", np.int64)
    weights = _joined(tables, WEIGHT, np.float64)
    groups = [(int(label), weights[labels == label]) for label in np.unique(labels)]
    return [_group(label, kind, None, own, own) for label, own in groups]


def slices_of(tables: Sequence[pa.Table], kind: Kind) -> list[JetGroup]:
    """Jets and sums of weights by label and simulated sample (mcChannelNumber; None if it is not known)."""
    labels, channels = _joined(tables, "label", np.int64), _joined(tables, "mcChannelNumber", np.float64)
    weights = _joined(tables, WEIGHT, np.float64)
    whole = np.where(np.isnan(channels), -1, channels).astype(np.int64)
    found = []
    for label in np.unique(labels).tolist():
        in_class = labels == label
        for channel in np.unique(whole[in_class]).tolist():
            own = weights[in_class & (whole == channel)]
            found.append(_group(label, kind, None if channel < 0 else channel, own, weights[in_class]))
    return found


def _group(label: int, kind: Kind, channel: int | None, weights: NDArray[Any], of_class: NDArray[Any]) -> JetGroup:
    """A group of jets with `weights` [jets of the group] in a class with `of_class` [jets of the class]."""
    name = label_name(label, kind)
    if np.isnan(of_class).any():
        total = None if np.isnan(weights).any() else float(weights.sum())
        return JetGroup(label, name, len(weights), total, channel)
    total, whole = float(weights.sum()), float(of_class.sum())
    largest = float(weights.max(initial=0)) / whole if whole else 0.0
    return JetGroup(label, name, len(weights), total, channel, effective_number(weights), largest)


def _joined(tables: Iterable[pa.Table], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    parts = [
        table.column(name).cast(pa.float64()).to_numpy().astype(dtype)
        if name in table.column_names
        else np.full(len(table), np.nan).astype(dtype)
        for table in tables
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)


def summarised(
    settings: BuildSettings,
    files: Sequence[ScannedFile],
    notes: list[str],
    weighing: Weighing,
    flow: dict[str, list[SampleStep]],
) -> BuildSummary:
    """The summary of a build whose files have their final weights."""
    tables = [file.columns for file in files]
    inputs = [
        InputSummary(
            path=file.source.given_as,
            data_type=str(file.data_type) if file.data_type else None,
            jets=file.rows,
            passed_filter=file.passed,
            taken=len(file.taken),
        )
        for file in files
    ]
    return BuildSummary(
        output_file=Path(settings.output_file),
        kind=settings.kind,
        jets=sum(len(file.taken) for file in files),
        classes=classes_of(tables, settings.kind),
        slices=slices_of(tables, settings.kind),
        inputs=inputs,
        notes=list(notes),
        weighing=weighing,
        cutflows=flow,
        simulation=simulation_of(files)[0],
    )


def simulation_of(files: Sequence[ScannedFile]) -> tuple[str | None, list[str]]:
    """Returns the simulation of the events, and a sentence if they come from several."""
    said = [file.metadata.simulation for file in files if len(file.taken)]
    named = sorted({name for name in said if name})
    if not named:
        return None, []
    notes = []
    if len(named) > 1 or None in said:
        others = " and files of the experiment" if None in said else ""
        notes.append(f"mixed: some jets come from the simulation '{', '.join(named)}'{others}")
    return next((name for name in named if name.startswith("demo")), named[0]), notes

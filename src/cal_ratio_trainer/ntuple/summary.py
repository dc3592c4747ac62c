"""Summary of a conversion: counts and state of each file, and the list of failed files beside the results."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.files.atomic import remove_remains, write_text
from cal_ratio_trainer.files.json_text import quoted, unquoted
from cal_ratio_trainer.files.leases import held_in_turn
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import CutflowStep, Normalisation
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.ntuple.reading import Doubles
from cal_ratio_trainer.results import Result

NO_CLUSTERS = "jets_without_clusters"
FAR_HLT_MATCHES = "hlt_matches_beyond_0.4"
OTHER_JET_INDEX = "events_where_nn_jet_index_differs"
UNKNOWN_JETS = "jet_indices_of_no_jet"
NON_FINITE = "constituents_with_non_finite_values"
NON_FINITE_JETS = "jets_with_non_finite_values"
NON_FINITE_WEIGHTS = "events_with_non_finite_weights"
WEIGHT_IN_DATA = "events_with_generator_weights"

_SENTENCES = {
    NO_CLUSTERS: "{n} jets were left out because they have no clusters.",
    FAR_HLT_MATCHES: "{n} jets are further than 0.4 from the trigger jet that tags them as BIB: most likely ordinary "
    "jets with a wrong label (max_hlt_delta_r drops them).",
    OTHER_JET_INDEX: "In {n} events nn_jet_index differs from the position among the jets; nn_jet_index was used.",
    UNKNOWN_JETS: "{n} jet indices of clusters, tracks or segments are of a jet that their event does not have; they "
    "are ignored.",
    NON_FINITE: "{n} clusters, tracks or segments hold NaN or infinite values; they are stored as they are.",
    NON_FINITE_JETS: "{n} jets have a pt, eta or phi that is NaN or infinite; without pt or eta they pass no cut.",
    NON_FINITE_WEIGHTS: "{n} events have a NaN or infinite mcEventWeight; it is stored unchanged, so sums are invalid.",
    WEIGHT_IN_DATA: "{n} events carry generator weights, so this is simulation although the data type is one of data.",
}

_MAX_NAMED = 5

FAILED_FILES = "failed_files.txt"

_HEAD = (
    "# Files that were not converted. Their jets and sums of weights are not in this folder. The reason is above each."
)


@dataclass
class Tally:
    """Adds up, chunk by chunk.

    Attributes:
        weighted: true if the events have generator weights, which are summed.
        counts: number of occurrences of each unusual value.
    """

    weighted: bool
    counts: Counter[str] = field(default_factory=Counter)
    _steps: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    _events: int = 0
    _sums: tuple[float, float] = (0.0, 0.0)
    _runs: set[int] = field(default_factory=set)
    _channels: set[int] = field(default_factory=set)

    @property
    def events(self) -> int:
        """Number of events read."""
        return self._events

    def add(self, other: "Tally") -> None:
        """Adds the counts of a later tally."""
        self.counts.update(other.counts)
        self._events += other._events
        self._sums = (self._sums[0] + other._sums[0], self._sums[1] + other._sums[1])
        self._runs |= other._runs
        self._channels |= other._channels
        for step, (events, jets, weight) in other._steps.items():
            before = self._steps.get(step, (0, 0, 0.0))
            self._steps[step] = (before[0] + events, before[1] + jets, before[2] + weight)

    def add_events(self, weights: Doubles, runs: NDArray[Any], channels: NDArray[Any] | None) -> None:
        """Counts the events of a chunk: their weights, run numbers and simulation samples, [events] each."""
        self._events += len(runs)
        self._sums = (self._sums[0] + float(weights.sum()), self._sums[1] + float((weights**2).sum()))
        self._runs.update(np.unique(runs).tolist())
        if channels is not None:
            self._channels.update(np.unique(channels).tolist())

    def add_step(self, step: str, jets: int, events: IndexArray, weights: Doubles) -> None:
        """Counts the remaining events and jets after a step of the selection.

        Args:
            step: name of the step, the same in every chunk.
            jets: number of remaining jets.
            events: the events in the chunk that are left, in any order, each as often as it likes.
            weights: weights of all events of the chunk.
        """
        left = np.zeros(len(weights), dtype=bool)
        left[events] = True
        before = self._steps.get(step, (0, 0, 0.0))
        self._steps[step] = (before[0] + int(left.sum()), before[1] + jets, before[2] + float(weights[left].sum()))

    def cutflow(self) -> list[CutflowStep]:
        """The steps in their order."""
        return [
            CutflowStep(step=step, events=events, jets=jets, sum_of_weights=weight if self.weighted else None)
            for step, (events, jets, weight) in self._steps.items()
        ]

    def normalisation(self, event_count: dict[str, float]) -> Normalisation:
        """Sums for a later normalisation, with the bins of the file itself."""
        return Normalisation(
            event_count=event_count,
            events_read=self._events,
            sum_of_weights_read=self._sums[0] if self.weighted else None,
            sum_of_weights_squared_read=self._sums[1] if self.weighted else None,
            run_numbers=sorted(self._runs),
            channel_numbers=sorted(self._channels),
        )

    def notes(self) -> list[str]:
        """Sentences on the unusual values that were found, one for each kind."""
        return sentences(self.counts)


def sentences(counts: Mapping[str, int]) -> list[str]:
    """Sentences on unusual values, one for each kind, from the number of occurrences by name."""
    return [sentence.format(n=counts[name]) for name, sentence in _SENTENCES.items() if counts.get(name)]


class Status(StrEnum):
    """Result of one file."""

    CONVERTED = "converted"
    NO_JETS = "no jets"
    EMPTY = "empty"
    ALREADY_DONE = "already done"
    ELSEWHERE = "in progress elsewhere"
    FAILED = "failed"


@dataclass(frozen=True)
class ConversionRow:
    """One file.

    Attributes:
        file: the input.
        output: the file of jets that belongs to it; None if it was never found out.
        status: result for the file.
        reason: why it failed or was passed over, a sentence.
        events: number of events read.
        jets: number of jets in the output.
        seconds: duration. [s]
        data_type: data type of its jets.
        sample: data type with the numbers of the simulated samples in it, e.g. 'qcd 364702'.
        cutflow: events and jets after each step, of files converted in this call.
        unusual_values: number of unusual values, by name in `tally`.
        unverified: events in the file carry no checksums.
    """

    file: str
    output: Path | None
    status: Status
    reason: str = ""
    events: int = 0
    jets: int = 0
    seconds: float = 0.0
    data_type: DataType | None = None
    sample: str = ""
    cutflow: tuple[CutflowStep, ...] = ()
    unusual_values: tuple[tuple[str, int], ...] = ()
    unverified: bool = False

    @property
    def is_converted(self) -> bool:
        """True if the jets of the file are in its output, by this call or an earlier one."""
        return self.status in (Status.CONVERTED, Status.ALREADY_DONE)


@dataclass(frozen=True, repr=False)
class ConversionSummary(Result):
    """All files of one call, in the order of the list."""

    rows: tuple[ConversionRow, ...]

    @property
    def failed(self) -> tuple[ConversionRow, ...]:
        """The files that were not converted although they should have been."""
        return tuple(row for row in self.rows if row.status is Status.FAILED)

    @property
    def in_progress(self) -> tuple[ConversionRow, ...]:
        """The files that another process converts at the moment."""
        return tuple(row for row in self.rows if row.status is Status.ELSEWHERE)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files of jets that are complete now, outputs of other processes included."""
        return tuple(
            row.output
            for row in self.rows
            if row.output is not None and row.status not in (Status.FAILED, Status.ELSEWHERE)
        )

    @property
    def output_folder(self) -> Path | None:
        """The folder that all outputs lie in or below; None if there are none."""
        folders = [output.parent.absolute() for output in self.outputs]
        return Path(os.path.commonpath(folders)) if folders else None

    def notes(self) -> list[str]:
        """Unusual content of the files converted in this call, summed over them, one sentence each."""
        total: Counter[str] = Counter()
        for row in self.rows:
            total.update(dict(row.unusual_values))
        notes = sentences(total)
        if unverified := [row.file for row in self.rows if row.unverified]:
            others = f" and {len(unverified) - _MAX_NAMED} more" if len(unverified) > _MAX_NAMED else ""
            notes.append(
                "Damage to these files may go unnoticed, because their events have no checksums (RNTuples that ROOT "
                f"did not write, TTrees packed with ZSTD or not at all): {', '.join(unverified[:_MAX_NAMED])}{others}."
            )
        return notes

    def cutflows(self) -> dict[DataType, list[CutflowStep]]:
        """The cutflow of each data type, summed over the files that were converted in this call."""
        by_type: dict[DataType, list[ConversionRow]] = {}
        for row in self._counted():
            if row.data_type is not None:
                by_type.setdefault(row.data_type, []).append(row)
        return {data_type: summed_cutflow(row.cutflow for row in rows) for data_type, rows in by_type.items()}

    def cutflows_by_sample(self) -> dict[DataType, dict[str, list[CutflowStep]]]:
        """The cutflow of each sample of each data type that has several, summed as in `cutflows`."""
        by_type: dict[DataType, dict[str, list[ConversionRow]]] = {}
        for row in self._counted():
            if row.data_type is not None:
                by_type.setdefault(row.data_type, {}).setdefault(row.sample, []).append(row)
        return {
            data_type: {name: summed_cutflow(row.cutflow for row in rows) for name, rows in sorted(samples.items())}
            for data_type, samples in by_type.items()
            if len(samples) > 1
        }

    def _counted(self) -> list[ConversionRow]:
        return [row for row in self.rows if row.cutflow]

    @property
    def headline(self) -> str:
        """See `Result`."""
        counts = Counter(row.status.value for row in self.rows)
        outcomes = ", ".join(f"{count} {status}" for status, count in counts.items())
        folder = self.output_folder
        written = f" The jets are in {folder}." if folder is not None else ""
        return f"{len(self.rows)} file{'s' if len(self.rows) != 1 else ''}: {outcomes}.{written}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per file."""
        names = ("file", "status", "reason", "events", "jets", "seconds", "data_type", "sample", "output")
        return [{name: getattr(row, name) for name in names} for row in self.rows]


def sample_name(data_type: DataType, channels: Iterable[int]) -> str:
    """Name of a sample in tables.

    >>> sample_name(DataType.QCD, [364702])
    'qcd 364702'
    """
    return " ".join([data_type.value, *(f"{channel:d}" for channel in channels)])


def summed_cutflow(cutflows: Iterable[Sequence[CutflowStep]]) -> list[CutflowStep]:
    """Cutflows added up step by step, by the names of the steps."""
    total: dict[str, CutflowStep] = {}
    for step in (step for cutflow in cutflows for step in cutflow):
        before = total.get(step.step)
        weights = [each.sum_of_weights for each in (before, step) if each and each.sum_of_weights is not None]
        total[step.step] = CutflowStep(
            step=step.step,
            events=step.events + (before.events if before else 0),
            jets=step.jets + (before.jets if before else 0),
            sum_of_weights=sum(weights) if weights else None,
        )
    return list(total.values())


def record_failures(rows: Iterable[ConversionRow]) -> None:
    """Updates the lists of failed files, one in each output folder.

    A file is on the list of its folder while it has failed and there is no output of it; an empty list is removed.
    Several processes may do this at once.

    Raises:
        OSError: a list cannot be written.
    """
    by_folder: dict[Path, list[ConversionRow]] = {}
    for row in rows:
        if row.output is not None:
            by_folder.setdefault(row.output.parent, []).append(row)
    for folder, own in by_folder.items():
        if (folder / FAILED_FILES).exists() or any(_is_missing(row) for row in own):
            _update(folder / FAILED_FILES, own)


def failed_in(folder: Path) -> dict[str, str]:
    """The files whose results are missing in a folder, and why: file -> reason."""
    try:
        lines = (folder / FAILED_FILES).read_text("utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return {}
    pairs = [(before, line) for before, line in pairwise(["", *lines]) if line.strip() and not line.startswith("#")]
    return {unquoted(line): before.removeprefix("# ") for before, line in pairs}


def _is_missing(row: ConversionRow) -> bool:
    # No Path.exists: that raises for a name that is too long.
    is_there = row.output is None or os.path.exists(row.output)  # noqa: PTH110
    return row.status is Status.FAILED and not is_there


def _update(list_file: Path, rows: Iterable[ConversionRow]) -> None:
    with held_in_turn(list_file):
        remove_remains(list_file)
        known = failed_in(list_file.parent)
        for row in rows:
            known.pop(row.file, None)
            if _is_missing(row):
                known[row.file] = harmless(" ".join(row.reason.split()))
        _write(list_file, known)


def _write(list_file: Path, failed: Mapping[str, str]) -> None:
    if not failed:
        list_file.unlink(missing_ok=True)
        return
    lines = [_HEAD, *(line for file, reason in failed.items() for line in (f"# {reason}", quoted(file)))]
    write_text(list_file, "\n".join(lines) + "\n")

"""Events of a run with their part: a small file of 64-bit words with which other files can be compared.

The words are those of the split, so the same event has the same word in an ntuple, in the file converted from it and in
the training file, whatever its place there.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample
from cal_ratio_trainer.datasets.splits import EVENT_COLUMNS, Part, UIntArray, event_words
from cal_ratio_trainer.datasets.weights import BoolArray
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import replacing
from cal_ratio_trainer.files.parquet import open_parquet, read_columns, write_parquet
from cal_ratio_trainer.jets import JetScalars
from cal_ratio_trainer.jets.table import scrambled

EVENTS_FILE = "events.parquet"
_KEY = b"cal_ratio_trainer_events"
_VERSION = 2
"""Version 1 has no marks."""
_NO_MARKS = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class EventGroup:
    """Events of one training file that were identified by the same columns.

    Attributes:
        sample: 'main', 'control' or 'judged'.
        columns: those of mcChannelNumber, runNumber and eventNumber that were known; none where each jet counts as an
            event of its own, told apart by its pt, eta and phi.
        words: [events] uint64, rising, each once.
        part: [events] int8, see `Part`.
        marks: [events] uint64, the bits of `jet_marks` of all its jets; all bits where the jets are not known.
        runs: the run numbers that occur, where they are known.
    """

    sample: str
    columns: tuple[str, ...]
    words: UIntArray
    part: NDArray[np.int8]
    marks: UIntArray
    runs: tuple[int, ...]

    def places(self, words: UIntArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Position of the event of each word [n], and whether there is one [n]; the position is of use only then."""
        place = np.searchsorted(self.words, words)
        there = place < len(self.words)
        there[there] = self.words[place[there]] == words[there]
        return place, there


def write_used_events(folder: Path, data: TrainingData, by_row: bool, earlier: Sequence[EventGroup] = ()) -> None:
    """Writes the events of a run before its start; events of an earlier start stay in the file.

    Args:
        folder: of the run.
        data: data of the training.
        by_row: its split takes every jet for itself.
        earlier: events of the training whose weights this one starts from; those it was trained on count as such here.
    """
    file = folder / EVENTS_FILE
    groups = list(read_used_events(folder) or ())
    for group in earlier:
        trained = group.part == Part.TRAIN
        groups.append(replace(group, words=group.words[trained], part=group.part[trained], marks=group.marks[trained]))
    for sample, jets in _samples(data):
        groups += _groups_of(sample, jets, by_row)
    _write(file, _merged(groups))


def read_used_events(folder: Path) -> tuple[EventGroup, ...] | None:
    """The events of a run; None of a run that did not write them.

    Raises:
        InputFileError: the file is damaged.
    """
    file = folder / EVENTS_FILE
    if not file.is_file():
        return None
    try:
        opened = open_parquet(file)
        told = json.loads((opened.metadata.metadata or {})[_KEY])["groups"]
        columns = ["word", "part", "marks"] if "marks" in opened.schema_arrow.names else ["word", "part"]
        return tuple(_cut(read_columns(file, opened, columns), told))
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputFileError(file, f"is no complete list of a run's events ({error})") from error


def trained_before(data: TrainingData, by_row: bool, earlier: Sequence[EventGroup]) -> int | None:
    """Number of events of the validation and test part that an earlier training was trained on.

    Args:
        data: data of this training.
        by_row: its split takes every jet for itself.
        earlier: events of the earlier training.

    Returns:
        The number; None where the events of the two trainings are told apart by different columns.
    """
    trained = [(group.columns, group.words[group.part == Part.TRAIN]) for group in earlier]
    found = [np.zeros(0, dtype=np.uint64)]
    for sample, jets in _samples(data):
        known = {group.columns for group in earlier if group.sample == sample}
        for group in _groups_of(sample, jets, by_row):
            if known and group.columns not in known:
                return None
            judged = group.words[np.isin(group.part, (Part.VALIDATION, Part.TEST))]
            # An event may be in both files.
            found += [np.intersect1d(judged, words) for columns, words in trained if columns == group.columns]
    return len(np.unique(np.concatenate(found)))


def _samples(data: TrainingData) -> list[tuple[str, TrainingSample]]:
    judged = [] if data.judged is None else [("judged", data.judged)]
    return [("main", data.main), ("control", data.control), *judged]


def known_columns(jets: JetScalars) -> dict[tuple[str, ...], BoolArray]:
    """Columns that identify the event of each jet: combination of columns -> [jets] true where exactly these are known.

    Without an event number the other columns identify nothing, so such jets are under the empty combination.
    """
    known = {name: _is_known(name, jets) for name in EVENT_COLUMNS}
    event = known["eventNumber"]
    result: dict[tuple[str, ...], BoolArray] = {(): ~event}
    for channel in (True, False):
        for run in (True, False):
            has = event & (known["mcChannelNumber"] == channel) & (known["runNumber"] == run)
            flags = (channel, run, True)
            result[tuple(name for name, flag in zip(EVENT_COLUMNS, flags, strict=True) if flag)] = has
    return {columns: jets_there for columns, jets_there in result.items() if jets_there.any()}


def words_by(columns: Sequence[str], jets: JetScalars) -> UIntArray:
    """The words of jets, [jets], when only the given columns tell events apart (none: every jet for itself)."""
    return event_words(jets.without_columns([name for name in EVENT_COLUMNS if name not in columns]))[0]


def jet_marks(jets: JetScalars) -> UIntArray:
    """Up to four of 64 bits for each jet, [jets], by its eta; one in some 20,000 other jets has these too."""
    words = scrambled(np.ascontiguousarray(jets["jet_eta"], dtype=np.float32).view(np.uint32).astype(np.uint64))
    bits = (np.uint64(1) << (words >> np.uint64(shift) & np.uint64(63)) for shift in (0, 6, 12, 18))
    marks: UIntArray = np.bitwise_or.reduce(list(bits))
    return marks


def _is_known(name: str, jets: JetScalars) -> BoolArray:
    if name not in jets or not pa.types.is_integer(jets.scalars.column(name).type):
        return np.zeros(len(jets), dtype=bool)
    return np.asarray(jets.scalars.column(name).is_valid())


def _groups_of(sample: str, used: TrainingSample, by_row: bool) -> Iterator[EventGroup]:
    marks = jet_marks(used.jets)
    if by_row:
        yield _group(sample, (), words_by((), used.jets), used.part, marks, ())
        return
    words = event_words(used.jets)[0]
    for columns, here in known_columns(used.jets).items():
        runs: tuple[int, ...] = ()
        if "runNumber" in columns:
            runs = tuple(np.unique(used.jets["runNumber"][here]).astype(np.int64).tolist())
        yield _group(sample, columns, words[here], used.part[here], marks[here], runs)


def _group(
    sample: str,
    columns: tuple[str, ...],
    words: UIntArray,
    part: NDArray[np.int8],
    marks: UIntArray,
    runs: tuple[int, ...],
) -> EventGroup:
    # Of equal words the one of the lowest part stays: an event that was trained on once counts as trained on.
    order = np.lexsort((part, words))
    first = np.ones(len(order), dtype=bool)
    first[1:] = words[order][1:] != words[order][:-1]
    kept = order[first]
    together = np.bitwise_or.reduceat(marks[order], np.flatnonzero(first)) if len(order) else marks
    return EventGroup(sample, columns, words[kept], part[kept].astype(np.int8), together, runs)


def _merged(groups: Sequence[EventGroup]) -> list[EventGroup]:
    """One group for each sample and combination of columns."""
    merged = []
    for sample, columns in dict.fromkeys((group.sample, group.columns) for group in groups):
        same = [group for group in groups if (group.sample, group.columns) == (sample, columns)]
        words, part, marks = (
            np.concatenate([getattr(group, name) for group in same]) for name in ("words", "part", "marks")
        )
        runs = tuple(sorted({run for group in same for run in group.runs}))
        merged.append(_group(sample, columns, words, part, marks, runs))
    return merged


def _write(file: Path, groups: Sequence[EventGroup]) -> None:
    table = pa.table(
        {
            "word": np.concatenate([group.words for group in groups]),
            "part": np.concatenate([group.part for group in groups]),
            "marks": np.concatenate([group.marks for group in groups]),
        }
    )
    told = [
        {"sample": group.sample, "columns": group.columns, "runs": group.runs, "events": len(group.words)}
        for group in groups
    ]
    metadata = {_KEY: json.dumps({"version": _VERSION, "groups": told}).encode()}
    with replacing(file) as temporary:
        # Hashes do not compress, and no dictionary helps.
        write_parquet(temporary, table, metadata, use_dictionary=False)


def _cut(table: pa.Table, told: Sequence[dict[str, Any]]) -> Iterator[EventGroup]:
    """The groups of a file, which stand one after the other."""
    words, part = table.column("word").to_numpy(), table.column("part").to_numpy()
    has_marks = "marks" in table.column_names
    marks = table.column("marks").to_numpy() if has_marks else np.full(len(words), _NO_MARKS)
    if sum(group["events"] for group in told) != len(words):
        raise ValueError(f"it holds {len(words)} words, and its metadata give another number")
    start = 0
    for group in told:
        end = start + group["events"]
        columns, runs = tuple(group["columns"]), tuple(group["runs"])
        yield EventGroup(group["sample"], columns, words[start:end], part[start:end], marks[start:end], runs)
        start = end

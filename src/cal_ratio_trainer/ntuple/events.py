"""Branches that a data type needs; the events of a chunk, without constituents; conditions of the user on them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.expressions import Condition, parse_condition
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import CALRATIO_2019, SCALAR_TYPES, Schema
from cal_ratio_trainer.ntuple import summary as counted
from cal_ratio_trainer.ntuple.reading import (
    Column,
    Doubles,
    Lists,
    Ntuple,
    as_doubles,
    check_index,
    lists_of,
    same_lengths,
)
from cal_ratio_trainer.ntuple.request import Cut, JetSelection, branch_of
from cal_ratio_trainer.ntuple.summary import Tally

JET_CLEAN = "jet_isClean_LooseBadLLP"
JET_INDEX = "nn_jet_index"
RUN, EVENT, CHANNEL, WEIGHT = "runNumber", "eventNumber", "mcChannelNumber", "mcEventWeight"
LLP_PT, LLP_ETA, LLP_PHI, LLP_LXY, LLP_LZ = LLPS = ("llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")
HLT_PT, HLT_ETA, HLT_PHI, HLT_BIB = HLT_JETS = ("HLT_jet_pT", "HLT_jet_eta", "HLT_jet_phi", "HLT_jet_isBIB")

_ROWS = ""
"""Stands for no column: a condition without any (1 < 2) learns from it how many rows there are."""

_POSITION = re.compile(r"\[(\d+)\]$")


def event_branches(data_type: DataType, schema: Schema = CALRATIO_2019) -> tuple[str, ...]:
    """The branches of events, jets, trigger jets and truth that jets of this type and schema cannot do without."""
    names: tuple[str, ...] = (*schema.jet_branches, JET_CLEAN, RUN, EVENT)
    if data_type.is_simulation:
        names += (WEIGHT,)
    if data_type is DataType.SIGNAL:
        names += LLPS
    if data_type is DataType.BIB:
        names += HLT_JETS
    return names


def required_branches(data_type: DataType, schema: Schema = CALRATIO_2019) -> tuple[str, ...]:
    """All branches that this type and schema need, constituents included."""
    constituents = (name for kind in schema.constituents for name in (kind.index_branch, *kind.branches))
    return (*event_branches(data_type, schema), *constituents)


def check_branches(file: str, selection: JetSelection, present: Collection[str]) -> None:
    """Checks that a tree has all needed branches, before any are read.

    uproot raises for a missing branch of a TTree but leaves out a missing field of an RNTuple without a word.

    Args:
        file: name of the file, for messages.
        selection: selection of jets.
        present: the branches that are there.

    Raises:
        InputFileError: QCD without generator weights, which is most likely data.
        MissingColumn: names all that is missing.
    """
    data_type = selection.data_type
    needed = (*required_branches(data_type, selection.schema), *selection.further_branches())
    missing = [name for name in needed if name not in present]
    if missing == [WEIGHT]:
        raise InputFileError(
            file,
            f"has no {WEIGHT}, so it is not simulation and cannot be converted as data_type {data_type}; "
            f"for control-region data take data_type {DataType.DATA}, for beam-induced background {DataType.BIB}",
        )
    if missing:
        raise MissingColumn(file, missing, present)


@dataclass(frozen=True)
class EventChunk:
    """The events of a chunk as read, without constituents.

    Attributes:
        file: name of the file, for messages.
        entries: numbers of the entries in the tree.
        columns: the branches of events and jets.
        jets: jet pt, eta, phi and cleaning flag, one list per event each.
        event: [all jets] the event in the chunk.
        index: [all jets] what constituents call the jet by.
        weights: [events] generator weights; ones for data.
    """

    file: str
    entries: range
    columns: dict[str, Column]
    jets: list[Lists]
    event: IndexArray
    index: IndexArray
    weights: Doubles

    @cached_property
    def by_pt(self) -> IndexArray:
        """Positions of all jets, event by event, in each event the highest pt first (equal ones as in the file)."""
        order: IndexArray = np.lexsort((-self.jets[0].values, self.event))
        return order


def read_events(ntuple: Ntuple, entries: range, selection: JetSelection, tally: Tally) -> EventChunk:
    """Reads some entries and counts them.

    Raises:
        InputFileError: the file is damaged, or branches do not fit each other.
    """
    data_type = selection.data_type
    optional = [name for name in (JET_INDEX, CHANNEL, WEIGHT) if name in ntuple.branches]
    wanted = dict.fromkeys([*event_branches(data_type, selection.schema), *optional, *selection.further_branches()])
    columns = ntuple.read(list(wanted), entries)
    jets = same_lengths(ntuple.file, columns, (*selection.schema.jet_branches[:3], JET_CLEAN))
    weights = as_doubles(numbers_of(ntuple.file, columns, WEIGHT)) if data_type.is_simulation else None
    if weights is None and WEIGHT in columns:
        tally.counts[counted.WEIGHT_IN_DATA] += len(entries)
    chunk = EventChunk(
        file=ntuple.file,
        entries=entries,
        columns=columns,
        jets=jets,
        event=jets[0].events(),
        index=_jet_index(ntuple.file, entries, columns, selection.schema.jet_branches[0], tally),
        weights=np.ones(len(entries)) if weights is None else weights,
    )
    finite = np.logical_and.reduce([np.isfinite(each.values) for each in jets[:3]])
    tally.counts[counted.NON_FINITE_JETS] += int((~finite).sum())
    tally.counts[counted.NON_FINITE_WEIGHTS] += int((~np.isfinite(chunk.weights)).sum())
    channels = whole_numbers_of(ntuple.file, columns, CHANNEL) if CHANNEL in columns else None
    tally.add_events(chunk.weights, whole_numbers_of(ntuple.file, columns, RUN), channels)
    tally.add_step("read", len(chunk.event), np.arange(len(entries)), chunk.weights)
    return chunk


def numbers_of(file: str, columns: dict[str, Column], name: str) -> NDArray[Any]:
    """A branch that must hold one number per event, [events]. Raises InputFileError if it does not."""
    column = columns[name]
    if not isinstance(column, np.ndarray):
        raise InputFileError(file, f"branch {name} holds lists, where one number per event is expected")
    return column


def whole_numbers_of(file: str, columns: dict[str, Column], name: str) -> NDArray[Any]:
    """A branch that must hold one whole number per event, in the type that the jets have it in, [events].

    Raises:
        InputFileError: it holds lists, fractions, or numbers that are rounded or do not fit into that type.
    """
    values, kept_as = numbers_of(file, columns, name), SCALAR_TYPES[name].to_pandas_dtype()
    largest, reason = int(np.iinfo(kept_as).max), ""
    is_whole = np.ones(len(values), dtype=bool)
    if values.dtype.kind == "f":
        # Beyond this not every whole number has a floating-point number of its own.
        exact = 2 ** (np.finfo(values.dtype).nmant + 1) - 1
        largest, reason = min(largest, exact), f" (beyond {exact} {values.dtype} rounds)"
        is_whole = np.floor(values) == values
    wrong = np.flatnonzero(~(is_whole & (values >= 0) & (values <= largest)))
    if len(wrong):
        found = f"{values[wrong[0]]} as {values.dtype}"
        raise InputFileError(file, f"branch {name} holds {found}, expected whole numbers from 0 to {largest}{reason}")
    return values.astype(kept_as)


def _jet_index(file: str, entries: range, columns: dict[str, Column], pt_branch: str, tally: Tally) -> IndexArray:
    """Index that constituents have for each jet: its position in the event's list, unless nn_jet_index says otherwise.

    Raises:
        InputFileError: nn_jet_index gives a jet an index that no jet of its event can have, or two jets the same.
    """
    jet_pt = lists_of(file, columns, pt_branch)
    event = jet_pt.events()
    position = np.arange(len(jet_pt.values), dtype=np.int64) - jet_pt.offsets.take(event)
    if JET_INDEX not in columns:
        return position
    given = lists_of(file, columns, JET_INDEX)
    check_index(file, columns, JET_INDEX, pt_branch)
    index = given.values.astype(np.int64)
    differs = index != position
    if not differs.any():
        return position
    counts = jet_pt.counts.take(event)
    wrong = np.flatnonzero((index < -1) | (index >= counts))
    if len(wrong):
        jet = int(wrong[0])
        raise InputFileError(
            file,
            f"branch {JET_INDEX} holds {index[jet]} in entry {entries[event[jet]]}, expected an index below "
            f"{counts[jet]}, the number of its jets",
        )
    named = np.sort((jet_pt.offsets.take(event) + index)[index >= 0])
    if twice := named[1:][named[1:] == named[:-1]].tolist():
        entry = entries[event[twice[0]]]
        raise InputFileError(file, f"branch {JET_INDEX} gives two jets of entry {entry} the same index")
    tally.counts[counted.OTHER_JET_INDEX] += len(np.unique(event[differs]))
    return index


def events_that_pass(chunk: EventChunk, cut: Cut) -> NDArray[np.bool_]:
    """For each event of the chunk whether it fulfils a condition, [events].

    The condition may use branches of one number per event, and `name[0]`, `name[1]`, ... of lists: of branches with one
    number per jet, the numbers of the hardest jet, the second, ...; of others in the order of the file. An event that
    lacks the number has NaN there, so that comparisons with it fail.

    Raises:
        InputFileError: a branch cannot be used so.
        ExpressionError: the parts of the condition do not fit together.
    """
    columns = {name: _of_events(chunk, name) for name in _parsed(cut).columns}
    return _parsed(cut).holds({_ROWS: np.empty(len(chunk.entries)), **columns})


def jets_that_pass(chunk: EventChunk, cut: Cut) -> NDArray[np.bool_]:
    """For each jet of the chunk whether it fulfils a condition, [all jets].

    The condition may use branches of one number per jet (the jet's own), and all that one on events may use.

    Raises:
        InputFileError: a branch cannot be used so.
        ExpressionError: the parts of the condition do not fit together.
    """
    columns = {name: _of_jets(chunk, name) for name in _parsed(cut).columns}
    return _parsed(cut).holds({_ROWS: np.empty(len(chunk.event)), **columns})


@lru_cache(maxsize=64)
def _parsed(cut: Cut) -> Condition:
    return parse_condition(cut.condition, positions=True)


def _of_jets(chunk: EventChunk, name: str) -> NDArray[np.generic]:
    """A branch, or a number of a list, as one number per jet."""
    column = chunk.columns.get(name)
    if isinstance(column, Lists) and _is_of_jets(chunk, column):
        return column.values
    return _of_events(chunk, name)[chunk.event]


def _of_events(chunk: EventChunk, name: str) -> NDArray[np.generic]:
    """A branch, or a number of a list, as one number per event."""
    branch, position = branch_of(name), _POSITION.search(name)
    column = chunk.columns[branch]
    if position is None and isinstance(column, np.ndarray):
        return column
    if position is not None and isinstance(column, Lists):
        return _picked(chunk, column, int(position[1]))
    held = "one number per event" if isinstance(column, np.ndarray) else "lists"
    usable = branch if isinstance(column, np.ndarray) else f"{branch}[0], [0] being the first"
    raise InputFileError(chunk.file, f"branch {branch} of the selection holds {held}: it can be used as {usable}")


def _picked(chunk: EventChunk, lists: Lists, position: int) -> NDArray[np.float64]:
    result = np.full(len(chunk.entries), np.nan)
    long_enough = lists.counts > position
    where = lists.offsets[:-1][long_enough] + position
    result[long_enough] = lists.values[chunk.by_pt[where] if _is_of_jets(chunk, lists) else where]
    return result


def _is_of_jets(chunk: EventChunk, lists: Lists) -> bool:
    return np.array_equal(lists.offsets, chunk.jets[0].offsets)

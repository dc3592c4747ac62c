"""Conditions that a user puts on events and jets, in terms of the branches of the tree."""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.expressions import Condition, parse_condition
from cal_ratio_trainer.ntuple.events import EventChunk
from cal_ratio_trainer.ntuple.lists import Lists
from cal_ratio_trainer.ntuple.request import Cut, branch_of

_ROWS = ""
"""Stands for no column: a condition without any (1 < 2) learns from it how many rows there are."""

_POSITION = re.compile(r"\[(\d+)\]$")


def events_that_pass(chunk: EventChunk, cut: Cut) -> NDArray[np.bool_]:
    """For each event of the chunk whether it fulfils a condition, [events].

    The condition may use branches of one number an event, and `name[0]`, `name[1]`, ... of lists: of branches with one
    number a jet those of the hardest jet, the second, ...; of others in the order of the file. An event that lacks the
    number has NaN there, so that comparisons with it fail.

    Raises:
        InputFileError: a branch cannot be used so.
        ExpressionError: the parts of the condition do not fit together.
    """
    columns = {name: _of_events(chunk, name) for name in _parsed(cut).columns}
    return _parsed(cut).holds({_ROWS: np.empty(len(chunk.entries)), **columns})


def jets_that_pass(chunk: EventChunk, cut: Cut) -> NDArray[np.bool_]:
    """For each jet of the chunk whether it fulfils a condition, [all jets].

    The condition may use branches of one number a jet (the jet's own), and all that one on events may use.

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
    """A branch, or a number of a list, as one number a jet."""
    column = chunk.columns.get(name)
    if isinstance(column, Lists) and _is_of_jets(chunk, column):
        return column.values
    return _of_events(chunk, name)[chunk.event]


def _of_events(chunk: EventChunk, name: str) -> NDArray[np.generic]:
    """A branch, or a number of a list, as one number an event."""
    branch, position = branch_of(name), _POSITION.search(name)
    column = chunk.columns[branch]
    if position is None and isinstance(column, np.ndarray):
        return column
    if position is not None and isinstance(column, Lists):
        return _picked(chunk, column, int(position[1]))
    held = "one number an event" if isinstance(column, np.ndarray) else "lists"
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

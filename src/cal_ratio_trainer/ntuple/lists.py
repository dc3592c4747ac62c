"""Branches of a chunk of events as flat numpy arrays: what uproot gives as awkward arrays, taken apart once."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.ragged import IndexArray


@dataclass(frozen=True)
class Lists:
    """One list of numbers an event: that of event e is `values[offsets[e]:offsets[e + 1]]`.

    Attributes:
        values: [all numbers], in the precision of the file.
        offsets: [events + 1] int64, starting at 0.
    """

    values: NDArray[Any]
    offsets: IndexArray

    @property
    def counts(self) -> IndexArray:
        """Length of each event's list, [events] int64."""
        return np.diff(self.offsets)

    def events(self) -> IndexArray:
        """For each number the event it belongs to, counted in the chunk, [all numbers] int64."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int64), self.counts)


@dataclass(frozen=True)
class NestedLists:
    """A list of short lists an event, e.g. for each track the jets it belongs to.

    Attributes:
        outer: [events + 1] int64, where the inner lists of each event start.
        inner: what is in each inner list.
    """

    outer: IndexArray
    inner: Lists


Column = NDArray[Any] | Lists | NestedLists
"""A branch: one number an event, one list an event, or one list of lists an event."""


def from_awkward(array: ak.Array) -> Column:
    """Take an awkward array of at most two levels of lists apart.

    Raises:
        TypeError: the array is none of the three forms of `Column`.
        ValueError: lists start or end where no list can.
    """
    layout = array.layout
    if layout.purelist_parameter("__array__") is not None:
        raise TypeError(f"holds {layout.form.type}, where numbers are expected")
    if not layout.is_list:
        return _numbers(layout)
    outer, content = _list_of(layout)
    if not content.is_list:
        return Lists(_numbers(content), outer)
    inner, numbers = _list_of(content)
    return NestedLists(outer, Lists(_numbers(numbers), inner))


def _list_of(layout: Any) -> tuple[IndexArray, Any]:
    as_offsets = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(as_offsets.offsets.data, dtype=np.int64)
    if (np.diff(offsets) < 0).any() or offsets[-1] > len(as_offsets.content):
        raise ValueError("its lists overlap or are longer than their content")
    return offsets, as_offsets.content[: int(offsets[-1])]


def _numbers(layout: Any) -> NDArray[Any]:
    if not (layout.is_numpy or layout.is_unknown) or layout.purelist_depth != 1:
        raise TypeError(f"holds {layout.form.type}, where numbers are expected")
    return np.asarray(layout.to_backend_array(allow_missing=False))

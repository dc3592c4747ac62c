"""Constituents of the kept jets: found by the jet indices in the file, sorted, cut, relative to their jet."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import Constituent
from cal_ratio_trainer.ntuple.reading import Column, Doubles, Lists, NestedLists

_NO_JET = -1


def wrapped(angle: Doubles) -> Doubles:
    """Angles brought to [-pi, pi).

    >>> wrapped(np.array([0.1, 3.5, -3.5, np.pi, -np.pi])).round(3).tolist()
    [0.1, -2.783, 2.783, -3.142, -3.142]
    """
    result = np.array(angle, dtype=np.float64)
    outside = (result < -np.pi) | (result >= np.pi)
    turned = np.mod(result[outside] + np.pi, 2 * np.pi) - np.pi
    # An angle a rounding error below -pi comes out as exactly pi.
    result[outside] = np.where(turned >= np.pi, -np.pi, turned)
    return result


def delta_r(eta_difference: Doubles, phi_difference: Doubles) -> Doubles:
    """Distance in the eta-phi plane; the phi difference may be unwrapped."""
    distance: Doubles = np.hypot(eta_difference, wrapped(phi_difference))
    return distance


def make_relative(kind: Constituent, values: Doubles, owners: IndexArray, jet_axis: Doubles) -> None:
    """Replaces absolute by relative angles, in place: relative to the first constituent of the jet or to its axis.

    Args:
        kind: kind of the constituents; its schema says which features are angles, and their origin.
        values: [constituents, features], in the order of the jets, the leading constituent first.
        owners: [constituents], for each the position of its jet, rising.
        jet_axis: [jets, 2], eta and phi.
    """
    if not len(values):
        return
    if kind.origin == "leading":
        lengths = np.bincount(owners)
        leading = (np.cumsum(lengths) - lengths).take(owners)
        eta, phi = (values[:, kind.position(name)].take(leading) for name in ("eta", "phi"))
    else:
        eta, phi = (jet_axis[:, number].take(owners) for number in (0, 1))
    for column, feature in enumerate(kind.features):
        if feature.angle == "eta":
            values[:, column] -= eta
        elif feature.angle == "phi":
            # Infinite angles become NaN, which is counted; numpy need not say so too.
            with np.errstate(invalid="ignore"):
                values[:, column] = wrapped(values[:, column] - phi)


@dataclass(frozen=True)
class JetTable:
    """Finds a kept jet by its event and its index there.

    Attributes:
        position: [all jets], position among the kept jets at first jet of the event + index, -1 if there is none.
        first: [events + 1], the first jet of each event.
        axis: [kept jets, 2], eta and phi.
    """

    position: IndexArray
    first: IndexArray
    axis: Doubles

    @classmethod
    def of(cls, event: IndexArray, index: IndexArray, first: IndexArray, axis: Doubles) -> "JetTable":
        """Table of the kept jets.

        Args:
            event: [kept jets], event in the chunk.
            index: [kept jets], index in the event, below the number of its jets; negative if it has none.
            first: [events + 1], the first jet of each event.
            axis: [kept jets, 2], eta and phi.
        """
        position = np.full(int(first[-1]), _NO_JET, dtype=np.int64)
        named = np.flatnonzero(index >= 0)
        position[first[event[named]] + index[named]] = named
        return cls(position, first, axis)

    def find(self, event: IndexArray, index: IndexArray) -> tuple[IndexArray, int]:
        """Position of the kept jet, or -1, for each pair of an event and a jet index, [pairs].

        Also gives how many of the indices (other than -1, which says that there is none) name no jet of their event.
        """
        found = np.full(len(index), _NO_JET, dtype=np.int64)
        start = self.first.take(event)
        known = np.flatnonzero((index >= 0) & (index < self.first.take(event + 1) - start))
        found[known] = self.position.take(start.take(known) + index.take(known))
        return found, len(index) - len(known) - int(np.count_nonzero(index == _NO_JET))


def associate(kind: Constituent, columns: dict[str, Column], jets: JetTable) -> tuple[Ragged, int]:
    """The constituents of one kind of the kept jets, finished: sorted, cut to the limit, in relative coordinates.

    Args:
        kind: kind of the constituents; its schema says what they are sorted by.
        columns: branches of this chunk and its index branch; all lists of the same lengths.
        jets: the kept jets.

    Returns:
        The constituents, and how many of their jet indices name no jet of their event.
    """
    owners, positions, unknown = _members(columns[kind.index_branch], jets)
    features = [columns[branch] for branch in kind.branches]
    # Both sorts leave equal ones as they come: in the order of the file.
    if kind.sorted_by is None:
        order = np.argsort(owners, kind="stable")
    else:
        order = np.lexsort((-_gathered(features[kind.position(kind.sorted_by)], positions), owners))
    owners, positions = owners.take(order), positions.take(order)
    lengths = np.bincount(owners, minlength=len(jets.axis))
    within_limit = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths) < kind.limit
    owners, positions = owners[within_limit], positions[within_limit]
    # The numbers of a feature lie together: all that follows, up to the file, goes feature by feature.
    values = np.empty((len(features), len(positions)), dtype=np.float64)
    for number, feature in enumerate(features):
        values[number] = _gathered(feature, positions)
    make_relative(kind, values.T, owners, jets.axis)
    with np.errstate(over="ignore"):
        return Ragged.from_lengths(values.astype(np.float32).T, np.minimum(lengths, kind.limit)), unknown


def _members(index: Column, jets: JetTable) -> tuple[IndexArray, IndexArray, int]:
    """For each pair of a kept jet and a constituent of it: position of the jet, position of the constituent, rising.

    Also gives how many indices name no jet of their event.
    """
    if isinstance(index, NestedLists):
        outer = Lists(index.inner.offsets[:-1], index.outer)
        constituent = index.inner.events()
        event, jet_index = outer.events()[constituent], index.inner.values
    elif isinstance(index, Lists):
        event, jet_index = index.events(), index.values
        constituent = np.arange(len(jet_index), dtype=np.int64)
    else:
        raise TypeError("a jet index must be one list per event")
    owner, unknown = jets.find(event, jet_index.astype(np.int64, copy=False))
    kept = np.flatnonzero(owner != _NO_JET)
    return owner.take(kept), constituent.take(kept), unknown


def _gathered(column: Column, positions: IndexArray) -> Doubles:
    if not isinstance(column, Lists):
        raise TypeError("a feature must be one list per event")
    # What is no number becomes NaN, which is counted; numpy need not say so too.
    with np.errstate(invalid="ignore"):
        return column.values.take(positions).astype(np.float64, copy=False)

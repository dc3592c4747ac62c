"""Events before their jets get constituents: hard jets, truth and trigger jets, and which of them convert keeps.

`events_with` draws events until convert will keep exactly as many jets as were asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.grouped import JetArray, within

SELECTED_PT = (40.0, 500.0)
SELECTED_ABS_ETA = 2.5
MATCHED_RADIUS = 0.4
JET_RADIUS = 0.4

_MIN_BATCH = 256
_MAX_BATCHES = 1000

Directions = Mapping[str, NDArray[Any]] | NDArray[np.void]
"""Columns 'eta' and 'phi'."""


@dataclass(frozen=True)
class EventDraft:
    """Events with their hard jets, jets grouped by event.

    Attributes:
        counts: number of hard jets of each event, [events].
        jets: the jets.
        per_event: further numbers, each with one row per event: [events] or [events, 2].
        tried: number of events generated for these, before any selection (a fraction if it was sampled).
    """

    counts: IntArray
    jets: JetArray
    per_event: Mapping[str, NDArray[Any]]
    tried: float

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def event(self) -> IntArray:
        """The event of each jet, [jets]."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, events: IntArray) -> "EventDraft":
        """The events at the given positions, in that order; `tried` stays."""
        per_event = {name: column[events] for name, column in self.per_event.items()}
        jets = self.jets[within(self.counts, events)]
        return replace(self, counts=self.counts[events], jets=jets, per_event=per_event)

    def where(self, kept: NDArray[np.bool_]) -> "EventDraft":
        """The same events with the jets for which `kept` [jets] is true."""
        return replace(self, counts=np.bincount(self.event[kept], minlength=len(self)), jets=self.jets[kept])

    @staticmethod
    def concatenate(parts: Sequence["EventDraft"]) -> "EventDraft":
        """One after the other; all must have the same further numbers."""
        return EventDraft(
            counts=np.concatenate([part.counts for part in parts]),
            jets=np.concatenate([part.jets for part in parts]),
            per_event={name: np.concatenate([part.per_event[name] for part in parts]) for name in parts[0].per_event},
            tried=sum(part.tried for part in parts),
        )


def from_columns(
    jets: Sequence[tuple[JetArray, NDArray[np.bool_]]], per_event: Mapping[str, NDArray[Any]], tried: float
) -> EventDraft:
    """Events from possible jets; of jets within a jet radius of a harder one only the harder remain.

    Args:
        jets: each entry gives one possible jet of every event, and whether it is present, [events].
        per_event, tried: see `EventDraft`.
    """
    present = np.stack([there for _, there in jets], axis=1)
    draft = EventDraft(present.sum(axis=1), np.stack([each for each, _ in jets], axis=1)[present], per_event, tried)
    i, j = same_event_pairs(draft.counts, draft.counts)
    softer = draft.jets["pt"][i] < draft.jets["pt"][j]
    i, j = i[softer], j[softer]
    kept = np.ones(len(draft.jets), bool)
    kept[i[distances(draft.jets, i, draft.jets, j) < JET_RADIUS]] = False
    return draft.where(kept)


def same_event_pairs(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """All pairs (i, j) of a thing of one kind and one of another in the same event, ordered by i, then j.

    Args:
        first, second: number of each kind in every event, [events].
    """
    event = np.repeat(np.arange(len(first)), first)
    return np.repeat(np.arange(len(event)), second[event]), within(second, event)


def wrapped_difference(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """first - second as an angle between -pi and pi, in double precision."""
    difference = first.astype(np.float64) - second
    return np.asarray(difference - 2 * np.pi * np.rint(difference / (2 * np.pi)))


def distances(first: Directions, i: IntArray, second: Directions, j: IntArray) -> NDArray[np.float64]:
    """Delta R of the pairs (i, j)."""
    eta = first["eta"][i].astype(np.float64) - second["eta"][j]
    return np.asarray(np.hypot(eta, wrapped_difference(first["phi"][i], second["phi"][j])))


def is_selected(jets: JetArray) -> NDArray[np.bool_]:
    """True if convert's default selection keeps a jet by its pt and eta, [jets]."""
    low, high = SELECTED_PT
    return np.asarray((jets["pt"] >= low) & (jets["pt"] < high) & (np.abs(jets["eta"]) <= SELECTED_ABS_ETA))


def nearest_selected(draft: EventDraft, targets: Directions, wanted: IntArray) -> IntArray:
    """For each target the position of the nearest selected jet of its event within 0.4, or -1, [targets].

    Args:
        draft: the events.
        targets: points for which jets are searched, grouped by event.
        wanted: number of targets in each event, [events].
    """
    i, j = same_event_pairs(wanted, draft.counts)
    possible = is_selected(draft.jets)[j]
    i, j = i[possible], j[possible]
    distance = distances(targets, i, draft.jets, j)
    order = np.lexsort((distance, i))
    i, j, distance = i[order], j[order], distance[order]
    first = np.ones(len(i), bool)
    first[1:] = i[1:] != i[:-1]
    first &= distance <= MATCHED_RADIUS
    result = np.full(len(targets["eta"]), -1)
    result[i[first]] = j[first]
    return result


def events_with(
    random: Generator,
    draw: Callable[[Generator, int], EventDraft],
    kept_in: Callable[[EventDraft], IntArray],
    jets: int,
) -> EventDraft:
    """Events of which convert keeps exactly `jets` jets, and a share of events of which it keeps none.

    Args:
        random: random numbers of the file.
        draw: makes about as many events as asked for.
        kept_in: number of jets of each event that convert keeps, [events].
        jets: number of jets to be kept.

    Raises:
        RuntimeError: the source hardly ever gives an event with a jet that is kept.
    """
    drafts: list[EventDraft] = []
    batch = max(_MIN_BATCH, jets)
    for _ in range(_MAX_BATCHES):
        drafts.append(draw(random, batch))
        everything = EventDraft.concatenate(drafts)
        kept = kept_in(everything)
        chosen = _chosen(kept, jets)
        if chosen is not None:
            break
        drafts = [everything]
        rate = kept.sum() / max(everything.tried, 1.0)
        batch = int(max(_MIN_BATCH, min(20.0 * jets, 1.2 * (jets - kept.sum() + 8) / max(rate, 1e-3))))
    else:
        raise RuntimeError(f"{_MAX_BATCHES} batches of events did not give {jets} jets")
    selected = chosen[kept[chosen] > 0]
    others = chosen[kept[chosen] == 0]
    share = parameters("events")["unselected_share"]
    wanted = int(np.ceil(len(selected) * share / (1 - share)))
    events: IntArray = np.sort(np.concatenate([selected, others[:wanted]]))
    # Only the events up to the last one taken in order count as tried; the one that fills up came later by chance.
    used = len(chosen) / max(len(everything), 1)
    return replace(everything.take(events), tried=everything.tried * min(used, 1.0))


def _chosen(kept: IntArray, jets: int) -> IntArray | None:
    """Positions of events whose kept jets add up to `jets`: the first ones, and one later one to fill up."""
    sums = np.cumsum(kept)
    stop = int(np.searchsorted(sums, jets, side="right"))
    missing = jets - (int(sums[stop - 1]) if stop else 0)
    first: IntArray = np.arange(stop)
    if missing == 0:
        return first
    later = stop + np.flatnonzero(kept[stop:] == missing)
    return np.append(first, later[0]) if len(later) else None

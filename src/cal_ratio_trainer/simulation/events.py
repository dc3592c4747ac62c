"""Events before their jets get constituents: hard jets, truth and trigger jets, and which of them convert keeps.

`events_with` draws events until convert will keep exactly as many jets as were asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.lists import Axes, within

MULTIJET, DECAY, HALO, IN_TIME = 0, 1, 2, 3
"""Kinds of jets, by the way their constituents are made."""

SELECTED_PT = (40.0, 500.0)
SELECTED_ABS_ETA = 2.5
MATCHED_RADIUS = 0.4
JET_RADIUS = 0.4


@dataclass(frozen=True)
class Decays:
    """Decays of long-lived particles, each [decays].

    Attributes:
        transverse: distance from the beam line [mm].
        longitudinal: along the beam [mm], absolute.
        opening: angle between the two decay products as the calorimeter sees it.
        delay: delay relative to light [ns].
    """

    transverse: FloatArray
    longitudinal: FloatArray
    opening: FloatArray
    delay: FloatArray

    def take(self, chosen: NDArray[np.integer[Any]]) -> "Decays":
        """The decays at the given positions, in that order."""
        return Decays(self.transverse[chosen], self.longitudinal[chosen], self.opening[chosen], self.delay[chosen])

    @staticmethod
    def concatenate(parts: Sequence["Decays"]) -> "Decays":
        """One after the other."""
        names = ("transverse", "longitudinal", "opening", "delay")
        return Decays(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class EventDraft:
    """Events with their hard jets, jets grouped by event.

    Attributes:
        counts: hard jets of each event, [events].
        axes: the jets.
        maker: method that makes each jet's constituents, [jets].
        decays: for each jet the decay that made it; only those of maker DECAY mean something.
        per_event: further numbers, each with one row per event: [events] or [events, 2].
        tried: number of events generated for these, before any selection (a fraction if it was sampled).
    """

    counts: IntArray
    axes: Axes
    maker: NDArray[np.int8]
    decays: Decays
    per_event: Mapping[str, NDArray[np.generic]]
    tried: float

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def event(self) -> IntArray:
        """The event of each jet, [jets]."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, events: IntArray) -> "EventDraft":
        """The events at the given positions, in that order; `tried` stays."""
        index = within(self.counts, events)
        per_event = {name: column[events] for name, column in self.per_event.items()}
        return replace(self.with_jets(index, self.counts[events]), per_event=per_event)

    def where(self, kept: NDArray[np.bool_]) -> "EventDraft":
        """The same events with those jets for which `kept` [jets] is true."""
        return self.with_jets(np.flatnonzero(kept), np.bincount(self.event[kept], minlength=len(self)))

    def with_jets(self, index: NDArray[np.integer[Any]], counts: IntArray) -> "EventDraft":
        """The jets at the given positions, in that order, `counts` [events] of them in each event."""
        axes, decays = self.axes.take(index), self.decays.take(index)
        return replace(self, counts=counts, axes=axes, maker=self.maker[index], decays=decays)

    @staticmethod
    def concatenate(parts: Sequence["EventDraft"]) -> "EventDraft":
        """One after the other; all must have the same further numbers."""
        return EventDraft(
            counts=np.concatenate([part.counts for part in parts]),
            axes=Axes.concatenate([part.axes for part in parts]),
            maker=np.concatenate([part.maker for part in parts]),
            decays=Decays.concatenate([part.decays for part in parts]),
            per_event={name: np.concatenate([part.per_event[name] for part in parts]) for name in parts[0].per_event},
            tried=sum(part.tried for part in parts),
        )


JetColumn = tuple[Axes, NDArray[np.int8], Decays, NDArray[np.bool_]]
"""One possible jet of every event: axes, maker, decay, and whether it is there, each [events]."""


def no_decays(size: int) -> Decays:
    """Placeholders for jets that no decay made."""
    zero = np.zeros(size, np.float32)
    return Decays(zero, zero, zero, zero)


def from_columns(
    jets: Sequence[JetColumn],
    per_event: Mapping[str, NDArray[np.generic]],
    tried: float,
) -> EventDraft:
    """Events from jets in columns: each entry gives one possible jet of every event, and whether it is there.

    Args:
        jets: the possible jets.
        per_event: further numbers of the events.
        tried: see `EventDraft`.
    """
    events = len(jets[0][0])
    order = np.arange(events * len(jets)).reshape(len(jets), events).T.ravel()
    stacked = EventDraft(
        counts=np.full(events, len(jets)),
        axes=Axes.concatenate([axes for axes, *_ in jets]),
        maker=np.concatenate([maker for _, maker, *_ in jets]),
        decays=Decays.concatenate([decays for _, _, decays, _ in jets]),
        per_event=per_event,
        tried=tried,
    )
    ordered = stacked.with_jets(order, stacked.counts)
    present = np.concatenate([there for *_, there in jets])[order]
    return without_overlaps(ordered.where(present))


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


def without_overlaps(draft: EventDraft) -> EventDraft:
    """Drops jets within a jet radius of a harder one: they would be one jet."""
    i, j = same_event_pairs(draft.counts, draft.counts)
    softer = draft.axes.pt[i] < draft.axes.pt[j]
    i, j = i[softer], j[softer]
    near = i[distances(draft.axes, i, draft.axes, j) < JET_RADIUS]
    kept = np.ones(len(draft.axes), bool)
    kept[near] = False
    return draft.where(kept)


def distances(first: Axes, i: IntArray, second: Axes, j: IntArray) -> NDArray[np.float64]:
    """Delta R of the pairs (i, j)."""
    eta = first.eta[i].astype(np.float64) - second.eta[j]
    return np.asarray(np.hypot(eta, wrapped_difference(first.phi[i], second.phi[j])))


def is_selected(axes: Axes) -> NDArray[np.bool_]:
    """True if convert's default selection keeps a jet by its pt and eta, [jets]."""
    low, high = SELECTED_PT
    return (axes.pt >= low) & (axes.pt < high) & (np.abs(axes.eta) <= SELECTED_ABS_ETA)


def nearest_selected(draft: EventDraft, targets: Axes, wanted: IntArray) -> IntArray:
    """For each target the position of the nearest selected jet of its event within 0.4, or -1, [targets].

    Args:
        draft: the events.
        targets: points for which jets are searched, grouped by event.
        wanted: targets of each event, [events].
    """
    i, j = same_event_pairs(wanted, draft.counts)
    possible = is_selected(draft.axes)[j]
    i, j = i[possible], j[possible]
    distance = distances(targets, i, draft.axes, j)
    order = np.lexsort((distance, i))
    i, j, distance = i[order], j[order], distance[order]
    first = np.ones(len(i), bool)
    first[1:] = i[1:] != i[:-1]
    first &= distance <= MATCHED_RADIUS
    result = np.full(len(targets), -1)
    result[i[first]] = j[first]
    return result


_MIN_BATCH = 256
_MAX_BATCHES = 1000


@dataclass(frozen=True)
class EventSource:
    """Source of events: `draw(random, size)` makes some, `kept(events)` counts the jets that convert keeps."""

    draw: Callable[[Generator, int], EventDraft]
    kept: Callable[[EventDraft], IntArray]


def events_with(random: Generator, source: EventSource, jets: int) -> EventDraft:
    """Events of which convert keeps exactly `jets` jets, and a share of events of which it keeps none.

    Raises:
        RuntimeError: the source hardly ever gives an event with a jet that is kept.
    """
    drafts: list[EventDraft] = []
    batch = max(_MIN_BATCH, jets)
    for _ in range(_MAX_BATCHES):
        drafts.append(source.draw(random, batch))
        everything = EventDraft.concatenate(drafts)
        kept = source.kept(everything)
        chosen = _chosen(kept, jets)
        if chosen is not None:
            return _cut(everything, kept, chosen)
        drafts = [everything]
        rate = kept.sum() / max(everything.tried, 1.0)
        batch = int(max(_MIN_BATCH, min(20.0 * jets, 1.2 * (jets - kept.sum() + 8) / max(rate, 1e-3))))
    raise RuntimeError(f"{_MAX_BATCHES} batches of events did not give {jets} jets")


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


def _cut(everything: EventDraft, kept: IntArray, chosen: IntArray) -> EventDraft:
    selected = chosen[kept[chosen] > 0]
    others = chosen[kept[chosen] == 0]
    share = parameters("events")["unselected_share"]
    wanted = int(np.ceil(len(selected) * share / (1 - share)))
    events: NDArray[np.int64] = np.sort(np.concatenate([selected, others[:wanted]]))
    # Only the events up to the last one taken in order count as tried; the one that fills up came later by chance.
    used = len(chosen) / max(len(everything), 1)
    return replace(everything.take(events), tried=everything.tried * min(used, 1.0))

"""Exactly as many jets as were asked for: events are drawn until convert will keep that many, then cut there."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation.draws import Generator, IntArray
from cal_ratio_trainer.simulation.event_draft import EventDraft
from cal_ratio_trainer.simulation.parameters import parameters

_SMALLEST_BATCH = 256
_MOST_BATCHES = 1000


@dataclass(frozen=True)
class Source:
    """Where events come from: `draw(random, size)` makes some, `kept(events)` counts the jets that convert keeps."""

    draw: Callable[[Generator, int], EventDraft]
    kept: Callable[[EventDraft], IntArray]


def events_with(random: Generator, source: Source, jets: int) -> EventDraft:
    """Events of which convert keeps exactly `jets` jets, and a share of events of which it keeps none.

    Raises:
        RuntimeError: the source hardly ever gives an event with a jet that is kept.
    """
    drafts: list[EventDraft] = []
    batch = max(_SMALLEST_BATCH, jets)
    for _ in range(_MOST_BATCHES):
        drafts.append(source.draw(random, batch))
        everything = EventDraft.concatenate(drafts)
        kept = source.kept(everything)
        chosen = _chosen(kept, jets)
        if chosen is not None:
            return _cut(everything, kept, chosen)
        drafts = [everything]
        rate = kept.sum() / max(everything.tried, 1.0)
        batch = int(max(_SMALLEST_BATCH, min(20.0 * jets, 1.2 * (jets - kept.sum() + 8) / max(rate, 1e-3))))
    raise RuntimeError(f"{_MOST_BATCHES} batches of events did not give {jets} jets")


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

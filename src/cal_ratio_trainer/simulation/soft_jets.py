"""The soft jets that fill an event: a library of them is simulated, and each use turns or mirrors one of it.

No soft jet passes convert's selection; a library makes them nearly free. Their own muon segments are those that
punch through; the cavern's background is added to the event.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import Generator
from cal_ratio_trainer.simulation.event_draft import (
    JET_RADIUS,
    MULTIJET,
    EventDraft,
    joined_axes,
    no_decays,
    same_event_pairs,
    wrapped_difference,
)
from cal_ratio_trainer.simulation.lists import Axes, Constituents, Lists
from cal_ratio_trainer.simulation.multijet import multijets
from cal_ratio_trainer.simulation.parameters import parameters


def with_soft_jets(
    random: Generator, draft: EventDraft, hard: Constituents, is_data: bool
) -> tuple[EventDraft, Constituents, NDArray[np.bool_]]:
    """The events with soft jets added and all jets sorted by pt, what they consist of, and which are hard [jets]."""
    library, library_axes = _library(random, is_data)
    numbers = parameters("events")["soft_jets"]
    counts = draws.negative_binomial(random, numbers["mean"], numbers["k"], len(draft))
    size = int(counts.sum())
    chosen = random.integers(0, len(library_axes), size)
    mirror, turn = draws.sign(random, size), draws.angle(random, size)
    soft = Axes(library_axes.pt[chosen], library_axes.eta[chosen] * mirror, draws.wrap(library_axes.phi[chosen] + turn))
    event = np.concatenate([draft.event, np.repeat(np.arange(len(draft)), counts)])
    axes = joined_axes([draft.axes, soft])
    source = np.concatenate([np.arange(len(draft.axes)), len(draft.axes) + chosen])
    order = np.lexsort((-axes.pt, event))
    kept = order[_apart(axes, event, order, len(draft.axes), len(draft))]
    moves = _Moves(np.concatenate([np.ones(len(draft.axes), np.float32), mirror]), _zeros_then(draft, turn))
    constituents = Constituents.concatenate([hard, library]).take(source[kept])
    full = EventDraft(
        counts=np.bincount(event[kept], minlength=len(draft)),
        axes=Axes(axes.pt[kept], axes.eta[kept], axes.phi[kept]),
        maker=np.concatenate([draft.maker, np.full(size, MULTIJET, np.int8)])[kept],
        decays=no_decays(len(kept)),
        per_event=draft.per_event,
        tried=draft.tried,
    )
    return full, moves.applied(constituents, kept), kept < len(draft.axes)


class _Moves:
    """Mirroring in eta and turning in phi, each [jets]."""

    def __init__(self, mirror: NDArray[np.float32], turn: NDArray[np.float32]) -> None:
        self._mirror, self._turn = mirror, turn

    def applied(self, constituents: Constituents, jets: NDArray[np.int64]) -> Constituents:
        return Constituents(
            self._moved(constituents.clusters, jets, ("eta",), ("phi",)),
            self._moved(constituents.tracks, jets, ("eta", "z0"), ("phi",)),
            self._moved(constituents.muon_segments, jets, ("etaPos", "etaDir"), ("phiPos", "phiDir")),
        )

    def _moved(
        self, lists: Lists, jets: NDArray[np.int64], mirrored: tuple[str, ...], turned: tuple[str, ...]
    ) -> Lists:
        owners = jets[lists.owners]
        mirror, turn = self._mirror[owners], self._turn[owners]
        columns = dict(lists.columns)
        columns |= {name: columns[name] * mirror for name in mirrored}
        columns |= {name: draws.wrap(columns[name] + turn) for name in turned}
        return Lists(lists.counts, columns)


def _zeros_then(draft: EventDraft, turn: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(len(draft.axes), np.float32), turn])


def _library(random: Generator, is_data: bool) -> tuple[Constituents, Axes]:
    numbers = parameters("events")["soft_jets"]
    size = numbers["library"]
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    eta = np.clip(numbers["eta_sigma"] * draws.normal(random, size), -numbers["eta_maximum"], numbers["eta_maximum"])
    axes = Axes(
        np.minimum(pt, numbers["pt_maximum"]).astype(np.float32), eta.astype(np.float32), draws.angle(random, size)
    )
    jets = multijets(random, axes, is_data)
    few = jets.muon_segments.where(draws.uniform(random, len(jets.muon_segments.columns["t0"])) < 0.2)
    in_tracker = np.abs(jets.tracks.columns["eta"]) < 2.5
    return Constituents(jets.clusters, jets.tracks.where(in_tracker), few), axes


def _apart(axes: Axes, event: NDArray[np.int64], order: NDArray[np.int64], hard: int, events: int) -> NDArray[np.bool_]:
    """Which of the jets in this order stay: the hard ones, and soft ones a jet radius from every hard jet and every
    softer one with more pt."""
    counts = np.bincount(event, minlength=events)
    i, j = same_event_pairs(counts, counts)
    loses = (order[i] >= hard) & ((j < i) | (order[j] < hard)) & (i != j)
    i, j = i[loses], j[loses]
    near = np.abs(axes.eta[order[i]] - axes.eta[order[j]]) < JET_RADIUS
    i, j = i[near], j[near]
    d_phi = wrapped_difference(axes.phi[order[i]], axes.phi[order[j]])
    close = np.hypot(axes.eta[order[i]] - axes.eta[order[j]], d_phi) < JET_RADIUS
    stays = np.ones(len(order), bool)
    stays[i[close]] = False
    return stays

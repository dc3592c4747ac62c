"""Complete events from drafts: constituents, soft jets, tracks and segments of no jet, indices.

Soft jets fill an event: a library of them is simulated, and each use turns or mirrors one of it. No soft jet passes
convert's selection. Their own muon segments are those that punch through; the cavern's background is added to the
event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.bib import bib_jets
from cal_ratio_trainer.simulation.draws import Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import (
    DECAY,
    HALO,
    IN_TIME,
    JET_RADIUS,
    MULTIJET,
    EventDraft,
    distances,
    no_decays,
    same_event_pairs,
    wrapped_difference,
)
from cal_ratio_trainer.simulation.lists import Axes, Constituents, Lists, slots, within
from cal_ratio_trainer.simulation.multijet import multijets
from cal_ratio_trainer.simulation.muon_segments import cavern_segments
from cal_ratio_trainer.simulation.signal import signal_jets
from cal_ratio_trainer.simulation.tracks import hits, impact, pileup_pt, pileup_vertex_particles


@dataclass(frozen=True)
class FullEvents:
    """Events with everything in them.

    Attributes:
        jets: jets of each event, highest pt first; columns pT, eta, phi.
        clusters: grouped by event, then by jet; `jetIndex` is the jet's position in its event.
        tracks: grouped by event, those of jets first; `jetIndex` is -1 for those of none.
        muon_segments: grouped by event.
        segment_jets: for each segment the positions of the jets it belongs to, as a list.
    """

    jets: Lists
    clusters: Lists
    tracks: Lists
    muon_segments: Lists
    segment_jets: Lists


def full_events(random: Generator, draft: EventDraft, mismodelling: float) -> FullEvents:
    """Adds the constituents of every jet, and the soft jets, pile-up tracks and cavern background of every event.

    Args:
        random: of the file.
        draft: the events.
        mismodelling: difference from simulation, in units of the one measured in the real control region: 0 for
            simulation, 1 for data.
    """
    hard = _constituents(random, draft, mismodelling)
    events, constituents, is_hard = with_soft_jets(random, draft, hard, mismodelling)
    position = slots(events.counts)
    jets = Lists(
        events.counts,
        {"pT": events.axes.pt, "eta": events.axes.eta, "phi": events.axes.phi},
    )
    segments = _segments(random, events, constituents.muon_segments, is_hard, mismodelling)
    matched_tracks = _by_event(constituents.tracks, events.counts, position)
    return FullEvents(
        jets=jets,
        clusters=_by_event(constituents.clusters, events.counts, position),
        tracks=_joined(matched_tracks, _unmatched_tracks(random, events, mismodelling)),
        muon_segments=segments,
        segment_jets=_segment_jets(events, segments),
    )


def _constituents(random: Generator, draft: EventDraft, mismodelling: float) -> Constituents:
    """Constituents of the hard jets, in their order, each kind of jet made by its own model."""
    parts, rows = [], []
    for makers in ((MULTIJET,), (DECAY,), (HALO, IN_TIME)):
        chosen = np.flatnonzero(np.isin(draft.maker, makers))
        if len(chosen) == 0:
            continue
        axes = draft.axes.take(chosen)
        rows.append(chosen)
        if makers == (MULTIJET,):
            parts.append(multijets(random, axes, mismodelling))
        elif makers == (DECAY,):
            parts.append(signal_jets(random, axes, draft.decays.take(chosen)))
        else:
            parts.append(bib_jets(random, axes, draft.maker[chosen]))
    position = np.empty(len(draft.axes), np.int64)
    position[np.concatenate(rows)] = np.arange(len(position))
    return Constituents.concatenate(parts).take(position)


def _by_event(lists: Lists, jets: IntArray, position: IntArray) -> Lists:
    """Constituents of jets as constituents of events, with the position of their jet."""
    first = np.cumsum(jets) - jets
    sums = np.concatenate([[0], np.cumsum(lists.counts)])
    counts = sums[first + jets] - sums[first]
    return Lists(counts, {**lists.columns, "jetIndex": position[lists.owners].astype(np.int32)})


def _unmatched_tracks(random: Generator, events: EventDraft, mismodelling: float) -> Lists:
    numbers = parameters("events")["unmatched_tracks"]
    counts = draws.negative_binomial(random, numbers["mean"], numbers["k"], len(events))
    size = int(counts.sum())
    axes = Axes(pileup_pt(random, size), draws.uniform(random, size, -2.5, 2.5), draws.angle(random, size))
    alpha, beta = parameters("tracks")["no_vertex_beta"]
    no_vertex = draws.uniform(random, size) < alpha / (alpha + beta)
    particles = np.where(no_vertex, np.float32(-1), pileup_vertex_particles(random, size, "multijet"))
    vertices = parameters("tracks")["vertex_z_sigma"]
    z0 = draws.mismodelled(vertices["mc"], vertices["data"], mismodelling) * draws.normal(random, size)
    columns: dict[str, NDArray[Any]] = {"pT": axes.pt, "eta": axes.eta, "phi": axes.phi, "z0": z0.astype(np.float32)}
    columns |= {"vertex_nParticles": particles, **impact(random, axes.pt, no_vertex, mismodelling)}
    columns |= hits(random, no_vertex, "multijet", mismodelling)
    columns["jetIndex"] = np.full(size, -1, np.int32)
    i, j = same_event_pairs(counts, events.counts)
    near = np.abs(axes.eta[i] - events.axes.eta[j]) < parameters("tracks")["matched_radius"]
    i, j = i[near], j[near]
    outside = np.ones(size, bool)
    outside[i[distances(axes, i, events.axes, j) < parameters("tracks")["matched_radius"]]] = False
    return Lists(counts, columns).where(outside)


def _segments(
    random: Generator, events: EventDraft, of_jets: Lists, is_hard: NDArray[np.bool_], mismodelling: float
) -> Lists:
    """Segments of jets and of the cavern, by event; the latter keep out of the windows of hard jets, whose own
    background is drawn with the jet."""
    numbers = parameters("events")["unmatched_segments"]
    mean = draws.mismodelled(numbers["mc"], numbers["data"], mismodelling)
    counts = draws.negative_binomial(random, mean, numbers["k"], len(events))
    cavern = Lists(counts, cavern_segments(random, int(counts.sum()), mismodelling))
    position = slots(events.counts)
    own = _by_event(of_jets, events.counts, position)
    of_hard = is_hard[of_jets.owners]
    columns = {name: column for name, column in own.columns.items() if name != "jetIndex"}
    joined = _joined(
        Lists(own.counts, {**columns, "of_hard": of_hard}),
        Lists(cavern.counts, {**cavern.columns, "of_hard": np.zeros(len(cavern.columns["t0"]), bool)}),
    )
    hard_events = events.where(is_hard)
    i, j = same_event_pairs(joined.counts, hard_events.counts)
    window = parameters("muon_segments")["window"]
    inside = np.zeros(len(joined.columns["t0"]), bool)
    inside[i[_same_azimuth(joined.columns["phiPos"][i], hard_events.axes.phi[j], window)]] = True
    kept = joined.where(joined.columns["of_hard"] | ~inside)
    return Lists(kept.counts, {name: column for name, column in kept.columns.items() if name != "of_hard"})


def _same_azimuth(first: NDArray[Any], second: NDArray[Any], window: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(wrapped_difference(first, second)) < window)


def _segment_jets(events: EventDraft, segments: Lists) -> Lists:
    """For each segment the jets within 0.2 in azimuth, at any pseudorapidity; [-1] where there is none."""
    i, j = same_event_pairs(segments.counts, events.counts)
    near = _same_azimuth(segments.columns["phiPos"][i], events.axes.phi[j], parameters("muon_segments")["window"])
    position = slots(events.counts)
    found = np.bincount(i[near], minlength=len(segments.columns["phiPos"]))
    counts = np.maximum(found, 1)
    index = np.full(int(counts.sum()), -1, np.int32)
    index[np.repeat(found > 0, counts)] = position[j[near]]
    return Lists(counts, {"jetIndex": index})


def _joined(first: Lists, second: Lists) -> Lists:
    """The things of each event of the first, then those of the second."""
    events = len(first.counts)
    rows = np.stack([np.arange(events), events + np.arange(events)], axis=1).ravel()
    both = Lists.concatenate([first, second])
    index = within(both.counts, rows)
    columns: Mapping[str, NDArray[Any]] = {name: column[index] for name, column in both.columns.items()}
    return Lists(first.counts + second.counts, columns)


def with_soft_jets(
    random: Generator, draft: EventDraft, hard: Constituents, mismodelling: float
) -> tuple[EventDraft, Constituents, NDArray[np.bool_]]:
    """The events with soft jets added and all jets sorted by pt, what they consist of, and which are hard [jets]."""
    library, library_axes = _library(random, mismodelling)
    numbers = parameters("events")["soft_jets"]
    counts = draws.negative_binomial(random, numbers["mean"], numbers["k"], len(draft))
    size = int(counts.sum())
    chosen = random.integers(0, len(library_axes), size)
    mirror, turn = draws.sign(random, size), draws.angle(random, size)
    soft = library_axes.take(chosen)
    soft = Axes(soft.pt, soft.eta * mirror, draws.wrap(soft.phi + turn))
    event = np.concatenate([draft.event, np.repeat(np.arange(len(draft)), counts)])
    axes = Axes.concatenate([draft.axes, soft])
    source = np.concatenate([np.arange(len(draft.axes)), len(draft.axes) + chosen])
    order = np.lexsort((-axes.pt, event))
    kept = order[_apart(axes, event, order, len(draft.axes), len(draft))]
    mirrors = np.concatenate([np.ones(len(draft.axes), np.float32), mirror])[kept]
    turns = np.concatenate([np.zeros(len(draft.axes), np.float32), turn])[kept]
    found = Constituents.concatenate([hard, library]).take(source[kept])
    constituents = Constituents(
        _moved(found.clusters, mirrors, turns, ("eta",), ("phi",)),
        _moved(found.tracks, mirrors, turns, ("eta", "z0"), ("phi",)),
        _moved(found.muon_segments, mirrors, turns, ("etaPos", "etaDir"), ("phiPos", "phiDir")),
    )
    full = EventDraft(
        counts=np.bincount(event[kept], minlength=len(draft)),
        axes=axes.take(kept),
        maker=np.concatenate([draft.maker, np.full(size, MULTIJET, np.int8)])[kept],
        decays=no_decays(len(kept)),
        per_event=draft.per_event,
        tried=draft.tried,
    )
    return full, constituents, kept < len(draft.axes)


def _moved(
    lists: Lists,
    mirror: NDArray[np.float32],
    turn: NDArray[np.float32],
    mirrored: tuple[str, ...],
    turned: tuple[str, ...],
) -> Lists:
    """Lists of jets that are mirrored in eta and turned in phi, each [jets]."""
    owners = lists.owners
    columns = dict(lists.columns)
    columns |= {name: columns[name] * mirror[owners] for name in mirrored}
    columns |= {name: draws.wrap(columns[name] + turn[owners]) for name in turned}
    return Lists(lists.counts, columns)


def _library(random: Generator, mismodelling: float) -> tuple[Constituents, Axes]:
    numbers = parameters("events")["soft_jets"]
    size = numbers["library"]
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    eta = np.clip(numbers["eta_sigma"] * draws.normal(random, size), -numbers["eta_maximum"], numbers["eta_maximum"])
    axes = Axes(
        np.minimum(pt, numbers["pt_maximum"]).astype(np.float32), eta.astype(np.float32), draws.angle(random, size)
    )
    jets = multijets(random, axes, mismodelling)
    few = jets.muon_segments.where(draws.uniform(random, len(jets.muon_segments.columns["t0"])) < 0.2)
    in_tracker = np.abs(jets.tracks.columns["eta"]) < 2.5
    return Constituents(jets.clusters, jets.tracks.where(in_tracker), few), axes


def _apart(axes: Axes, event: NDArray[np.int64], order: NDArray[np.int64], hard: int, events: int) -> NDArray[np.bool_]:
    """Mask of jets in this order that stay: the hard ones, and soft ones a jet radius from every hard jet and every
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

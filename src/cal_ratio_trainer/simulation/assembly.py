"""Complete events from drafts: constituents, soft jets, tracks and segments of no jet, indices.

Soft jets fill an event: a library of them is simulated, and each use turns or mirrors one of it. No soft jet passes
convert's selection. Soft jets have only muon segments that punch through; the background of the cavern is added to the
event.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.bib import bib_jets
from cal_ratio_trainer.simulation.draws import Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import (
    JET_RADIUS,
    EventDraft,
    distances,
    same_event_pairs,
    wrapped_difference,
)
from cal_ratio_trainer.simulation.grouped import (
    DECAY,
    HALO,
    IN_TIME,
    MULTIJET,
    Constituents,
    Grouped,
    JetArray,
    chosen_constituents,
    jet_array,
    slots,
)
from cal_ratio_trainer.simulation.multijet import multijets
from cal_ratio_trainer.simulation.muon_segments import cavern_segments
from cal_ratio_trainer.simulation.signal import signal_jets
from cal_ratio_trainer.simulation.tracks import hits, impact, pileup_pt, pileup_vertex_particles

_MIRRORED = {"clusters": ("eta",), "tracks": ("eta", "z0"), "muon_segments": ("etaPos", "etaDir")}
_TURNED = {"clusters": ("phi",), "tracks": ("phi",), "muon_segments": ("phiPos", "phiDir")}


def full_events(random: Generator, draft: EventDraft, mismodelling: float) -> dict[str, Grouped]:
    """Adds the constituents of every jet, and the soft jets, pile-up tracks and cavern background of every event.

    Args:
        random: random numbers of the file.
        draft: the events.
        mismodelling: difference from simulation, in units of the one measured in the real control region: 0 for
            simulation, 1 for data.

    Returns:
        By prefix of the branches: 'jet', 'clus', 'track' and 'MSeg', grouped by event, columns by the names of the
        branches without prefix. Jets are sorted by pt. Clusters and tracks have `jetIndex`, the position of the jet in
        its event, -1 for tracks of no jet. 'MSeg_jetIndex' has these positions for each segment, [-1] if there is none.
    """
    hard = _hard_constituents(random, draft, mismodelling)
    events, constituents, is_hard = _with_soft_jets(random, draft, hard, mismodelling)
    position = slots(events.counts).astype(np.int32)
    by_event = {
        kind: things.with_columns({"jetIndex": position[things.owners]}).merged(events.counts)
        for kind, things in constituents.items()
    }
    segments = _segments(random, events, constituents["muon_segments"], is_hard, mismodelling)
    names = {"pT": "pt", "eta": "eta", "phi": "phi"}
    return {
        "jet": Grouped(events.counts, {branch: events.jets[name] for branch, name in names.items()}),
        "clus": by_event["clusters"],
        "track": by_event["tracks"].followed_by(_unmatched_tracks(random, events, mismodelling)),
        "MSeg": segments,
        "MSeg_jetIndex": _segment_jets(events, segments),
    }


def _hard_constituents(random: Generator, draft: EventDraft, mismodelling: float) -> Constituents:
    """Constituents of the hard jets, in their order, each kind of jet made by its own model."""
    parts, rows = [], []
    for makers in ((MULTIJET,), (DECAY,), (HALO, IN_TIME)):
        chosen = np.flatnonzero(np.isin(draft.jets["maker"], makers))
        if len(chosen) == 0:
            continue
        jets = draft.jets[chosen]
        rows.append(chosen)
        if MULTIJET in makers:
            parts.append(multijets(random, jets, mismodelling))
        else:
            parts.append(signal_jets(random, jets) if DECAY in makers else bib_jets(random, jets))
    return chosen_constituents(parts, np.argsort(np.concatenate(rows)))


def _unmatched_tracks(random: Generator, events: EventDraft, mismodelling: float) -> Grouped:
    numbers, shape = parameters("events")["unmatched_tracks"], parameters("tracks")
    counts = draws.negative_binomial(random, numbers["mean"], numbers["k"], len(events))
    size = int(counts.sum())
    pt, eta, phi = pileup_pt(random, size), draws.uniform(random, size, -2.5, 2.5), draws.angle(random, size)
    alpha, beta = shape["no_vertex_beta"]
    no_vertex = draws.uniform(random, size) < alpha / (alpha + beta)
    particles = np.where(no_vertex, np.float32(-1), pileup_vertex_particles(random, size, "multijet"))
    vertices = shape["vertex_z_sigma"]
    z0 = draws.mismodelled(vertices["mc"], vertices["data"], mismodelling) * draws.normal(random, size)
    columns = {"pT": pt, "eta": eta, "phi": phi, "z0": z0, "vertex_nParticles": particles}
    columns |= impact(random, pt, no_vertex, mismodelling) | hits(random, no_vertex, "multijet", mismodelling)
    columns["jetIndex"] = np.full(size, -1, np.int32)
    i, j = same_event_pairs(counts, events.counts)
    near = np.abs(eta[i] - events.jets["eta"][j]) < shape["matched_radius"]
    i, j = i[near], j[near]
    outside = np.ones(size, bool)
    outside[i[distances(columns, i, events.jets, j) < shape["matched_radius"]]] = False
    return Grouped(counts, columns).where(outside)


def _segments(
    random: Generator, events: EventDraft, of_jets: Grouped, is_hard: NDArray[np.bool_], mismodelling: float
) -> Grouped:
    """Segments of jets and of the cavern, by event, in the barrel first, as the reconstruction lists them.

    Segments of the cavern keep out of the windows of hard jets, whose own background is drawn with the jet.
    """
    numbers = parameters("events")["unmatched_segments"]
    mean = draws.mismodelled(numbers["mc"], numbers["data"], mismodelling)
    counts = draws.negative_binomial(random, mean, numbers["k"], len(events))
    cavern = Grouped(counts, cavern_segments(random, int(counts.sum()), mismodelling))
    own = of_jets.with_columns({"of_hard": is_hard[of_jets.owners]}).merged(events.counts)
    joined = own.followed_by(cavern.with_columns({"of_hard": np.zeros(len(cavern), bool)}))
    hard_events = events.where(is_hard)
    i, j = same_event_pairs(joined.counts, hard_events.counts)
    inside = np.zeros(len(joined), bool)
    inside[i[_is_in_window(joined, i, hard_events, j)]] = True
    kept = joined.where(joined["of_hard"] | ~inside)
    kept = Grouped(kept.counts, {name: column for name, column in kept.columns.items() if name != "of_hard"})
    in_endcap = np.abs(kept["etaPos"]) > parameters("muon_segments")["barrel_end"]
    return kept.ordered(np.lexsort((in_endcap, kept.owners)))


def _is_in_window(segments: Grouped, i: IntArray, events: EventDraft, j: IntArray) -> NDArray[np.bool_]:
    """True for the pairs (segment, jet) within 0.2 in azimuth, at any pseudorapidity."""
    difference = wrapped_difference(segments["phiPos"][i], events.jets["phi"][j])
    return np.asarray(np.abs(difference) < parameters("muon_segments")["window"])


def _segment_jets(events: EventDraft, segments: Grouped) -> Grouped:
    """Positions of the jets of each segment, grouped by segment; [-1] if there is none."""
    i, j = same_event_pairs(segments.counts, events.counts)
    near = _is_in_window(segments, i, events, j)
    found = np.bincount(i[near], minlength=len(segments))
    counts = np.maximum(found, 1)
    index = np.full(int(counts.sum()), -1, np.int32)
    index[np.repeat(found > 0, counts)] = slots(events.counts)[j[near]]
    return Grouped(counts, {"jetIndex": index})


def _with_soft_jets(
    random: Generator, draft: EventDraft, hard: Constituents, mismodelling: float
) -> tuple[EventDraft, Constituents, NDArray[np.bool_]]:
    """The events with soft jets added and all jets sorted by pt, their constituents, and which are hard [jets]."""
    numbers, hard_jets = parameters("events")["soft_jets"], len(draft.jets)
    library_jets, library = _library(random, mismodelling)
    counts = draws.negative_binomial(random, numbers["mean"], numbers["k"], len(draft))
    size = int(counts.sum())
    chosen = random.integers(0, len(library_jets), size)
    mirror, turn = draws.sign(random, size), draws.angle(random, size)
    soft = library_jets[chosen]
    soft["eta"] *= mirror
    soft["phi"] = draws.wrap(soft["phi"] + turn)
    event = np.concatenate([draft.event, np.repeat(np.arange(len(draft)), counts)])
    jets = np.concatenate([draft.jets, soft])
    order = np.lexsort((-jets["pt"], event))
    kept = order[_apart(jets, event, order, hard_jets, len(draft))]
    source = np.concatenate([np.arange(hard_jets), hard_jets + chosen])
    mirrors = np.concatenate([np.ones(hard_jets, np.float32), mirror])[kept]
    turns = np.concatenate([np.zeros(hard_jets, np.float32), turn])[kept]
    constituents = chosen_constituents([hard, library], source[kept])
    for kind, things in constituents.items():
        moved = {name: things[name] * mirrors[things.owners] for name in _MIRRORED[kind]}
        moved |= {name: draws.wrap(things[name] + turns[things.owners]) for name in _TURNED[kind]}
        constituents[kind] = things.with_columns(moved)
    full = EventDraft(np.bincount(event[kept], minlength=len(draft)), jets[kept], draft.per_event, draft.tried)
    return full, constituents, kept < hard_jets


def _library(random: Generator, mismodelling: float) -> tuple[JetArray, Constituents]:
    numbers = parameters("events")["soft_jets"]
    size = numbers["library"]
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    eta = np.clip(numbers["eta_sigma"] * draws.normal(random, size), -numbers["eta_maximum"], numbers["eta_maximum"])
    jets = jet_array(np.minimum(pt, numbers["pt_maximum"]), eta, draws.angle(random, size))
    found = multijets(random, jets, mismodelling)
    segments, tracks = found["muon_segments"], found["tracks"]
    found["muon_segments"] = segments.where(draws.uniform(random, len(segments)) < 0.2)
    found["tracks"] = tracks.where(np.abs(tracks["eta"]) < 2.5)
    return jets, found


def _apart(
    jets: JetArray, event: NDArray[np.int64], order: NDArray[np.int64], hard: int, events: int
) -> NDArray[np.bool_]:
    """Mask of jets in this order that stay: hard jets, and soft jets that overlap with no hard and no harder jet."""
    counts = np.bincount(event, minlength=events)
    i, j = same_event_pairs(counts, counts)
    loses = (order[i] >= hard) & ((j < i) | (order[j] < hard)) & (i != j)
    i, j = i[loses], j[loses]
    eta, phi = jets["eta"][order], jets["phi"][order]
    near = np.abs(eta[i] - eta[j]) < JET_RADIUS
    i, j = i[near], j[near]
    close = np.hypot(eta[i] - eta[j], wrapped_difference(phi[i], phi[j])) < JET_RADIUS
    stays = np.ones(len(order), bool)
    stays[i[close]] = False
    return stays

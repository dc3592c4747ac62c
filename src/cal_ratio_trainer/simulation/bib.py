"""Jets of the beam-induced background: where they lie and what they consist of.

A BIB sample is a mixture: halo muons that shower in the hadronic calorimeter, hadronic jets that are in time, and
ordinary jets that set off the trigger. All carry the label BIB, as in data.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments
from cal_ratio_trainer.simulation.clusters import ClusterRecipe, Draft, draft, times, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import (
    HALO,
    IN_TIME,
    MULTIJET,
    EventDraft,
    from_columns,
    nearest_selected,
    no_decays,
)
from cal_ratio_trainer.simulation.layers import Energies, halo_delay, halo_shares, ordinary_shares, shower_shares
from cal_ratio_trainer.simulation.lists import Axes, Constituents
from cal_ratio_trainer.simulation.multijet import cluster_lists, extra_jet, finished, multijets, sum_share
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, tracks


def bib_axes(random: Generator, size: int) -> tuple[Axes, NDArray[np.int8]]:
    """Directions and momenta of jets of a BIB sample, and their makers (HALO, IN_TIME or MULTIJET), [size] each."""
    numbers = parameters("bib")
    mixture = numbers["mixture"]
    drawn = draws.choose(random, [mixture["halo"], mixture["in_time"], mixture["ordinary"]], size)
    maker = np.asarray([HALO, IN_TIME, MULTIJET], np.int8)[drawn]
    spectrum = numbers["pt"]
    pt = spectrum["minimum"] + spectrum["scale"] * np.exp(np.float32(spectrum["sigma"]) * draws.normal(random, size))
    narrow = np.abs(numbers["eta"]["sigma"] * draws.normal(random, size))
    is_narrow = draws.uniform(random, size) < numbers["eta"]["narrow_share"]
    abs_eta = np.where(is_narrow, narrow, draws.uniform(random, size, 0.0, 2.45))
    eta = np.minimum(abs_eta, 2.45) * draws.sign(random, size)
    phi = np.where(maker == MULTIJET, draws.angle(random, size), _phi(random, abs_eta))
    return Axes(pt.astype(np.float32), eta.astype(np.float32), phi.astype(np.float32)), maker


def _phi(random: Generator, abs_eta: FloatArray) -> FloatArray:
    # Halo muons are bent in the horizontal plane, and a barrel jet of one cell takes its module's azimuth.
    numbers, size = parameters("bib")["phi"], len(abs_eta)
    peak = numbers["sigma"] * draws.normal(random, size)
    peak += np.where(draws.uniform(random, size) < 0.5, np.float32(np.pi), np.float32(0))
    in_peak = draws.uniform(random, size) < numbers["peak_share"]
    phi = np.where(in_peak, peak, draws.angle(random, size))
    module = 2 * np.pi / numbers["modules"]
    snapped = (np.floor(phi / module) + 0.5) * module + numbers["module_sigma"] * draws.normal(random, size)
    return draws.wrap(np.where(abs_eta < numbers["snap_below"], snapped, phi).astype(np.float32))


def bib_jets(random: Generator, jets: Axes, maker: NDArray[np.int8]) -> Constituents:
    """Draws the constituents of jets of a BIB sample."""
    ordinary = maker == MULTIJET
    parts = Constituents.concatenate(
        [
            _halo_jets(random, jets.take(~ordinary), maker[~ordinary] == IN_TIME),
            multijets(random, jets.take(ordinary), mismodelling=1.0),
        ]
    )
    position: IntArray = np.empty(len(jets), np.int64)
    position[np.concatenate([np.flatnonzero(~ordinary), np.flatnonzero(ordinary)])] = np.arange(len(jets))
    return parts.take(position)


def _halo_jets(random: Generator, jets: Axes, in_time: NDArray[np.bool_]) -> Constituents:
    clusters = draft(random, jets, _recipe(random, jets))
    kind = types(random, clusters, "bib")
    of_halo = clusters.hard & (clusters.pt > parameters("cluster_type")["bib_hard"]["above"]) & (kind != 1)
    abs_eta = np.abs(clusters.eta)
    energies = Energies(clusters.pt, abs_eta, kind, of_halo, of_halo)
    shares = ordinary_shares(random, energies)
    rows = np.flatnonzero(of_halo)
    shares[rows], layer = halo_shares(random, abs_eta[rows])
    late = rows[in_time[clusters.owners[rows]]]
    depth = draws.uniform(random, len(jets), *parameters("bib")["in_time"]["depth"])
    shares[late] = shower_shares(random, depth[clusters.owners[late]], abs_eta[late])
    measured, pt = finished(random, energies, shares)
    delay = np.zeros(len(pt), np.float32)
    delay[rows] = _delays(random, jets, clusters, rows, layer)
    delay[in_time[clusters.owners]] = 0
    tail = np.full(len(pt), parameters("time")["tail_scale"]["bib"], np.float32)
    time = times(random, pt, delay, tail)
    none = np.zeros(len(jets), np.int64)
    return Constituents(
        cluster_lists(clusters, pt, measured, time),
        tracks(random, jets, TrackRecipe(none, np.full(len(jets), 0.1, np.float32), "bib", 1.0)),
        muon_segments.muon_segments(random, jets, _segment_recipe(random, jets, in_time)),
    )


def _recipe(random: Generator, jets: Axes) -> ClusterRecipe:
    numbers, size = parameters("clusters")["bib"], len(jets)
    soft = numbers["soft"]
    return ClusterRecipe(
        hard=1 + random.poisson(numbers["hard"], size),
        soft=draws.negative_binomial(random, soft["mean"], soft["k"], size),
        soft_pt=(soft["pt"], soft["sigma"]),
        spread=np.full(size, numbers["spread"], np.float32),
        lead_boost=np.full(size, numbers["lead_boost"], np.float32),
        sum_share=sum_share(random, jets, numbers["sum_share"]),
        angle=(np.full(size, numbers["angle"][0], np.float32), numbers["angle"][1]),
    )


def _delays(
    random: Generator, jets: Axes, clusters: Draft, rows: NDArray[np.intp], layer: NDArray[np.intp]
) -> FloatArray:
    """Delays [rows]; whether a muon comes in or goes out is a property of the jet, and so is an odd time."""
    numbers, size = parameters("bib")["time"], len(jets)
    probability = np.zeros(size, np.float32)
    for border, value in reversed(numbers["incoming"]):
        probability[np.abs(jets.eta) < border] = value
    incoming = draws.uniform(random, size) < probability
    owners = clusters.owners[rows]
    delay = halo_delay(random, clusters.eta[rows], layer, incoming[owners])
    delay += (numbers["offset"] + numbers["sigma"] * draws.normal(random, size))[owners].astype(np.float32)
    odd = draws.uniform(random, size) < numbers["flat_share"]
    flat = draws.uniform(random, size, *numbers["flat"])
    return np.where(odd[owners], flat[owners], delay)


def _segment_recipe(random: Generator, jets: Axes, in_time: NDArray[np.bool_]) -> SegmentRecipe:
    numbers = parameters("muon_segments")
    none = np.zeros(len(jets), np.int64)
    halo = draws.negative_binomial(random, numbers["halo"]["mean"], numbers["halo"]["k"], len(jets))
    no_halo = in_time & (draws.uniform(random, len(jets)) < parameters("bib")["in_time"]["without_halo"])
    return SegmentRecipe(
        background=muon_segments.background_counts(random, len(jets), 1.0),
        punch=none,
        halo=np.where(no_halo, 0, halo),
        mismodelling=1.0,
        narrow=numbers["sector"]["bib_factor"],
    )


def bib_events(random: Generator, size: int) -> EventDraft:
    """One jet of the BIB mixture in each event and perhaps an ordinary one; the trigger jet lies on the first.

    In some events the trigger jet is not flagged as BIB, and in some it lies far from every jet that convert keeps: the
    nearest one is then an ordinary jet, which a match without limit would label BIB.
    """
    numbers = parameters("events")
    axes, maker = bib_axes(random, size)
    extra, extra_maker, extra_decays, has_extra = extra_jet(random, size)
    far = draws.uniform(random, size) < numbers["bib_far_trigger_share"]
    smear = np.float32(numbers["hlt_smear"])
    eta = np.where(far, draws.uniform(random, size, -2.5, 2.5), axes.eta + smear * draws.normal(random, size))
    phi = np.where(far, axes.phi + np.float32(2.0), axes.phi + smear * draws.normal(random, size))
    flagged = draws.uniform(random, size) >= numbers["unselected_share"]
    trigger = {
        "HLT_jet_pT": (axes.pt * (1 + 0.1 * draws.normal(random, size))).astype(np.float32),
        "HLT_jet_eta": eta.astype(np.float32),
        "HLT_jet_phi": draws.wrap(phi.astype(np.float32)),
        "HLT_jet_isBIB": flagged.astype(np.int32),
        "HLT_jet_there": np.ones(size, bool),
    }
    there = np.ones(size, bool)
    jets = [
        (axes, maker, no_decays(size), there),
        (extra, extra_maker, extra_decays, has_extra & ~far),
    ]
    return from_columns(jets, trigger, float(size))


def kept_in_bib(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as BIB with a trigger jet within 0.4, [events]."""
    flagged = draft.per_event["HLT_jet_isBIB"] == 1
    eta, phi = (draft.per_event[name][flagged] for name in ("HLT_jet_eta", "HLT_jet_phi"))
    jet = nearest_selected(draft, Axes(np.ones(len(eta), np.float32), eta, phi), flagged.astype(np.int64))
    return np.bincount(draft.event[jet[jet >= 0]], minlength=len(draft))

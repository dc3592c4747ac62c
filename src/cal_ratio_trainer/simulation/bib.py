"""Jets of the beam-induced background: where they lie and what they consist of.

A BIB sample is a mixture: halo muons that shower in the hadronic calorimeter, hadronic jets that are in time, and
ordinary jets that set off the trigger. All carry the label BIB, as in data.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments, timing
from cal_ratio_trainer.simulation.clusters import ClusterRecipe, Draft, draft, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray
from cal_ratio_trainer.simulation.layers import Energies, ordinary_shares
from cal_ratio_trainer.simulation.lists import Axes, Constituents
from cal_ratio_trainer.simulation.multijet import cluster_lists, finished, multijets, sum_share
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.parameters import parameters
from cal_ratio_trainer.simulation.showers import halo_delay, halo_shares, shower_shares
from cal_ratio_trainer.simulation.timing import TimeRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, tracks

HALO, IN_TIME, ORDINARY = 0, 1, 2
"""Kinds of jets in a BIB sample."""


def bib_axes(random: Generator, size: int) -> tuple[Axes, NDArray[np.int8]]:
    """Directions and momenta of jets of a BIB sample, and their kind, [size] each."""
    numbers = parameters("bib")
    mixture = numbers["mixture"]
    kind = draws.choose(random, [mixture["halo"], mixture["in_time"], mixture["ordinary"]], size)
    spectrum = numbers["pt"]
    pt = spectrum["minimum"] + spectrum["scale"] * np.exp(np.float32(spectrum["sigma"]) * draws.normal(random, size))
    narrow = np.abs(numbers["eta"]["sigma"] * draws.normal(random, size))
    is_narrow = draws.uniform(random, size) < numbers["eta"]["narrow_share"]
    abs_eta = np.where(is_narrow, narrow, draws.uniform(random, size, 0.0, 2.45))
    eta = np.minimum(abs_eta, 2.45) * draws.sign(random, size)
    phi = np.where(kind == ORDINARY, draws.angle(random, size), _phi(random, abs_eta))
    return Axes(pt.astype(np.float32), eta.astype(np.float32), phi.astype(np.float32)), kind


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


def bib_jets(random: Generator, jets: Axes, kind: NDArray[np.int8]) -> Constituents:
    """Draw the constituents of jets of a BIB sample."""
    ordinary = kind == ORDINARY
    parts = Constituents.concatenate(
        [
            _halo_jets(random, jets.where(~ordinary), kind[~ordinary] == IN_TIME),
            multijets(random, jets.where(ordinary), is_data=True),
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
    time = timing.times(random, pt, TimeRecipe(delay, tail))
    none = np.zeros(len(jets), np.int64)
    return Constituents(
        cluster_lists(clusters, pt, measured, time),
        tracks(random, jets, TrackRecipe(none, np.full(len(jets), 0.1, np.float32), "bib", True)),
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
        background=muon_segments.background_counts(random, len(jets), True),
        punch=none,
        halo=np.where(no_halo, 0, halo),
        is_data=True,
        narrow=numbers["sector"]["bib_factor"],
    )
